"""SOFTMAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ...emit.table import TableSoftmax
from ..fixed_point import DOUBLE, Multiplier, multiply
from ..operator import Operator, exact
from .common import Codes, product32, to_codes


@exact("SOFTMAX")
def softmax(op: Operator, x: Codes) -> Any:
    """exp(beta s (x - max)) / sum, from a table of float32, summed in order.

    Source: Softmax and PopulateSoftmaxLookupTable (tensorflow/lite/kernels/internal/optimized/optimized_ops.h,
    v2.14.0), which the reference kernels of that release use too.
    """
    source = op.input(0)
    if source.dtype == "int16":
        return _softmax_int16(op, x)
    step = -source.scale * np.float32(op.options["beta"])
    exponents = (step * np.arange(256, dtype=np.float32)).astype(np.float64)
    table = np.exp(exponents).astype(np.float32)  # of max - x
    codes = tf.cast(x, tf.int32)
    values = tf.gather(table, tf.reduce_max(codes, -1, keepdims=True) - codes)
    total = _sum_in_order(values)
    scaled = product32(values, np.float32(1) / (total * op.out.scale)) + np.float32(0.5)
    return to_codes(op, tf.cast(scaled, tf.int32))


def _softmax_int16(op: Operator, x: Codes) -> Any:
    """exp and 1 / (1 + x) from tables.

    Source: SoftmaxInt16 (tensorflow/lite/kernels/internal/reference/softmax.h, v2.14.0).
    """
    scale, beta = float(op.input(0).scale), float(op.options["beta"])
    codes = tf.cast(x, tf.int32)
    below = codes - tf.reduce_max(codes, -1, keepdims=True)
    steps = multiply(below, Multiplier.of(scale * beta / (10.0 / 65535.0)), DOUBLE)
    return tf.cast(TableSoftmax(scale, beta).shares(steps), op.out.dtype)


def _sum_in_order(values: Any) -> Any:
    """The float32 sum over the last axis as a loop makes it: each addition is rounded before the next."""
    if values.shape[-1] is None:
        return tf.cumsum(values, -1)[..., -1:]
    parts = tf.unstack(values, axis=-1)
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total[..., None]
