"""The forward pass of a reconstruction over that of the original architecture, batch 1, in one run.

    python tests/bench/bench_forward.py

ResNet-8 beside the .h5 it was converted from, MobileNet v1 0.25 beside Keras' own. The reconstruction has its
BatchNorm folded in, so it has fewer layers to run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from liteback.reconstruction import reconstruct

MODELS = Path(__file__).parents[3] / "shared" / "models"
ROUNDS, RUNS = 15, 40


def resnet() -> tuple[Any, Any]:
    original = keras.models.load_model(MODELS / "originals/mlperf/pretrainedResnet.h5", compile=False)
    return original, reconstruct(MODELS / "networks/pretrainedResnet.tflite")


def mobilenet() -> tuple[Any, Any]:
    original = keras.applications.MobileNet(alpha=0.25, weights=None, classes=1001, input_shape=(224, 224, 3))
    return original, reconstruct(MODELS / "networks/mobilenet_v1_0.25_224_1_default_1.tflite")


def seconds(run: Callable[[Any], Any], x: Any) -> float:
    started = time.perf_counter()
    for _ in range(RUNS):
        run(x)
    return (time.perf_counter() - started) / RUNS


def measure(name: str, original: Any, back: Any) -> None:
    shape = (1, *original.inputs[0].shape[1:])
    x = tf.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))
    runs = [tf.function(lambda t, m=m: m(t, training=False)) for m in (original, back)]
    for run in runs:
        run(x)
    pairs = np.array([[seconds(run, x) for run in runs] for _ in range(ROUNDS)])
    ratios = pairs[:, 1] / pairs[:, 0]
    print(
        f"{name}: reconstructed/original = {np.median(ratios):.3f} (min {ratios.min():.3f}, max {ratios.max():.3f}); "
        f"original {np.median(pairs[:, 0]) * 1e3:.2f} ms"
    )


if __name__ == "__main__":
    if not MODELS.is_dir():
        raise SystemExit(f"skipped: no models in {MODELS}")
    measure("ResNet-8", *resnet())
    measure("MobileNet v1 0.25 224", *mobilenet())
