"""The layers that compute int16 functions as the kernels do: close to the function, and so is their gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from liteback.emit.table import TableLookup, TableSoftmax

X = np.linspace(0.5, 4.5, 24, dtype=np.float32).reshape(2, 12)
LAYERS = [
    (TableLookup("EXP", 2e-4, 4e-3), tf.exp),
    (TableLookup("LOG", 2e-4, 1e-4), tf.math.log),
    (TableLookup("RSQRT", 2e-4, 1e-4), tf.math.rsqrt),
    (TableLookup("GELU", 2e-4, 2e-4), lambda x: tf.nn.gelu(x, approximate=False)),
    (TableLookup("TANH", 2e-4, 2**-15), tf.tanh),
    (TableLookup("LOGISTIC", 2e-4, 2**-15), tf.sigmoid),
    (TableSoftmax(2e-4, 1.0), tf.nn.softmax),
]


def value_and_gradient(fn: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = fn(x)
        loss = tf.reduce_sum(y * tf.range(12, dtype=tf.float32))
    return y.numpy(), tape.gradient(loss, x).numpy()


@pytest.mark.parametrize(("layer", "fn"), LAYERS, ids=lambda v: getattr(v, "function", ""))
def test_it_follows_the_function_and_its_slope(layer: keras.Layer, fn: Any) -> None:
    (y, gradient), (wanted, slope) = value_and_gradient(layer, X), value_and_gradient(fn, X)
    np.testing.assert_allclose(y, wanted, atol=2e-3 * np.ptp(wanted))
    np.testing.assert_allclose(gradient, slope, atol=0.05 * np.ptp(slope))


@pytest.mark.parametrize(("layer", "fn"), LAYERS, ids=lambda v: getattr(v, "function", ""))
def test_it_is_saved_with_the_model(layer: keras.Layer, fn: Any, tmp_path: Path) -> None:
    x = keras.Input((12,))
    model = keras.Model(x, layer(x))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(again(X), model(X))
