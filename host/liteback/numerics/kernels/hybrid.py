"""Hybrid kernels: float activations that the kernel quantizes itself, integer weights, float results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from liteback.numerics.kernels import xnnpack
from liteback.numerics.kernels.common import Codes, fused32, product32, quotient32, round_half_away
from liteback.numerics.kernels.neon import NEON, full_channels, has_3x3_kernel
from liteback.numerics.operator import Operator

ACTIVATIONS = {"NONE": "linear", "RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "hard_tanh"}
SCALES_FIRST, SUM_FIRST, ROW_FIRST = "scales-first", "sum-first", "row-first"
ORDERS = (SCALES_FIRST, SUM_FIRST, ROW_FIRST)  # what is multiplied first
NEON_SCALES_FIRST = "neon-scales-first"
NEON_FOUR_BIT = "neon-four-bit"  # NEON's, beside a kernel for weights of 4 bits
NEON_ORDERS = (NEON, NEON_FOUR_BIT, NEON_SCALES_FIRST)  # scales first; sum and bias in one rounding, or in two
FUSED = (NEON, NEON_FOUR_BIT)
# NEON's source, built for x86-64, where nothing is fused; DEPTHWISE_CONV_2D multiplies the sum first in groups of 4.
SSE_SCALES_FIRST, SSE_SUM_FIRST = "sse-scales-first", "sse-sum-first"
SSE_ORDERS = (SSE_SCALES_FIRST, SSE_SUM_FIRST)
ONE_SCALE = "one-scale"  # scales first, by a kernel that knows no scale for each channel: it computes zeros then
ONE_SCALE_FOUR_BIT = "one-scale-four-bit"  # the same, beside a kernel for weights of 4 bits that knows them
ONE_SCALES = (ONE_SCALE, ONE_SCALE_FOUR_BIT)
Quantized = tuple[Any, Any, Any]  # codes (float32), and for each row its scale and its zero point


def hybrid(
    op: Operator, product: Callable[[Any], Any], x: Any, b: Codes | None, asymmetric: bool, axes: list[int]
) -> Any:
    """A hybrid kernel's result. product: the weights' with centred codes (float64). axes: of x, those of a row."""
    if xnnpack.takes(op):
        steps, scale = xnnpack.quantize_rows(x, xnnpack.row_axes(op))
        acc = product(tf.cast(steps, tf.float64))
        return activated(op, xnnpack.result(acc, scale, op.input(1), b))
    op = undelegated(op)
    codes, scale, zero = quantize_rows(x, asymmetric, axes, op.variant)
    return hybrid_result(op, product(tf.cast(codes - zero, tf.float64)), scale, b)


def undelegated(op: Operator) -> Operator:
    """An operator that XNNPACK leaves to the runtime: in the variant of the runtime's own kernel."""
    return op.in_variant(SSE_SCALES_FIRST) if op.variant == xnnpack.XNNPACK else op


def quantize_rows(x: Any, asymmetric: bool, axes: list[int], variant: str = "") -> Quantized:
    """Each row at the scale of its own values.

    In NEON's variants, a division by 127 is a product with 1 / 127.
    Source: PortableSymmetricQuantizeFloats, PortableAsymmetricQuantizeFloats
    (tensorflow/lite/kernels/internal/reference/portable_tensor_utils.cc), NeonSymmetricQuantizeFloats,
    NeonAsymmetricQuantizeFloats (internal/optimized/neon_tensor_utils.cc) (v2.14.0).
    """
    if asymmetric:
        return _asymmetric(x, axes, vectors=variant in (*NEON_ORDERS, *SSE_ORDERS))
    return _symmetric(x, axes, neon=variant in NEON_ORDERS)


def _symmetric(x: Any, axes: list[int], neon: bool) -> Quantized:
    """code = round(x * (127 / max|x|)), scale = max|x| / 127."""
    largest = tf.reduce_max(tf.abs(x), axes, keepdims=True)
    some = tf.where(largest == 0, tf.ones_like(largest), largest)
    codes = tf.clip_by_value(round_half_away(x * (np.float32(127) / some)), -127.0, 127.0)
    scale = product32(largest, np.float32(1) / np.float32(127)) if neon else quotient32(largest, 127)
    scale = tf.where(largest == 0, tf.ones_like(largest), scale)
    return codes, scale, tf.zeros_like(scale)


