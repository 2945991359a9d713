"""Reductions over axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.fixed_point import DOUBLE, FLOAT32, Multiplier, multiply, multiply_wide, quantize_multiplier
from liteback.numerics.kernels.common import (
    Codes,
    centred,
    product32,
    requantize,
    round_half_away,
    saturate,
    separate32,
    sum32,
    to_codes,
)
from liteback.numerics.kernels.neon import NEON, full_channels
from liteback.numerics.kernels.xnnpack import XNNPACK
from liteback.numerics.operator import Operator, exact
from liteback.passes.per_sample import LIFTED

# The reference kernel scales once, by a multiplier that holds 1/N; the optimised one adds a bias that is rounded alone.
BIAS = "bias"
ROUNDED = "rounded"  # a sum in float32, halves away from zero
WRAPPED = "wrapped"
UNSIGNED = "unsigned"  # a kernel for uint8, whatever the codes are: int8 codes below 0 count as 256 more
RESOLVED = "neon-resolved"  # NEON's, for axes that are counted from the last as well


def _axes(axis: Codes, rank: int) -> list[int]:
    if not isinstance(axis, np.ndarray):
        raise NotImplementedError("its axes are computed at run time")
    return sorted({int(a) % rank for a in np.ravel(axis)}) if rank else []


def _total(op: Operator, x: Codes, axis: Codes) -> tuple[Any, int]:
    """The sum of the codes (int64), and of how many."""
    axes = _axes(axis, len(x.shape))
    total = tf.reduce_sum(tf.cast(x, tf.int64), axes, keepdims=bool(op.options["keep_dims"]))
    return total, _count(x, axes)


def _count(x: Codes, axes: list[int]) -> int:
    """How many elements become one."""
    extents = [x.shape[a] for a in axes]
    if None in extents:
        raise NotImplementedError("it reduces an axis of unknown extent")
    return int(np.prod(extents))


def _refuse_none(count: int) -> None:
    if not count:
        raise NotImplementedError("of no elements its kernel gives what nobody wrote")


@exact("MEAN", variants=(DOUBLE, BIAS, NEON, RESOLVED, FLOAT32, XNNPACK))
def mean(op: Operator, x: Codes, axis: Codes) -> Any:
    """Codes of the mean; of no elements code 0.

    Source: QuantizedMeanOrSum (tensorflow/lite/kernels/internal/reference/reduce.h) and Mean
    (internal/optimized/integer_ops/mean.h), reduce.cc (v2.14.0); which axes have which kernel in LiteRT 2.3: reduce.cc
    of google-ai-edge/LiteRT.
    """
    source = op.input(0)
    total, count = _total(op, x, axis)
    if not count:
        return tf.cast(total, op.out.dtype)
    if op.variant == FLOAT32:
        factor = np.float32(source.scale) / (np.float32(count) * op.out.scale)
        return requantize(op, total - count * source.zero_point, Multiplier.of(factor, factor), FLOAT32)
    if op.variant == XNNPACK and source.dtype != "int16":
        return _mean_in_float(op, total, count)
    if op.variant in (BIAS, NEON, RESOLVED) and _optimised(op, axis):
        return _mean_with_bias(op, total, count)
    m, shift = quantize_multiplier(float(source.scale) / float(op.out.scale))
    more = min(count.bit_length() - 1, 32, 31 + shift)
    by = Multiplier(np.array((m << more) // count), np.array(shift - more), np.zeros((), np.float32))
    return requantize(op, total - count * source.zero_point, by, DOUBLE)


def _optimised(op: Operator, axis: Codes) -> bool:
    """Whether the optimised kernel takes it: the mean of an image, which none over the first axis of a file is."""
    axes = np.ravel(axis) % 4 if op.variant == RESOLVED else np.ravel(axis)
    image = len(op.input(0).shape) == 4 and sorted(axes.tolist()) == [1, 2]
    return image and bool(op.options["keep_dims"]) and LIFTED not in op.options


def _mean_in_float(op: Operator, total: Any, count: int) -> Any:
    """total * f + (z_y - N z_x f), f = (s_x / s_y) (1 / N), in float32; then halves to even.

    Found from results of LiteRT 2.3 on x86-64: no other order of these operations gives all of them.
    """
    source = op.input(0)
    factor = np.float32(source.scale / op.out.scale) * (np.float32(1) / np.float32(count))
    bias = np.float32(op.out.zero_point) - np.float32(count * source.zero_point) * factor
    codes = tf.round(separate32(tf.cast(total, tf.float32), factor, bias))
    return saturate(op, codes, *op.out.range)


def _mean_with_bias(op: Operator, total: Any, count: int) -> Any:
    """acc * (s_x / N s_y) and, rounded apart, z_y - z_x s_x / s_y."""
    source = op.input(0)
    moved = np.float32(source.zero_point) * source.scale / op.out.scale
    moved = np.float32(moved + np.float32(0.5 if moved > 0 else -0.5))
    by = Multiplier.of(source.scale / (np.float32(count) * op.out.scale))
    rounding = DOUBLE if op.variant == BIAS else full_channels(source.shape[-1], lanes=16)
    return to_codes(op, multiply(total, by, rounding) - int(moved))


@exact("SUM", variants=(UNSIGNED, ROUNDED, DOUBLE), int16=(WRAPPED, ROUNDED, DOUBLE))
def reduce_sum(op: Operator, x: Codes, axis: Codes) -> Any:
    """Codes of the sum; where a kernel takes int16 codes for numbers, they are added as they are, and wrap.

    Source: EvalSum, QuantizedMeanOrSum (tensorflow/lite/kernels/reduce.cc, internal/reference/reduce.h, v2.14.0).
    """
    source = op.input(0)
    if op.variant == UNSIGNED:
        x = tf.bitcast(x, tf.uint8)
    total, count = _total(op, x, axis)
    _refuse_none(count)
    if op.variant == WRAPPED:
        return tf.cast(total, tf.int16)
    if op.variant == ROUNDED:
        ratio = source.scale / op.out.scale
        bias = np.float32(np.float32(-source.zero_point) * ratio) * np.float32(count)
        return to_codes(op, tf.cast(round_half_away(sum32(product32(total, ratio), bias)), tf.int32))
    by = Multiplier.of(float(source.scale) / float(op.out.scale))
    steps = multiply(total - count * source.zero_point, by, DOUBLE)
    if op.variant == DOUBLE:
        return to_codes(op, steps)
    codes = tf.clip_by_value(steps + op.out.zero_point, tf.constant(0, tf.int64), tf.constant(255, tf.int64))
    return tf.bitcast(tf.cast(codes, tf.uint8), op.out.dtype)


@exact("REDUCE_PROD")
def reduce_prod(op: Operator, x: Codes, axis: Codes) -> Any:
    """Codes of the product, scaled after each factor.

    Source: QuantizedReduceProd (tensorflow/lite/kernels/internal/reference/reduce.h), GetQuantProdScaling (reduce.cc)
    (v2.14.0).
    """
    axes = _axes(axis, len(x.shape))
    count = _count(x, axes)
    _refuse_none(count)
    if not axes and not op.input(0).alike(op.out):
        raise NotImplementedError("kernel sets differ in a product over no axis: some copy the codes to another scale")
    by = Multiplier.of(float(op.input(0).scale) / float(op.out.scale) ** (1.0 / count))
    kept = [a for a in range(len(x.shape)) if a not in axes]
    factors = tf.transpose(tf.cast(centred(x, op.input(0)), tf.int64), [*axes, *kept])
    rest = tf.shape(factors)[len(axes) :]
    factors = tf.reshape(factors, tf.concat([[count], rest], 0))

    def scaled(x: Any) -> Any:
        return tf.cast(tf.cast(multiply_wide(x, by), tf.int32), tf.int64)  # the kernel holds 32 bits: they wrap

    product = tf.foldl(lambda total, factor: scaled(total * factor), factors)
    codes = to_codes(op, scaled(product))
    shape = [1 if a in axes else tf.shape(x)[a] for a in range(len(x.shape))]
    return tf.reshape(codes, shape) if op.options["keep_dims"] else codes


@exact("REDUCE_MAX", "REDUCE_MIN")
def reduce_extreme(op: Operator, x: Codes, axis: Codes) -> Any:
    """The largest or smallest code, of none the type's other end; both tensors have one scale.

    Source: EvalType (tensorflow/lite/kernels/reduce.cc, v2.14.0).
    """
    if not op.input(0).alike(op.out):
        raise NotImplementedError("its kernel wants one scale for both tensors")
    fn = tf.reduce_max if op.op == "REDUCE_MAX" else tf.reduce_min
    largest = fn(tf.cast(x, tf.int32), _axes(axis, len(x.shape)), keepdims=bool(op.options["keep_dims"]))
    return tf.cast(tf.clip_by_value(largest, *op.out.range), op.out.dtype)
