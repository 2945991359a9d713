"""Do the taps slow down what they watch? invoke() of the tapped model over invoke() of the untouched one, in one run.

    python tests/bench/bench_capture.py [MODEL.tflite ...]

Sides are timed in turn, so that a machine whose speed drifts drifts for both.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from liteback.flatbuffer.tap import tap
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.session.board import connect
from liteback.session.plan import select

ROUNDS, RUNS = 10, 50
MODELS = Path(__file__).parents[3] / "shared" / "models" / "networks"
DEFAULT = ("pretrainedResnet.tflite", "pretrainedResnet_quant.tflite", "mobilenet_v1_0.25_128_quant.tflite")


def measure(path: Path) -> None:
    data = path.read_bytes()
    graph = lift(data).main
    tensors = select(graph).tensors
    inputs = dict(random_inputs(graph, 1)[0])
    patch = tap(data, tensors)
    plain, tapped = list[float](), list[float]()
    with connect("local") as board:
        sha256 = board.put_model(data)
        for _ in range(ROUNDS):
            plain.append(float(np.median(board.benchmark(sha256, inputs, runs=RUNS))))
            tapped.append(float(np.median(board.benchmark(sha256, inputs, runs=RUNS, patches=[patch]))))
    ratios = np.array(tapped) / np.array(plain)
    print(
        f"{path.name}: {len(tensors)} taps, tapped/plain invoke = {np.median(ratios):.3f} "
        f"(min {ratios.min():.3f}, max {ratios.max():.3f}); plain {np.median(plain) / 1e6:.3f} ms"
    )


if __name__ == "__main__":
    paths = [Path(p) for p in sys.argv[1:]] or [MODELS / name for name in DEFAULT]
    for model in paths:
        if model.exists():
            measure(model)
        else:
            print(f"skipped: {model} is not here")
