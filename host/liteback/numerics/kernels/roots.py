"""The inverse and the inverse square root in fixed point, and what is made of it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.fixed_point import DOUBLE, Multiplier, high_mul, multiply, rounding_divide_by_pot
from liteback.numerics.kernels.activation import by_interpolation
from liteback.numerics.kernels.common import Codes, centred, lookup, saturate
from liteback.numerics.operator import Operator, exact

_ONE = 1 << 28  # of a number with three integer bits
_HALF_ROOT_2 = 1518500250  # sqrt(2) / 2 with no integer bit
_FORTY_EIGHT_17THS, _MINUS_THIRTY_TWO_17THS = 1515870810, -1010580540  # with two integer bits


def inverse_root(x: Any) -> tuple[Any, Any]:
    """(m, right) with 1 / sqrt(x) ~ m * 2**(-31 - right), by five steps of Newton's method. x: int64 > 0.

    Source: GetInvSqrtQuantizedMultiplierExp (tensorflow/lite/kernels/internal/quantization_util.h, v2.14.0).
    """
    bits = bit_length(x)
    down = tf.maximum((bits - 28) // 2, 0)  # divided by four until it is below 2**29
    x = tf.bitwise.right_shift(x, 2 * down)
    up = (31 - tf.minimum(bits - 2 * down, 31)) // 2 - 1
    right = 11 + down - up
    value = tf.bitwise.right_shift(tf.bitwise.left_shift(x, 2 * up), tf.ones_like(x))
    half = rounding_divide_by_pot(value, 1)
    y = tf.fill(tf.shape(x), tf.constant(_ONE, tf.int64))
    for _ in range(5):
        cube = _rescaled(high_mul(high_mul(y, y), y), 6)
        y = _rescaled(high_mul(tf.fill(tf.shape(y), tf.constant(3 << 27, tf.int64)), y) - high_mul(half, cube), 3)
    m = high_mul(y, _HALF_ROOT_2)
    m = tf.bitwise.left_shift(m, tf.maximum(-right, 0))
    known = x > 1
    return tf.where(known, m, tf.constant(2**31 - 1, tf.int64)), tf.where(known, tf.maximum(right, 0), 0)


def bit_length(x: Any) -> Any:
    """Of int64 numbers of [0, 2**31): how many bits they take."""
    return tf.cast(tf.reduce_sum(tf.cast(x[..., None] >= [1 << k for k in range(31)], tf.int32), -1), tf.int64)


def inverse(x: Any) -> Any:
    """1 / (1 + x) for x of [0, 1), numbers of 31 bits without integer bits, by three steps of Newton's method.

    Source: one_over_one_plus_x_for_x_in_0_1 (google/gemmlowp fixedpoint/fixedpoint.h).
    """
    half = tf.bitwise.right_shift(x + (1 << 31), tf.ones_like(x))
    y = _FORTY_EIGHT_17THS + high_mul(half, _MINUS_THIRTY_TWO_17THS)
    for _ in range(3):
        y = y + _rescaled(high_mul(y, (1 << 29) - high_mul(half, y)), 2)
    return _rescaled(y, 1)


def _rescaled(x: Any, bits: int) -> Any:
    """With that many integer bits fewer, saturated."""
    return tf.clip_by_value(x * (1 << bits), tf.constant(-(1 << 31), tf.int64), tf.constant((1 << 31) - 1, tf.int64))


@exact("RSQRT", variants=(DOUBLE,))
def rsqrt(op: Operator, x: Codes) -> Any:
    """1 / sqrt(x) by fixed point; what is not above 0 saturates. int16: by a table.

    Source: RsqrtEvalQuantized (tensorflow/lite/kernels/elementwise.cc, v2.14.0).
    """
    source = op.input(0)
    if source.dtype == "int16":
        return by_interpolation(op, x, "RSQRT")
    value = tf.cast(centred(x, source), tf.int64)
    data = scaled(tf.ones_like(value), *inverse_root(tf.maximum(value, 1)), up=20)
    by = Multiplier.of(1.0 / (math.sqrt(float(source.scale)) * float(op.out.scale)))
    moved = Multiplier(by.m, by.shift - 20, by.float32)
    low, high = op.out.range
    codes = saturate(op, multiply(data, moved, op.variant) + op.out.zero_point, low, high)
    return tf.where(value > 0, codes, tf.constant(high, op.out.dtype))


@exact("SQRT")
def square_root(op: Operator, x: Codes) -> Any:
    """The whole steps in sqrt(x): what is left of a step counts nothing.

    LiteRT alone has the kernel, which refuses what is below 0. Seen: its results for every code (2.3.0).
    """
    source, (low, high) = op.input(0), op.out.range
    bottom, top = source.range
    reals = source.scale * (np.arange(bottom, top + 1) - source.zero_point).astype(np.float32)
    steps = np.floor(np.sqrt(np.maximum(reals, 0)) / op.out.scale) + op.out.zero_point
    return lookup(op, x, np.clip(steps, low, high).astype(op.out.dtype))


@exact("L2_NORMALIZATION", variants=(DOUBLE,))
def l2_normalization(op: Operator, x: Codes) -> Any:
    """x / |x| over the last axis, in steps of 1/128.

    Source: L2Normalization (tensorflow/lite/kernels/internal/reference/integer_ops/l2normalization.h,
    reference/l2normalization.h, v2.14.0).
    """
    value = tf.cast(centred(x, op.input(0)), tf.int64)
    m, right = inverse_root(tf.reduce_sum(value * value, -1, keepdims=True))
    unsigned = op.out.dtype == "uint8"
    unit = scaled(value * 128, m, right, up=0) + 128 if unsigned else scaled(value, m, right, up=7)
    return saturate(op, unit, *op.out.range)


def scaled(x: Any, m: Any, right: Any, up: int) -> Any:
    """x * m * 2**(up - 31 - right), double rounding, for tensors m and right."""
    shape = tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(m))
    right = tf.broadcast_to(right - up, shape)
    product = high_mul(tf.bitwise.left_shift(tf.broadcast_to(x, shape), tf.maximum(-right, 0)), m)
    right = tf.maximum(right, 0)
    half = tf.bitwise.right_shift(tf.bitwise.left_shift(tf.ones_like(right), right), tf.ones_like(right))
    step = tf.cast((product < 0) & (right > 0), tf.int64)
    return tf.bitwise.right_shift(product + half - step, right)
