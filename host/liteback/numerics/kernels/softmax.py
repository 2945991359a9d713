"""SOFTMAX."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.emit.table import TableSoftmax
from liteback.numerics.fixed_point import DOUBLE, Multiplier, multiply
from liteback.numerics.gemmlowp import exp
from liteback.numerics.kernels.common import (
    Codes,
    product32,
    quotient32,
    round_half_away,
    saturate,
    sum32,
    sum_in_order,
    to_codes,
)
from liteback.numerics.kernels.roots import bit_length, inverse, scaled
from liteback.numerics.operator import Operator, exact

OPTIMISED, TABLE, FIXED_POINT = "optimised", "table", "fixed-point"
WIDENED = (FIXED_POINT, TABLE)  # how 8-bit codes become int16 ones
INTEGER_BITS, SUM_BITS = 5, 12  # of fixed-point numbers of 31 bits: what exp is taken of, and sums
RESULT_BITS = 15  # of 31, that an int16 result does not hold


@exact("SOFTMAX", int8_int16=WIDENED, uint8_int16=WIDENED)
def softmax(op: Operator, x: Codes) -> Any:
    """exp(beta s (x - max)) / sum, from a table of float32, summed in order.

    Source: Softmax and PopulateSoftmaxLookupTable (tensorflow/lite/kernels/internal/optimized/optimized_ops.h,
    v2.14.0), which the reference kernels of that release use too.
    """
    source = op.input(0)
    if source.dtype == "int16":
        return _softmax_int16(op, x)
    if op.variant == FIXED_POINT:
        return _softmax_fixed_point(op, x)
    table = _exp_table(source.scale * np.float32(op.options["beta"]))
    codes = tf.cast(x, tf.int32)
    values = tf.gather(table, tf.reduce_max(codes, -1, keepdims=True) - codes)
    total = sum_in_order(values)
    steps = product32(values, quotient32(1, product32(total, op.out.scale)))
    whole = steps + np.float32(0.5) if op.out.dtype == "uint8" else round_half_away(steps)
    return to_codes(op, tf.cast(whole, tf.int32))


def _softmax_int16(op: Operator, x: Codes) -> Any:
    """exp and 1 / (1 + x) from tables.

    Source: SoftmaxInt16 (tensorflow/lite/kernels/internal/reference/softmax.h, v2.14.0).
    """
    scale, beta = op.input(0).scale, np.float32(op.options["beta"])
    codes = tf.cast(x, tf.int32)
    below = codes - tf.reduce_max(codes, -1, keepdims=True)
    steps = multiply(below, Multiplier.of(float(scale * beta) / (10.0 / 65535.0)), DOUBLE)
    return tf.cast(TableSoftmax(float(scale), float(beta)).shares(steps), op.out.dtype)


def _softmax_fixed_point(op: Operator, x: Codes) -> Any:
    """exp(beta s (x - max)) / sum in gemmlowp's fixed point.

    Source: Softmax (tensorflow/lite/kernels/internal/reference/softmax.h, v2.14.0), PreprocessSoftmaxScaling and
    CalculateInputRadius (internal/quantization_util.cc).
    """
    real = float(np.float32(op.options["beta"])) * float(op.input(0).scale) * (1 << (31 - INTEGER_BITS))
    by = Multiplier.of(min(real, (1 << 31) - 1.0))
    radius = ((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) >> int(by.left)
    below = np.arange(256)
    powers = exp(-((below << by.left) * by.m + (1 << 30) - 1 >> 31), INTEGER_BITS, 31)
    powers = np.where(below <= radius, powers, 0)
    codes = tf.cast(x, tf.int32)
    found = tf.gather(powers, tf.reduce_max(codes, -1, keepdims=True) - codes)
    total = tf.reduce_sum((found + (1 << (SUM_BITS - 1))) // (1 << SUM_BITS), -1, keepdims=True)
    bits = bit_length(total)
    share = inverse(tf.bitwise.left_shift(total, 32 - bits) - (1 << 31))
    low, high = op.out.range
    steps = scaled(found, share, bits - (32 - SUM_BITS) + RESULT_BITS, up=0)
    return saturate(op, steps + low, low, high)


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
