"""How long `inspect` and `reconstruct` take, beside what nobody can avoid: importing TensorFlow.

python tests/bench/bench_reconstruct.py [--tf2onnx PYTHON] [MODEL.tflite ...]

PYTHON: an interpreter in whose environment tf2onnx is installed. It then converts the same files in the same run, to
ONNX, as the fastest public reader of .tflite files does; CPU seconds, medians of the files that both convert.
"""

from __future__ import annotations

import argparse
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


TF2ONNX = """
import logging, sys, time
from tf2onnx.convert import from_tflite
logging.disable(logging.CRITICAL)
for path in sys.argv[1:2] + sys.argv[1:]:  # the first one pays for the start
    started = time.process_time()
    try:
        from_tflite(path, opset=18)
        print("DONE", time.process_time() - started)
    except Exception:
        print("DONE failed")
"""


def tf2onnx(python: str, paths: list[Path]) -> dict[Path, float]:
    """CPU seconds of tf2onnx for each file that it converts."""
    command = [python, "-W", "ignore", "-c", TF2ONNX, *map(str, paths)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    said = [line.removeprefix("DONE ") for line in lines if line.startswith("DONE ")][1:]
    return {path: float(text) for path, text in zip(paths, said, strict=True) if text != "failed"}


def reconstructing(paths: list[Path]) -> dict[Path, float]:
    from liteback.errors import UnsupportedModel
    from liteback.reconstruction import reconstruction

    reconstruction(paths[0])  # the first one pays for TensorFlow's own start
    medians = {}
    for path in paths:
        times = []
        try:
            for _ in range(ROUNDS):
                started = time.process_time()
                reconstruction(path)
                times.append(time.process_time() - started)
        except UnsupportedModel:
            continue
        medians[path] = float(np.median(times))
        print(f"reconstruct {path.name}: {medians[path]:.3f} s CPU")
    print(f"reconstruct: median of {len(medians)} networks {np.median(list(medians.values())):.3f} s CPU")
    return medians


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tf2onnx", metavar="PYTHON", help="an interpreter that has tf2onnx")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    given = options.models or sorted(MODELS.glob("*.tflite"))
    known = [p for p in given if p.exists()]
    if not known:
        sys.exit(f"skipped: no model in {MODELS}")
    resnet = next((p for p in known if p.name == "pretrainedResnet_quant.tflite"), known[0])
    inspecting(resnet)
    ours = reconstructing([resnet, *(p for p in known if p != resnet)])
    if options.tf2onnx:
        theirs = tf2onnx(options.tf2onnx, list(ours))
        both = [p for p in ours if p in theirs]
        mine, peer = (float(np.median([times[p] for p in both])) for times in (ours, theirs))
        print(
            f"{len(both)} networks that both convert: {mine:.3f} s against tf2onnx's {peer:.3f} s = {mine / peer:.2f} ×"
        )
