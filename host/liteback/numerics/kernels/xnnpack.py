"""XNNPACK's own way with float activations and integer weights: qd8, asymmetric, found and used in float32.

Sources: google/XNNPACK src/xnnpack/quantization.h (xnn_f32_qd8_asymmetric_quantization_params), src/f32-qs8-vcvt,
src/qd8-f32-qc8w-gemm (the kernels for AVX-512 and AVX2, which fuse the scale and the bias).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.ir import PACKED_BITS
from liteback.numerics.kernels.common import Codes, fused32, product32, quotient32, sum32
from liteback.numerics.operator import Operand, Operator

XNNPACK = "xnnpack"


def takes(op: Operator) -> bool:
    """Whether the delegate takes a hybrid operator; what it leaves runs in the runtime's own kernel."""
    if op.variant != XNNPACK:
        return False
    weights = op.input(1)
    if weights.dtype == "int2" and op.op != "FULLY_CONNECTED":
        return False
    # Several narrow weights lie in a byte: its kernels want whole bytes in a row.
    bits = PACKED_BITS.get(weights.dtype, 8)
    return weights.dtype in ("int8", "int4", "int2") and weights.shape[-1] * bits % 8 == 0


def row_axes(op: Operator) -> list[int]:
    """The axes of the activations that share a scale: a convolution of single pixels is a product of matrices."""
    if op.op == "TRANSPOSE_CONV":
        return [1, 2, 3]
    if op.op != "CONV_2D":
        return [-1]
    single = op.input(1).shape[1:3] == (1, 1) and (op.options["stride_h"], op.options["stride_w"]) == (1, 1)
    return [3] if single else [1, 2, 3]


def quantize_rows(x: Any, axes: list[int]) -> tuple[Any, Any]:
    """code - zero_point, and the scale of each row.

    k = 255 / (max - min) of a range that includes 0; code = rint(x k) + zero_point in [-128, 127]; scale = 1 / k.
    """
    low = tf.minimum(tf.reduce_min(x, axes, keepdims=True), 0.0)
    high = tf.maximum(tf.reduce_max(x, axes, keepdims=True), 0.0)
    span = sum32(high, -low)
    per_unit = tf.where(span == 0, tf.ones_like(span), quotient32(255, tf.where(span == 0, tf.ones_like(span), span)))
    lowest, highest = product32(low, per_unit), product32(high, per_unit)
    from_low = sum32(lowest, -128.0) + sum32(highest, 127.0) > 0
    zero = tf.where(from_low, sum32(-128.0, -lowest), sum32(127.0, -highest))
    zero = tf.round(tf.clip_by_value(zero, -128.0, 127.0))  # halves to even, as rint
    steps = tf.round(tf.clip_by_value(product32(x, per_unit), -128.0 - zero, 127.0 - zero))
    return steps, quotient32(1, per_unit)


def result(acc: Any, scale: Any, weights: Operand, b: Codes | None) -> Any:
    """(sum * scale) * s_w + bias, the last two in one rounding."""
    bias = np.float32(0) if b is None else b
    return fused32(product32(tf.cast(acc, tf.float32), scale), weights.scales, bias)