def _asymmetric(x: Any, axes: list[int], vectors: bool) -> Quantized:
    """scale = (max - min) / 255 of a range that includes 0, code = round(zero_point + x / scale).

    The scale is found in float64 and used in float32. vectors: the range in float32, code = round(x / scale) +
    zero_point.
    """
    low = tf.minimum(tf.reduce_min(x, axes, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(x, axes, keepdims=True), 0.0)
    flat, span = low == high, tf.cast(high - low, tf.float64)
    low, high = tf.cast(low, tf.float64), tf.cast(high, tf.float64)
    scale = tf.where(flat, tf.ones_like(low), (span if vectors else high - low) / 255.0)
    from_low, from_high = -128.0 - low / scale, 127.0 - high / scale
    nearer = 128.0 + tf.abs(low / scale) < 127.0 + tf.abs(high / scale)
    zero = round_half_away(tf.clip_by_value(tf.where(nearer, from_low, from_high), -128.0, 127.0))
    zero = tf.cast(tf.where(flat, tf.zeros_like(zero), zero), tf.float32)
    step = tf.cast(scale, tf.float32)
    steps = product32(x, np.float32(1) / step)
    codes = round_half_away(steps) + zero if vectors else round_half_away(zero + steps)
    return tf.where(flat, tf.zeros_like(codes), tf.clip_by_value(codes, -128.0, 127.0)), step, zero


def signed(w: Codes) -> Any:
    """Weights as these kernels read them: uint8 ones byte by byte as int8, whatever their zero point.

    Source: EvalHybridImpl (tensorflow/lite/kernels/fully_connected.cc), EvalHybrid (conv.cc) (v2.14.0).
    """
    return w.view(np.int8) if w.dtype == np.uint8 else w


def four_bit(op: Operator) -> bool:
    """Whether a kernel for weights of 4 bits takes the operator: it looks at no `asymmetric_quantize_inputs`.

    It computes 4 rows of 32 weights at once, and takes no fewer; other weights are unpacked to bytes, and so is what a
    set of reference kernels computes.
    Source: PrepareImpl (tensorflow/lite/kernels/fully_connected.cc), FilterWidth and FilterDepth
    (internal/optimized/4bit/fully_connected_common.h) (v2.14.0).
    """
    weights = op.input(1)
    if weights.dtype != "int4" or op.variant in (ONE_SCALE, NEON):
        return False
    units, depth = weights.shape
    return units >= 4 and depth >= 32 and depth % 2 == 0


def held_scales(op: Operator) -> Any:
    """The weights' scales as the kernel has them: 0 where it knows of one for the tensor and the file has more."""
    weights = op.input(1)
    more = op.op == "FULLY_CONNECTED" and (weights.per_channel or weights.block_size)
    return np.zeros(1, np.float32) if more and op.variant in (*ONE_SCALES, *FUSED) else weights.scales


def hybrid_result(op: Operator, acc: Any, scale: Any, b: Codes | None) -> Any:
    """sum * scale (+ bias), and the activation. What is multiplied first makes a difference in float32."""
    acc, scales = tf.cast(acc, tf.float32), held_scales(op)
    if b is not None and _fuses(op):
        return activated(op, fused32(acc, scale * scales, b))
    y = _scaled(_multiplied_first(op), acc, scale, scales)
    if b is not None:
        y = b + y
    return activated(op, y)


def _scaled(first: Any, acc: Any, scale: Any, scales: Any) -> Any:
    """acc * scale * scales. first: what is multiplied first, or for each channel one of two."""
    if isinstance(first, tuple):
        which, one, other = first
        return tf.where(which, _scaled(one, acc, scale, scales), _scaled(other, acc, scale, scales))
    if first == SCALES_FIRST:
        return product32(acc, scale * scales)
    inner, outer = (scales, scale) if first == SUM_FIRST else (scale, scales)
    return product32(product32(acc, inner), outer)


def _multiplied_first(op: Operator) -> Any:
    """One of ORDERS; or which channels have the one and which the other. Groups are for the reference kernel."""
    if op.op == "CONV_2D" and op.input(0).shape[-1] != op.input(1).shape[-1] and op.variant not in NEON_ORDERS:
        return SUM_FIRST
    if op.variant == SSE_SUM_FIRST:
        return full_channels(op.out.shape[-1], lanes=4), SUM_FIRST, ROW_FIRST
    if op.variant in ORDERS and not _added_to_zeros(op):
        return op.variant
    return SCALES_FIRST


def _fuses(op: Operator) -> bool:
    """Whether a sum is scaled and added to the bias in one rounding."""
    if op.op == "DEPTHWISE_CONV_2D":
        return op.variant == NEON and not has_3x3_kernel(op)
    return op.variant in FUSED and not _added_to_zeros(op)


def _added_to_zeros(op: Operator) -> bool:
    """Whether it is the kernel set's vector product that scales the sums, before the bias is added.

    Source: EvalHybrid (tensorflow/lite/kernels/conv.cc, v2.14.0).
    """
    return op.op == "CONV_2D" and not op.input(1).per_channel


def activated(op: Operator, y: Any) -> Any:
    """The fused activation of real values."""
    return keras.activations.get(ACTIVATIONS[op.activation])(y)
