"""Functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.table import FUNCTIONS, FixedPoint, Sigmoid, function_lines
from liteback.numerics.affine import round_half_away
from liteback.numerics.fixed_point import DOUBLE, SINGLE, Multiplier, multiply, quantize_multiplier
from liteback.numerics.kernels.common import Codes, centred, lookup, requantize, saturate, to_codes
from liteback.numerics.operator import Operator, exact

Points = NDArray[np.float32]
Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
OVERFLOWING, SATURATING = "overflowing", "saturating"  # how x86-64 and aarch64 make integers of large real values


def code_table(op: Operator, function: Function) -> NDArray[Any]:
    """The result's code for each code of an 8-bit input; the function's value is rounded to float32 first.

    What is beyond 32 bits becomes the lowest integer where the processor converts it so: `op.variant`.
    Source: PopulateLookupTable (tensorflow/lite/kernels/activations.cc, v2.14.0).
    """
    source, out = op.input(0), op.out
    low, high = source.range
    reals = source.scale * (np.arange(low, high + 1) - source.zero_point).astype(np.float32)
    values = function(reals.astype(np.float64)).astype(np.float32)
    steps = round_half_away(values * (np.float32(1) / out.scale)) + np.float32(out.zero_point)
    if op.variant == OVERFLOWING:
        steps = np.where(steps < np.float32(1 << 31), steps, -np.float32(1 << 31))
    return np.clip(steps, *out.range).astype(out.dtype)


def _by_table(name: str, function: Function) -> Callable[[Operator, Codes], Any]:
    def kernel(op: Operator, x: Codes) -> Any:
        """A function by a table of all codes; int16: by a table of lines."""
        if op.input(0).dtype == "int16":
            return by_interpolation(op, x, name)
        return lookup(op, x, code_table(op, function))

    return kernel


def by_interpolation(op: Operator, x: Codes, function: str) -> Any:
    """A function of int16 codes: 512 lines of 128 codes each.

    Source: LUTPopulateInt16 and LUTLookup (tensorflow/lite/kernels/internal/common.h, v2.14.0).
    """
    result, _ = function_lines(function, op.input(0).scale, op.out.scale)(tf.cast(x, tf.int32))
    return tf.cast(result, op.out.dtype)


def _in_float32(name: str) -> Function:
    """A function of `emit.table`, which the int16 tables are made of too."""
    return lambda x: np.asarray(FUNCTIONS[name](x.astype(np.float32), np.float32(1)), np.float64)


exact("EXP", int8=(OVERFLOWING, SATURATING))(_by_table("EXP", np.exp))


@exact("ELU")
def elu(op: Operator, x: Codes) -> Any:
    """x where x >= 0, else exp(x) - 1; by a table.

    Source: EluPrepare (tensorflow/lite/kernels/activations.cc, v2.14.0).
    """

    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x < 0, np.exp(x).astype(np.float32) - np.float32(1), x)

    return lookup(op, x, code_table(op, function))


@exact("NEG")
def neg(op: Operator, x: Codes) -> Any:
    """The negative code: no scale or zero point is looked at, and the lowest stays what it is.

    Source: Negate (tensorflow/lite/kernels/neg.cc, v2.21.0).
    """
    return tf.negative(x)


@exact("LOG")
def log(op: Operator, x: Codes) -> Any:
    """By a table; what is not above 0 becomes the lowest code.

    Source: LogPrepare (tensorflow/lite/kernels/elementwise.cc, v2.14.0).
    """
    if op.input(0).dtype == "int16":
        return by_interpolation(op, x, "LOG")
    lowest = float((op.out.range[0] - op.out.zero_point) * op.out.scale)
    return lookup(op, x, code_table(op, lambda r: np.where(r > 0, np.log(np.maximum(r, 1e-300)), lowest)))


@exact("GELU")
def gelu(op: Operator, x: Codes) -> Any:
    """x times the normal distribution up to x, or its approximation by tanh; by a table.

    Source: GeluPrepare (tensorflow/lite/kernels/gelu.cc, v2.14.0).
    """
    name = "GELU_APPROXIMATE" if op.options["approximate"] else "GELU"
    return _by_table(name, _in_float32(name))(op, x)


POINTS, FIXED_POINT = "points", "fixed-point"  # how int16 codes are computed whose scale is a power of two


@exact("LOGISTIC", "TANH", int16=(POINTS, FIXED_POINT))
def sigmoid(op: Operator, x: Codes) -> Any:
    """8 bits: by a table of all codes. int16: by a table of 256 points, or in fixed point.

    Source: PopulateLookupTable (tensorflow/lite/kernels/activations.cc), Logistic and Tanh
    (internal/reference/integer_ops/logistic.h, tanh.h; internal/optimized/optimized_ops.h) (v2.14.0).
    """
    source = op.input(0)
    if source.dtype != "int16":
        return lookup(op, x, code_table(op, np.tanh if op.op == "TANH" else _logistic))
    fixed = FixedPoint.of(op.op, float(source.scale)) if op.variant == FIXED_POINT else None
    result, _ = (fixed or Sigmoid(op.op, float(source.scale)))(tf.cast(x, tf.int32))
    return saturate(op, result, *op.out.range)


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), each step in float32."""
    return (np.float32(1) / (np.float32(1) + np.exp(-x).astype(np.float32))).astype(np.float64)


