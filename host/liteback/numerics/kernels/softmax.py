"""SOFTMAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ...emit.table import TableSoftmax
from ..fixed_point import DOUBLE, Multiplier, multiply
from ..operator import Operator, exact
from .common import Codes, product32, quotient32, sum32, sum_in_order, to_codes

OPTIMISED = "optimised"


@exact("SOFTMAX")
def softmax(op: Operator, x: Codes) -> Any:
    """exp(beta s (x - max)) / sum, from a table of float32, summed in order.

    Source: Softmax and PopulateSoftmaxLookupTable (tensorflow/lite/kernels/internal/optimized/optimized_ops.h,
    v2.14.0), which the reference kernels of that release use too.
    """
    source = op.input(0)
    if source.dtype == "int16":
        return _softmax_int16(op, x)
    table = _exp_table(source.scale * np.float32(op.options["beta"]))
    codes = tf.cast(x, tf.int32)
    values = tf.gather(table, tf.reduce_max(codes, -1, keepdims=True) - codes)
    total = sum_in_order(values)
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


@exact("LOG_SOFTMAX", variants=(OPTIMISED,))
def log_softmax(op: Operator, x: Codes) -> Any:
    """x - log(sum(exp(x))), in float32 from a table of exp.

    Source: LogSoftmax (tensorflow/lite/kernels/internal/optimized/optimized_ops.h, v2.14.0).
    """
    source, codes = op.input(0), tf.cast(x, tf.int32)
    largest = tf.reduce_max(codes, -1, keepdims=True)
    total = sum_in_order(tf.gather(_exp_table(source.scale), largest - codes))
    log = tf.cast(tf.math.log(tf.cast(total, tf.float64)), tf.float32)
    moved = quotient32(sum32(product32(largest, source.scale), log), op.out.scale)
    steps = tf.round(sum32(product32(codes, source.scale / op.out.scale), -moved))
    return to_codes(op, tf.cast(steps, tf.int32))


def _exp_table(step: np.float32) -> Any:
    """exp(-step k) for k of [0, 255], in float32."""
    return np.exp((-step * np.arange(256, dtype=np.float32)).astype(np.float64)).astype(np.float32)
