"""A real multiplier as fixed point, and the ways in which kernels round with it.

TensorFlow Lite multiplies an accumulator by a real number r as r = m * 2**(shift - 31), with m of 31 bits. What
differs between kernel sets is how the product is rounded. All of it is int64 arithmetic with arithmetic shifts, which
TensorFlow computes exactly, eagerly, in a graph and under XLA alike. Multipliers are per tensor or per channel (the
last axis).

Sources: tensorflow/lite/kernels/internal/quantization_util.cc and common.h (v2.14.0); google/gemmlowp
fixedpoint/fixedpoint.h; google/ruy ruy/kernel_avx2_fma.cc; google/XNNPACK src/qs8-requantization/rndnu-scalar.c and
fp32-scalar-fmagic.c.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

Ints = Any  # a tensor of integers; int64 where values may need more than 31 bits

DOUBLE, HALF_UP, SINGLE, FLOAT32 = "double", "half-up", "single", "float32"


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(m, shift) with real ~ m * 2**(shift - 31), m in [2**30, 2**31), or (0, 0).

    Source: QuantizeMultiplier (tensorflow/lite/kernels/internal/quantization_util.cc, v2.14.0).
    """
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    m = math.floor(abs(fraction) * 2**31 + 0.5) * (1 if real > 0 else -1)
    if abs(m) == 1 << 31:
        m, shift = m // 2, shift + 1
    return (0, 0) if shift < -31 else (m, shift)


@dataclass(frozen=True)
class Multiplier:
    """Real multipliers, one for the tensor or one for each channel: m * 2**(shift - 31).

    m, shift: (), or (C,), int64. float32: the same as float32 kernels compute it.
    """

    m: NDArray[np.int64]
    shift: NDArray[np.int64]
    float32: NDArray[np.float32]

    @classmethod
    def of(cls, real: ArrayLike, float32: ArrayLike | None = None) -> Multiplier:
        """The nearest fixed-point number. float32: by default `real`, rounded."""
        values = np.asarray(real, np.float64)
        pairs = np.array([quantize_multiplier(r) for r in values.ravel().tolist()], np.int64)
        m, shift = (column.reshape(values.shape) for column in pairs.T)
        return cls(m, shift, np.asarray(values if float32 is None else float32, np.float32))

    @property
    def left(self) -> NDArray[np.int64]:
        """Bits that the accumulator is shifted up before the product."""
        return np.maximum(self.shift, 0)

    @property
    def right(self) -> NDArray[np.int64]:
        """Bits that the product is shifted down after its own 31."""
        return np.maximum(-self.shift, 0)


def high_mul(x: Ints, m: Any) -> Ints:
    """round(x * m / 2**31), halves up: gemmlowp's SaturatingRoundingDoublingHighMul.

    Its nudge of 1 - 2**30 before a division that truncates is the same as 2**30 before a shift. It saturates only for
    x = m = -2**31, which no multiplier is.
    """
    return tf.bitwise.right_shift(x * m + (1 << 30), tf.constant(31, x.dtype))


def rounding_divide_by_pot(x: Ints, right: ArrayLike, upward: Any = None) -> Ints:
    """round(x / 2**right), halves away from zero: gemmlowp's RoundingDivideByPOT.

    right: an int, or (C,). upward: booleans that broadcast to x, where halves go up instead; by default nowhere.
    """
    right = np.asarray(right, np.int64)
    if not right.any():
        return x
    half = (np.int64(1) << right) >> 1
    # A negative half is a step lower than floor((x + half) / 2**right) has it. Without a shift there is no half.
    negative = tf.bitwise.right_shift(x, tf.constant(63 if x.dtype == tf.int64 else 31, x.dtype))
    step = negative if right.all() else negative * tf.constant(right > 0, x.dtype)
    if upward is not None:
        step = tf.where(upward, tf.zeros_like(step), step)
    return _shift(x + _like(x, half) + step, right)


def _double(x: Ints, by: Multiplier, upward: Any = None) -> Ints:
    """Two roundings: the product's halves go up, the shift's away from zero.

    Source: MultiplyByQuantizedMultiplier (tensorflow/lite/kernels/internal/common.h, v2.14.0), double rounding.
    """
    return rounding_divide_by_pot(high_mul(_raised(x, by), by.m), by.right, upward)


def _half_up(x: Ints, by: Multiplier) -> Ints:
    """Two roundings, the halves of both going up.

    Source: ruy's AVX2 and AVX-512 kernels (ruy/kernel_avx2_fma.cc), which tflite-runtime 2.14 runs on x86-64.
    """
    product = high_mul(_raised(x, by), by.m)
    return _shift(product + ((np.int64(1) << by.right) >> 1), by.right) if by.right.any() else product


def _single(x: Ints, by: Multiplier) -> Ints:
    """One rounding: floor(x * m / 2**(31 - shift) + 1/2).

    Source: MultiplyByQuantizedMultiplier (tensorflow/lite/kernels/internal/common.h, v2.14.0) with
    TFLITE_SINGLE_ROUNDING; XNNPACK's rndnu requantization.
    """
    total = 31 - by.shift
    return _shift(tf.cast(x, tf.int64) * by.m + (np.int64(1) << (total - 1)), total)


def _float32(x: Ints, by: Multiplier) -> Ints:
    """round(float32(x) * float32(r)), halves to even.

    Source: XNNPACK's fp32 requantization (src/qs8-requantization/fp32-scalar-fmagic.c), its default for convolutions.
    """
    return tf.cast(tf.round(tf.cast(x, tf.float32) * by.float32), tf.int32)


ROUNDINGS: Mapping[str, Callable[[Ints, Multiplier], Ints]] = {
    DOUBLE: _double,
    HALF_UP: _half_up,
    SINGLE: _single,
    FLOAT32: _float32,
}


def multiply(x: Ints, by: Multiplier, rounding: str | Any) -> Ints:
    """MultiplyByQuantizedMultiplier: x * r, rounded to an integer.

    x: integers below 2**31, of any integer type, or float32 that holds integers. rounding: one of `ROUNDINGS`; or
    booleans that broadcast to x: `half-up` where they are true, `double` elsewhere. Returns: int32 or int64.
    """
    return ROUNDINGS[rounding](x, by) if isinstance(rounding, str) else _double(x, by, rounding)


def multiply_wide(x: Ints, by: Multiplier) -> Ints:
    """The same for accumulators of 64 bits, with the multiplier cut to 15 bits: one rounding, halves up.

    x: int64 below 2**47. Source: MultiplyByQuantizedMultiplier(int64_t ...)
    (tensorflow/lite/kernels/internal/common.h, v2.14.0), which the int16 kernels use.
    """
    reduced = np.where(by.m < 0x7FFF0000, (by.m + (1 << 15)) >> 16, 0x7FFF)
    total = 15 - by.shift
    return _shift(tf.cast(x, tf.int64) * reduced + (np.int64(1) << (total - 1)), total)


def _raised(x: Ints, by: Multiplier) -> Ints:
    x = tf.cast(x, tf.int64)
    return x * (np.int64(1) << by.left) if by.left.any() else x


def _shift(x: Ints, right: ArrayLike) -> Ints:
    return tf.bitwise.right_shift(x, _like(x, right if np.size(right) > 1 else np.ravel(right)[0]))


def _like(x: Ints, value: ArrayLike) -> Any:
    return tf.constant(np.asarray(value), x.dtype)