@exact("ABS", variants=(DOUBLE, SINGLE))
def absolute(op: Operator, x: Codes) -> Any:
    """|x|, scaled where the scales differ.

    Source: AbsEvalQuantized (tensorflow/lite/kernels/elementwise.cc, v2.14.0).
    """
    source = op.input(0)
    size = tf.abs(centred(x, source))
    if source.scale == op.out.scale:
        return to_codes(op, size)
    return requantize(op, size, Multiplier.of(float(source.scale / op.out.scale)))


@exact("HARD_SWISH")
def hard_swish(op: Operator, x: Codes) -> Any:
    """x min(max(x + 3, 0), 6) / 6 in 16 bits.

    Source: HardSwish (tensorflow/lite/kernels/internal/reference/hard_swish.h), HardSwishPrepare (activations.cc)
    (v2.14.0).
    """
    source, out = op.input(0), op.out
    fine = source.scale * np.float32(1 / 128)
    m_out, shift_out = _short(float(np.float32(fine / out.scale)))
    m_relu, shift_relu = _short(float(np.float32(fine / (np.float32(3) / np.float32(32768)))))
    hires = (np.arange(source.range[0], source.range[1] + 1, dtype=np.int64) - source.zero_point) * 128
    gate = _saturated(hires << max(shift_relu - 1, 0)) if shift_relu > 0 else hires
    gate = _high_mul_16(gate, m_relu)
    gate = _saturated(gate << 1) if shift_relu > 0 else _divided(gate, -shift_relu)
    gate = (gate + (1 << 15)) >> 1
    product = np.trunc(gate * _high_mul_16(hires, m_out) / (1 << 15)).astype(np.int64)
    codes = _divided(product, -shift_out) + out.zero_point
    return lookup(op, x, np.clip(codes, *out.range).astype(out.dtype))


def _short(real: float) -> tuple[int, int]:
    """A multiplier of 16 bits."""
    m, shift = quantize_multiplier(real)
    return min((m + (1 << 15)) >> 16, 32767), shift


def _saturated(x: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.clip(x, -32768, 32767)


def _high_mul_16(x: NDArray[np.int64], m: int) -> NDArray[np.int64]:
    return (x * m + (1 << 14)) >> 15


def _divided(x: NDArray[np.int64], right: int) -> NDArray[np.int64]:
    """x / 2**right, halves away from zero."""
    return (x + ((1 << right) >> 1) - ((x < 0) & (right > 0))) >> right


@exact("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", variants=(DOUBLE, SINGLE))
def relu(op: Operator, x: Codes) -> Any:
    """Codes to another scale, clipped.

    Source: QuantizedReluX (tensorflow/lite/kernels/activations.cc), ReluX (internal/reference/reference_ops.h)
    (v2.14.0).
    """
    source = op.input(0)
    bottom, top = RANGES[op.op]
    low, high = max(op.out.range[0], op.code_of(bottom)), op.out.range[1]
    if top is not None:
        high = min(high, op.code_of(top))
    by = Multiplier.of(np.float64(source.scale / op.out.scale))
    steps = multiply(centred(x, source), by, op.variant) + op.out.zero_point
    return tf.cast(tf.clip_by_value(steps, low, high), op.out.dtype)


RANGES = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}


XNNPACK = "xnnpack"


@exact("LEAKY_RELU", variants=(DOUBLE, SINGLE, XNNPACK))
def leaky_relu(op: Operator, x: Codes) -> Any:
    """x where x >= 0, else alpha x.

    Source: QuantizeLeakyRelu (tensorflow/lite/kernels/internal/reference/leaky_relu.h), LeakyReluPrepare
    (activations.cc) (v2.14.0).
    """
    source, alpha = op.input(0), np.float32(op.options["alpha"])
    value = centred(x, source)
    if op.variant == XNNPACK:  # xnn_init_qs8_lrelu_scalar_params: multipliers in 256ths, halves up
        ratio = source.scale / op.out.scale
        above, below = (int(np.rint(np.float32(256) * r)) for r in (ratio, ratio * alpha))
        return to_codes(op, tf.bitwise.right_shift(value * tf.where(value >= 0, above, below) + 128, 8))
    identity = multiply(value, Multiplier.of(np.float64(source.scale / op.out.scale)), op.variant)
    leak = multiply(value, Multiplier.of(np.float64(source.scale * alpha / op.out.scale)), op.variant)
    return to_codes(op, tf.where(value >= 0, identity, leak))


@exact("PRELU", variants=(DOUBLE, SINGLE))
def prelu(op: Operator, x: Codes, alpha: Codes) -> Any:
    """x where x >= 0, else alpha x.

    Source: BroadcastPrelu4DSlow (tensorflow/lite/kernels/internal/reference/prelu.h), PreluPrepare (activations.cc)
    (v2.14.0).
    """
    source, slope = op.input(0), op.input(1)
    value = centred(x, source)
    identity = multiply(value, Multiplier.of(np.float64(source.scale / op.out.scale)), op.variant)
    scale = np.float64(np.float32(source.scale * slope.scale) / op.out.scale)
    leak = multiply(value * centred(alpha, slope), Multiplier.of(scale), op.variant)
    return to_codes(op, tf.where(value >= 0, identity, leak))
