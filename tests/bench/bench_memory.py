"""Peak memory of reconstruction beyond what importing TensorFlow takes, as a multiple of the file's size.

    python tests/bench/bench_memory.py [MODEL.tflite ...]

Of the function (`reconstruct`, against a process that has built one layer, which makes TensorFlow allocate what no
converter can avoid), and of the command as a user runs it (`liteback reconstruct`, against `import tensorflow` alone).
The variables of a model are float32, 4 bytes each: of a file whose weights take fewer, they are 2 or 4 times the file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MODELS = Path(__file__).parents[3] / "shared" / "models" / "networks"
SMALL = 1 << 20  # bytes: of a smaller file, what TensorFlow allocates for any model would be the figure

IMPORT = "import tensorflow"
BASE = "import liteback.twin, keras; keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])"
RECONSTRUCT = "from liteback.reconstruction import reconstruct; reconstruct({!r})"
COMMAND = Path(sys.executable).with_name("liteback")


class Failed(Exception):
    """What a measured command said."""


def peak(command: Sequence[str]) -> int:
    """The median peak of three runs, in bytes."""
    peaks = []
    for _ in range(3):
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdout=said, stderr=said)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise Failed(said.read().decode().strip().splitlines()[-1][:100])
        peaks.append(usage.ru_maxrss * 1024)
    return int(np.median(peaks))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


if __name__ == "__main__":
    given = [Path(p) for p in sys.argv[1:]] or [p for p in sorted(MODELS.glob("*.tflite")) if p.stat().st_size > SMALL]
    imported, base = peak(python(IMPORT)), peak(python(BASE))
    print(f"importing TensorFlow: {imported / 1e6:.0f} MB; and building one layer: {base / 1e6:.0f} MB")
    for path in given:
        size = path.stat().st_size
        print(f"{path.name}, {size / 1e6:.1f} MB", end="")
        with tempfile.TemporaryDirectory() as folder:
            routes = {
                "function": (python(RECONSTRUCT.format(str(path))), base),
                ".keras": ([str(COMMAND), "reconstruct", str(path), "-o", f"{folder}/model.keras"], imported),
                "SavedModel": ([str(COMMAND), "reconstruct", str(path), "-o", f"{folder}/model"], imported),
            }
            for name, (command, beneath) in routes.items():
                try:
                    more = peak(command) - beneath
                except Failed as failure:
                    print(f"; {name}: {failure}", end="")
                else:
                    print(f"; {name}: {more / 1e6:.0f} MB more = {more / size:.1f} ×", end="", flush=True)
        print()
