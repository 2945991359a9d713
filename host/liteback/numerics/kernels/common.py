"""What the families share: accumulators that are exact, and the way from an accumulator to codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.window import same_padding
from liteback.numerics.fixed_point import FLOAT32, Multiplier, multiply, multiply_wide
from liteback.numerics.operator import Operand, Operator

Codes = Any  # a tensor of codes, or a numpy array of them
Pair = tuple[int, int]


def accumulate(
    product: Callable[[Any, Any], Any], x: Codes, w: Codes, data: Operand, weights: Operand, taps: Sequence[int]
) -> Any:
    """sum (x - zero_point) (w - zero_point) in floating point that holds every partial sum exactly.

    product: the sum of products, of x and w in one floating-point type. taps: the axes of w that one sum runs over.
    Returns: float32 where max |x - z| sum |w - z| < 2**24, else float64.

    Raises:
        NotImplementedError: float64 would not hold it either.
    """
    bound = data.reach * _tap_sum(w, weights, taps)
    if bound >= 1 << 53:
        raise NotImplementedError(f"its accumulator needs more than 53 bits (a sum may reach {bound})")
    dtype = tf.float32 if bound < 1 << 24 else tf.float64
    return product(_centred(x, data, dtype), _centred(w, weights, dtype))


def _tap_sum(w: Codes, weights: Operand, taps: Sequence[int]) -> int:
    if isinstance(w, np.ndarray):
        return int(np.abs(w.astype(np.int64) - weights.zero_point).sum(tuple(taps)).max(initial=0))
    extents = [w.shape[a] for a in taps]
    if None in extents:
        raise NotImplementedError("the extents of its weights are known only at run time")
    return weights.reach * int(np.prod(extents, dtype=np.int64))


def _centred(codes: Codes, operand: Operand, dtype: Any) -> Any:
    if isinstance(codes, np.ndarray):
        return tf.constant((codes.astype(np.int64) - operand.zero_point).astype(dtype.as_numpy_dtype))
    values = tf.cast(codes, dtype)
    return values - operand.zero_point if operand.zero_point else values


def centred(codes: Codes, operand: Operand) -> Any:
    """code - zero_point, as int32."""
    return tf.cast(codes, tf.int32) - operand.zero_point


def product_multiplier(op: Operator, data: Operand, weights: Operand, per_channel: bool) -> Multiplier:
    """s_x s_w / s_y. Kernels with one multiplier take the first product in float32, the others in float64.

    Source: PopulateConvolutionQuantizationParams and GetQuantizedConvolutionMultipler
    (tensorflow/lite/kernels/kernel_util.cc, v2.14.0).
    """
    float32 = data.scale * weights.scales / op.out.scale
    if per_channel:
        real = np.float64(data.scale) * weights.scales.astype(np.float64) / np.float64(op.out.scale)
    else:
        real = (data.scale * weights.scales).astype(np.float64) / np.float64(op.out.scale)
    return Multiplier.of(real, float32)


def requantize(op: Operator, acc: Any, by: Multiplier, rounding: str | Any = None) -> Any:
    """An accumulator -> the result's codes: clip(acc * r + zero_point) to what the activation leaves.

    rounding: as `multiply` takes it; by default the operator's variant.
    """
    return to_codes(op, multiply(acc, by, op.variant if rounding is None else rounding))


def to_codes(op: Operator, steps: Any) -> Any:
    """Integers in steps of the result's scale -> its codes."""
    low, high = op.clamp
    return saturate(op, steps + op.out.zero_point, low, high)


def saturate(op: Operator, codes: Any, low: int, high: int) -> Any:
    """Integers clipped to [low, high], in the result's type."""
    edges = (tf.constant(edge, codes.dtype) for edge in (low, high))
    return tf.cast(tf.clip_by_value(codes, *edges), op.out.dtype)


