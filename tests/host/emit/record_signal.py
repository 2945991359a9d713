"""Record what TensorFlow Lite for Microcontrollers makes of the cases: signal.npz. Needs its wheel, and no TensorFlow.

pip install --no-deps --target FOLDER tflite-micro==0.dev20261023182759
PYTHONPATH=FOLDER:host:proto:tests python -m host.emit.record_signal NETWORKS/audio_preprocessor_int8.tflite
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

from emit.signal_cases import RECORDED, STREAMS, audio_frames, pack


def run(model: bytes, calls: Sequence[Sequence[NDArray[Any]]], outputs: int) -> list[NDArray[Any]]:
    """The outputs of all calls of one interpreter."""
    interpreter = runtime.Interpreter.from_bytes(model, arena_size=1 << 20)
    results = []
    for inputs in calls:
        for i, value in enumerate(inputs):
            interpreter.set_input(value, i)
        interpreter.invoke()
        results += [interpreter.get_output(k).copy() for k in range(outputs)]
    return results


def main(preprocessor: str) -> None:
    results = [r for s in STREAMS for r in run(s.model, s.calls, len(s.shapes))]
    results += run(Path(preprocessor).read_bytes(), [[frame] for frame in audio_frames()], 1)
    np.savez_compressed(RECORDED, **pack(results))


if __name__ == "__main__":
    main(sys.argv[1])
