"""How long `inspect` and `reconstruct` take, beside what nobody can avoid: importing TensorFlow.

python tests/bench/bench_reconstruct.py [MODEL.tflite ...]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

MODELS = Path(__file__).parents[3] / "shared" / "models" / "networks"
ROUNDS = 5


def whole_process(code: str) -> float:
    """Median wall seconds of a fresh Python that runs `code`."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def inspecting(path: Path) -> None:
    bare = whole_process("pass")
    inspect = whole_process(f"from liteback.cli.main import run; run(['inspect', {str(path)!r}])")
    tensorflow = whole_process("import tensorflow")
    print(
        f"inspect {path.name}: {inspect:.2f} s = {inspect / bare:.1f} × bare Python, "
        f"{inspect / tensorflow:.2f} × importing TensorFlow"
    )


def reconstructing(paths: list[Path]) -> None:
    from liteback.errors import UnsupportedModel
    from liteback.reconstruction import reconstruction

    reconstruction(paths[0])  # the first one pays for TensorFlow's own start
    medians = []
    for path in paths:
        times = []
        try:
            for _ in range(ROUNDS):
                started = time.process_time()
                reconstruction(path)
                times.append(time.process_time() - started)
        except UnsupportedModel:
            continue
        medians.append(float(np.median(times)))
        print(f"reconstruct {path.name}: {medians[-1]:.3f} s CPU")
    print(f"reconstruct: median of {len(medians)} networks {np.median(medians):.3f} s CPU")


if __name__ == "__main__":
    given = [Path(p) for p in sys.argv[1:]] or sorted(MODELS.glob("*.tflite"))
    known = [p for p in given if p.exists()]
    if not known:
        sys.exit(f"skipped: no model in {MODELS}")
    resnet = next((p for p in known if p.name == "pretrainedResnet_quant.tflite"), known[0])
    inspecting(resnet)
    reconstructing([resnet, *(p for p in known if p != resnet)])