def finish(op: Operator, acc: Any, b: Codes | None, by: Multiplier, rounding: str | Any, wide: bool = False) -> Any:
    """A sum of products, in floating point, and the bias -> codes.

    rounding: as `multiply` takes it. wide: the kernel keeps 64 bits.
    """
    # Where a float32 scale follows, an accumulator below 2**24 needs no 64 bits.
    dtype = tf.int32 if op.variant == FLOAT32 and acc.dtype == tf.float32 else tf.int64
    acc = tf.cast(acc, dtype) + (0 if b is None else tf.cast(b, dtype))
    return to_codes(op, multiply_wide(acc, by) if wide else multiply(acc, by, rounding))


def is_wide(codes: Codes | None) -> bool:
    """Whether a bias has 64 bits."""
    return codes is not None and tf.as_dtype(codes.dtype) == tf.int64


def round_half_away(x: Any) -> Any:
    """The nearest integer as float32 or float64, halves away from zero: TfLiteRound, std::round."""
    whole = tf.sign(x) * tf.floor(tf.abs(x))  # not floor(|x| + 1/2): that sum rounds 0.49999997 up
    return whole + tf.sign(x) * tf.cast(tf.abs(x - whole) >= 0.5, x.dtype)


# float32 arithmetic whose every result is rounded, in the order it is written: what is computed in float64 and rounded
# is the same number, and no compiler can fuse it, make a product of a quotient, or sum in another order.


def fused32(a: Any, b: Any, c: Any) -> Any:
    """a * b + c with one rounding, as FMLA does it: the nearest float32, but for what float64 rounds already."""
    return tf.cast(tf.cast(a, tf.float64) * tf.cast(b, tf.float64) + tf.cast(c, tf.float64), tf.float32)


def product32(a: Any, b: Any) -> Any:
    """a * b, the nearest float32."""
    return tf.cast(tf.cast(a, tf.float64) * tf.cast(b, tf.float64), tf.float32)


def quotient32(a: Any, b: Any) -> Any:
    """a / b, the nearest float32."""
    return tf.cast(tf.cast(a, tf.float64) / tf.cast(b, tf.float64), tf.float32)


def sum32(a: Any, b: Any) -> Any:
    """a + b, the nearest float32."""
    return tf.cast(tf.cast(a, tf.float64) + tf.cast(b, tf.float64), tf.float32)


def separate32(a: Any, b: Any, c: Any) -> Any:
    """a * b + c, each rounded."""
    return sum32(product32(a, b), c)


def sum_in_order(values: Any) -> Any:
    """The float32 sum over the last axis, which stays, as a loop makes it: each addition is rounded before the next.

    TensorFlow's kernel runs along the axis; XLA splits rows of more than 16 elements.
    """
    return tf.cumsum(values, -1)[..., -1:]


def rounded_quotient(total: Any, count: Any) -> Any:
    """total / count for integers, halves away from zero; integer division truncates."""
    half = count // 2
    return tf.where(total > 0, (total + half) // count, -((half - total) // count))


def lookup(op: Operator, x: Codes, table: NDArray[Any]) -> Any:
    """table[code - lowest code]."""
    return tf.gather(table, tf.cast(x, tf.int32) - op.input(0).range[0])


def slide(fn: Callable[..., Any], x: Any, w: Any, strides: Pair, padding: str, dilation: Pair = (1, 1)) -> Any:
    """tf.nn.conv2d or depthwise_conv2d. Strides that TensorFlow's kernels lack: of stride 1, every s-th element."""
    size = [int(k) for k in w.shape[:2]]
    if strides[0] == strides[1] and (strides == (1, 1) or dilation == (1, 1)):
        return fn(x, w, (1, *strides, 1), padding, dilations=dilation)
    if padding == "SAME":
        extents = [int(n) if n is not None else tf.shape(x)[i + 1] for i, n in enumerate(x.shape[1:3])]
        x = tf.pad(x, [(0, 0), *(same_padding(extents, size, strides, dilation) or ()), (0, 0)])
    y = fn(x, w, (1, 1, 1, 1), "VALID", dilations=dilation)
    return y[:, :: strides[0], :: strides[1]]
