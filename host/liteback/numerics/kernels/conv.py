"""Convolutions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.emit.window import crop, same_padding
from liteback.numerics.fixed_point import DOUBLE, FLOAT32, HALF_UP, ROUNDINGS
from liteback.numerics.kernels.common import (
    Codes,
    accumulate,
    finish,
    is_wide,
    product32,
    product_multiplier,
    slide,
    sum32,
)
from liteback.numerics.kernels.hybrid import (
    NEON_ORDERS,
    ORDERS,
    SCALES_FIRST,
    SSE_ORDERS,
    SSE_SCALES_FIRST,
    SUM_FIRST,
    activated,
    hybrid,
    quantize_rows,
    signed,
)
from liteback.numerics.kernels.neon import NEON, full_channels, full_elements, has_3x3_kernel, product_rounding
from liteback.numerics.kernels.xnnpack import XNNPACK, takes
from liteback.numerics.operator import Operand, Operator, exact

CONV_HYBRIDS = (SUM_FIRST, SCALES_FIRST, *NEON_ORDERS, SSE_SCALES_FIRST, XNNPACK)


@exact("CONV_2D", variants=(*ROUNDINGS, NEON), int16=ROUNDINGS, float32=CONV_HYBRIDS)
def conv_2d(op: Operator, x: Codes, w: Codes, b: Codes | None = None) -> Any:
    """x (N,H,W,C), w (O,kh,kw,C/groups), b (O,) -> (N,H',W',O).

    Source: ConvPerChannel (tensorflow/lite/kernels/internal/reference/integer_ops/conv.h), Conv
    (reference/conv.h), and conv.cc for the multipliers (v2.14.0).
    """
    data, weights = op.input(0), op.input(1)

    def product(x: Any, w: Any) -> Any:
        return _convolve(op, tf.nn.conv2d, x, tf.transpose(w, (1, 2, 3, 0)))

    if data.dtype == "float32":
        return _hybrid(op, product, x, w, b, asymmetric=weights.per_channel)
    acc = accumulate(product, x, w, data, weights, taps=(1, 2, 3))
    if x.shape[-1] != w.shape[-1] and op.variant != FLOAT32:
        rounding = DOUBLE  # the optimised kernel has no groups: it leaves them to the reference
    elif op.variant == NEON:
        rounding = product_rounding(w.shape[0], math.prod(w.shape[1:]), math.prod(op.out.shape[:3]))
    else:
        rounding = op.variant
    return _finish(op, acc, b, data, weights, rounding)


@exact("DEPTHWISE_CONV_2D", variants=(*ROUNDINGS, NEON), int16=ROUNDINGS, float32=(*ORDERS, *NEON_ORDERS, *SSE_ORDERS))
def depthwise_conv_2d(op: Operator, x: Codes, w: Codes, b: Codes | None = None) -> Any:
    """x (N,H,W,C), w (1,kh,kw,C*M), b (C*M,) -> (N,H',W',C*M).

    Source: DepthwiseConvPerChannel (tensorflow/lite/kernels/internal/reference/integer_ops/depthwise_conv.h),
    DepthwiseConv (reference/depthwiseconv_uint8.h) (v2.14.0).
    """
    data, weights = op.input(0), op.input(1)

    def product(x: Any, w: Any) -> Any:
        _, kh, kw, outputs = w.shape
        return _convolve(op, tf.nn.depthwise_conv2d, x, tf.reshape(w, (kh, kw, x.shape[-1], outputs // x.shape[-1])))

    if data.dtype == "float32":
        return _hybrid(op, product, x, w, b, asymmetric=True)
    acc = accumulate(product, x, w, data, weights, taps=(0, 1, 2))
    rounding: Any = op.variant
    if op.variant == NEON and data.dtype == "int8":
        rounding = full_channels(w.shape[3], lanes=8)
    elif op.variant == NEON:
        rounding = HALF_UP if has_3x3_kernel(op) else DOUBLE
    return _finish(op, acc, b, data, weights, rounding)


WIDE = "wide"  # 64 bits, even without a bias; of one with 32 bits as the reference
BY_TERM = "by-term"  # each product of two codes is scaled, and then added


@exact("TRANSPOSE_CONV", variants=(*ROUNDINGS, NEON), int16=(*ROUNDINGS, WIDE), float32=(BY_TERM, XNNPACK))
def transpose_conv(op: Operator, output_shape: Codes, w: Codes, x: Codes, b: Codes | None = None) -> Any:
    """output_shape (4,), w (O,kh,kw,I), x (N,H,W,I), b (O,) -> (N,H',W',O).

    Source: TransposeConv (tensorflow/lite/kernels/internal/reference/integer_ops/transpose_conv.h,
    reference/transpose_conv.h, v2.14.0).
    """
    weights, data = op.input(1), op.input(2)
    size, strides = w.shape[1:3], (op.options["stride_h"], op.options["stride_w"])

    def cropped(whole: Any) -> Any:
        extents = _extents(output_shape)
        pads = same_padding(extents, size, strides) if op.options["padding"] == "SAME" else None
        return crop(whole, [before for before, _ in pads or [(0, 0), (0, 0)]], extents)

    def product(x: Any, w: Any) -> Any:
        n = tf.shape(x)
        whole = [(n[1 + i] - 1) * s + k for i, (s, k) in enumerate(zip(strides, size, strict=True))]
        kernel = tf.transpose(w, (1, 2, 0, 3))
        return cropped(tf.nn.conv_transpose(x, kernel, [n[0], *whole, w.shape[0]], strides, "VALID"))

    if takes(op):
        return _hybrid(op, product, x, w, b, asymmetric=True)
    if data.dtype == "float32":
        y = cropped(_scaled_terms(x, signed(w), weights.scales, strides))
        return activated(op, y if b is None else sum32(y, b))
    acc = accumulate(product, x, w, data, weights, taps=(1, 2, 3))
    rounding: Any = op.variant
    if op.variant == NEON:
        rounding = full_channels(w.shape[0], lanes=8) if data.dtype == "int8" else full_elements(op, acc, lanes=16)
    return _finish(op, acc, b, data, weights, rounding)


def _scaled_terms(x: Any, w: Codes, scales: Any, strides: tuple[int, int]) -> Any:
    """The hybrid TRANSPOSE_CONV, uncropped: the float32 sum of code * weight * scales * scale, term by term.

    x (N,H,W,I), w (O,kh,kw,I) -> (N,A*sh,B*sw,O) with A = H + ceil(kh / sh) - 1. A result is a sum over the places
    whose window holds it, in their order, and there over the channels. Of s x s neighbours in the result, the places
    are the same: they are computed side by side.
    Found from results of LiteRT 2.3 on x86-64, which has the kernel; 2.14 refuses the operator.
    """
    codes, scale, zero = quantize_rows(x, True, [1, 2, 3], SSE_SCALES_FIRST)
    channels, *size, depth = w.shape
    steps = [-(-k // s) for k, s in zip(size, strides, strict=True)]  # places that meet, along each axis
    w = np.pad(w, [(0, 0), *((0, n * s - k) for n, s, k in zip(steps, strides, size, strict=True)), (0, 0)])
    w = w.reshape(channels, steps[0], strides[0], steps[1], strides[1], depth)[:, ::-1, :, ::-1]
    terms = np.reshape(w.transpose(1, 3, 5, 2, 4, 0), (-1, strides[0], 1, strides[1], channels)).astype(np.float32)
    codes = tf.pad(codes - zero, [(0, 0), *((n - 1, n - 1) for n in steps), (0, 0)])
    n, rows, columns = tf.unstack(tf.shape(codes)[:3] - [0, steps[0] - 1, steps[1] - 1])
    scale = tf.reshape(scale, (-1, 1, 1, 1, 1, 1))

    def added(i: Any, total: Any) -> Any:
        place = (0, i // depth // steps[1], i // depth % steps[1], i % depth)
        taken = tf.reshape(tf.slice(codes, place, (n, rows, columns, 1)), (n, rows, 1, columns, 1, 1))
        term = product32(product32(taken * tf.gather(terms, i), scales), scale)
        return i + 1, sum32(total, term)

    start = tf.zeros((n, rows, strides[0], columns, strides[1], channels))
    shapes = (tf.TensorShape(()), tf.TensorShape([None] * 6))
    _, y = tf.while_loop(lambda i, _: i < len(terms), added, (0, start), shapes)
    return tf.reshape(y, (n, rows * strides[0], columns * strides[1], channels))


def _hybrid(op: Operator, product: Callable[..., Any], x: Any, w: Codes, b: Codes | None, asymmetric: bool) -> Any:
    """Each image at a scale of its own; where the scales are per channel, with a zero point.

    Source: EvalHybrid and EvalHybridPerChannel (tensorflow/lite/kernels/conv.cc, depthwise_conv.cc, v2.14.0).
    """
    weights = tf.constant(signed(w).astype(np.float64))
    return hybrid(op, lambda codes: product(codes, weights), x, b, asymmetric, [1, 2, 3])


def _extents(output_shape: Codes) -> list[Any]:
    """Height and width; as numbers where they are known."""
    known = isinstance(output_shape, np.ndarray)
    return [int(output_shape[i]) if known else output_shape[i] for i in (1, 2)]


def _finish(op: Operator, acc: Any, b: Codes | None, data: Operand, weights: Operand, rounding: str | Any) -> Any:
    """int8 kernels have a multiplier for each channel even where the file has one scale; uint8 ones never have."""
    by = product_multiplier(op, data, weights, per_channel=data.dtype != "uint8")
    if op.variant == WIDE:
        return finish(op, acc, b, by, DOUBLE, wide=is_wide(b) or b is None)
    return finish(op, acc, b, by, rounding, wide=is_wide(b))


def _convolve(op: Operator, fn: Callable[..., Any], x: Any, w: Any) -> Any:
    """tf.nn.conv2d or depthwise_conv2d."""
    if 0 in op.out.shape:  # no window fits: TensorFlow's kernels count them below 0 then
        return tf.zeros((tf.shape(x)[0], *op.out.shape[1:]), x.dtype)
    strides = (int(op.options["stride_h"]), int(op.options["stride_w"]))
    dilation = (int(op.options["dilation_h_factor"]), int(op.options["dilation_w_factor"]))
    return slide(fn, x, w, strides, op.options["padding"], dilation)
