"""Peak memory of `reconstruct` beyond what importing TensorFlow takes, as a multiple of the file's size.

    python tests/bench/bench_memory.py [MODEL.tflite ...]

A file too small to tell is left out: the first layers of any model make TensorFlow allocate some tens of megabytes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

MODELS = Path(__file__).parents[3] / "shared" / "models" / "networks"
SMALL = 1 << 20  # bytes

PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
# The baseline has built a layer: what that costs, no converter can avoid.
BASE = "import liteback.twin, keras; keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]); " + PEAK


def peak(code: str) -> int:
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return int(np.median([int(run.stdout.split()[-1]) for run in runs]))


if __name__ == "__main__":
    given = [Path(p) for p in sys.argv[1:]] or [p for p in sorted(MODELS.glob("*.tflite")) if p.stat().st_size > SMALL]
    base = peak(BASE)
    print(f"importing TensorFlow and building one layer: {base / 1e6:.0f} MB")
    for path in given:
        code = f"from liteback.reconstruction import reconstruct; reconstruct({str(path)!r}); " + PEAK
        try:
            more = peak(code) - base
        except subprocess.CalledProcessError as error:
            print(f"{path.name}: {error.stderr.strip().splitlines()[-1][:100]}")
            continue
        size = path.stat().st_size
        print(f"{path.name}: {size / 1e6:.1f} MB file, {more / 1e6:.0f} MB more = {more / size:.1f} × the file")
