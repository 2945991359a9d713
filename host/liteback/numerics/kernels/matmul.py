"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.fixed_point import HALF_UP, ROUNDINGS, SINGLE
from liteback.numerics.kernels.common import (
    Codes,
    accumulate,
    finish,
    fused32,
    is_wide,
    product32,
    product_multiplier,
    quotient32,
    round_half_away,
    separate32,
    sum32,
    sum_in_order,
)
from liteback.numerics.kernels.hybrid import (
    FUSED,
    NEON_FOUR_BIT,
    NEON_SCALES_FIRST,
    ONE_SCALES,
    ORDERS,
    SCALES_FIRST,
    SSE_SCALES_FIRST,
    activated,
    four_bit,
    held_scales,
    hybrid,
    quantize_rows,
    signed,
)
from liteback.numerics.kernels.neon import NEON, batch_product_rounding, product_rounding
from liteback.numerics.kernels.xnnpack import XNNPACK, takes
from liteback.numerics.kernels.xnnpack import quantize_rows as quantize_centred
from liteback.numerics.operator import Operand, Operator, exact

FOUR_BIT_ZERO = 7
NARROW = "narrow"  # with all bits of the multiplier: rounded once with a bias of 64 bits, else half-up


@exact(
    "FULLY_CONNECTED",
    variants=(*ROUNDINGS, NEON),
    int16=(*ROUNDINGS, NARROW),
    float32=(*ONE_SCALES, *ORDERS, NEON, NEON_FOUR_BIT, SSE_SCALES_FIRST, XNNPACK),
)
def fully_connected(op: Operator, x: Codes, w: Codes, b: Codes | None = None) -> Any:
    """x (..., I), w (O,I), b (O,) -> (N,O), or (...,O) with keep_num_dims.

    Where scales are per channel, 2.14's reference kernel, which int16 always gets, takes a result for one of two axes:
    of one with more it leaves a part unwritten, which nothing can compute.
    Source: FullyConnected and FullyConnectedPerChannel
    (tensorflow/lite/kernels/internal/reference/integer_ops/fully_connected.h), fully_connected.cc (v2.14.0).
    """
    if op.options.get("weights_format", "DEFAULT") != "DEFAULT":
        raise NotImplementedError(f"its weights are stored as {op.options['weights_format']}")
    data, weights = op.input(0), op.input(1)
    if data.dtype == "float32":
        return _hybrid(op, x, w, b)
    units, depth = w.shape
    rows = tf.reshape(x, (-1, depth))
    acc = accumulate(lambda x, w: tf.matmul(x, w, transpose_b=True), rows, w, data, weights, taps=(1,))
    by = product_multiplier(op, data, weights, per_channel=weights.per_channel)
    rounding = op.variant
    if op.variant == NEON:
        rounding = product_rounding(units, depth, math.prod(data.shape) // depth)
    elif op.variant == NARROW:
        rounding = SINGLE if is_wide(b) else HALF_UP
    y = finish(op, acc, b, by, rounding, wide=is_wide(b) and op.variant != NARROW)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [units]], 0)) if op.options.get("keep_num_dims") else y


def _hybrid(op: Operator, x: Any, w: Codes, b: Codes | None) -> Any:
    """Each row of x at a scale of its own.

    Source: EvalHybridImpl (tensorflow/lite/kernels/fully_connected.cc), MatrixBatchVectorMultiplyAccumulate
    (internal/optimized/sse_tensor_utils.cc) (v2.14.0).
    """
    weights, (units, depth) = op.input(1), w.shape
    rows = tf.reshape(x, (-1, depth))
    if weights.block_size and op.variant not in (*ONE_SCALES, *FUSED):  # those have 0 for all scales
        y = _in_blocks(op, rows, w, b)
    elif four_bit(op) and not takes(op):
        y = _four_bit(op, rows, w, b)
    else:
        asymmetric = bool(op.options.get("asymmetric_quantize_inputs"))
        kernel = tf.constant(np.transpose(signed(w)).astype(np.float64))
        y = hybrid(op, lambda codes: tf.matmul(codes, kernel), rows, b, asymmetric, [1])
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [units]], 0)) if op.options.get("keep_num_dims") else y


def _in_blocks(op: Operator, rows: Any, w: Codes, b: Codes | None) -> Any:
    """Weights scaled block by block: (sum over the blocks of sum * scales) * scale + bias, each step rounded.

    The runtime's own kernel sums codes as they are, takes off what their zero point adds, and leaves the activation
    out; XNNPACK sums centred codes, at scales of bfloat16.
    Found from results of LiteRT 2.3 on x86-64; 2.14 has no kernel for them.
    """
    if op.variant not in (SSE_SCALES_FIRST, XNNPACK):
        raise NotImplementedError("no exact hybrid kernel for weights that are scaled block by block")
    (units, depth), size = w.shape, op.input(1).block_size
    blocks, scales = w.reshape(units, -1, size), op.input(1).scales.reshape(units, -1)
    if takes(op):
        codes, scale = quantize_centred(rows, [1])
        scales, moved = scales.astype(tf.bfloat16.as_numpy_dtype).astype(np.float32), None
    else:
        codes, scale, zero = quantize_rows(rows, True, [1], op.variant)
        sums = product32(blocks.sum(2, dtype=np.int64), scales)
        moved = product32(zero, tf.transpose(sum_in_order(sums)))
    of_blocks = tf.transpose(tf.reshape(codes, (-1, depth // size, size)), (1, 0, 2))
    acc = tf.matmul(tf.cast(of_blocks, tf.float64), tf.constant(blocks.transpose(1, 2, 0).astype(np.float64)))
    terms = product32(tf.transpose(acc, (1, 2, 0)), scales)
    total = tf.squeeze(sum_in_order(terms), -1)
    y = product32(total if moved is None else sum32(total, -moved), scale)
    y = y if b is None else sum32(y, b)
    return activated(op, y) if moved is None else y


def _four_bit(op: Operator, rows: Any, w: Codes, b: Codes | None) -> Any:
    """Weights are stored 7 higher, and what that adds is taken off apart.

    start = sum of codes * -7 * scale * scales + bias, result = start + sum * scale * scales. The aarch64 wheel fuses
    both sums with the products before them, and multiplies the scales first in the second.
    Source: EvalHybridDense4Bit (tensorflow/lite/kernels/fully_connected.cc), ReferenceBatchQuantizeFloats4Bit,
    ReferenceAssignBiasAndComputeOffsets, ReferenceUnpack (internal/optimized/4bit/fully_connected_reference.cc,
    v2.14.0).
    """
    largest = tf.reduce_max(tf.abs(rows), 1, keepdims=True)
    largest = tf.where(largest == 0, tf.constant(127.0), largest)
    codes = round_half_away(product32(rows, quotient32(127.0, largest)))
    weights, scale = op.input(1), quotient32(largest, 127.0)
    scales = held_scales(op) if weights.block_size else weights.scales  # this kernel knows one for each channel
    stored = tf.constant((np.transpose(w).astype(np.int64) + FOUR_BIT_ZERO).astype(np.float64))
    acc = tf.matmul(tf.cast(codes, tf.float64), stored)
    moved = product32(tf.reduce_sum(codes, 1, keepdims=True) * -FOUR_BIT_ZERO, scale)
    acc, start = tf.cast(acc, tf.float32), 0.0 if b is None else b
    if op.variant == NEON_FOUR_BIT:
        return activated(op, fused32(acc, product32(scale, scales), fused32(moved, scales, start)))
    return activated(op, separate32(product32(acc, scale), scales, separate32(moved, scales, start)))


BATCH_HYBRIDS = (SCALES_FIRST, NEON_SCALES_FIRST, SSE_SCALES_FIRST, XNNPACK)


def _crossed(data: Operand, weights: Operand, asymmetric: bool) -> bool:
    """Whether the hybrid kernel takes one matrix's scales, or sums, for another's.

    Of several axes before the matrices it steps along each by one matrix, not by all that lie between. One matrix of
    weights that has such axes leaves the data none (BatchMatMul in kernels/internal/optimized/batch_matmul.h, v2.14.0).
    """
    of_data, of_weights = (sum(d > 1 for d in operand.shape[:-2]) for operand in (data, weights))
    left = of_weights > 0 or len(weights.shape) == 2
    return (left and of_data > 1) or (asymmetric and of_weights > 1)


def _folded(data: Operand, weights: Operand) -> bool:
    """Whether the hybrid kernel takes several matrices, before one of weights that has a batch of 1, for a single one.

    It transposes that, which is not what transposing each would give (EvalHybrid in batch_matmul.cc, v2.14.0; LiteRT
    2.3 does not).
    """
    of_data, of_weights = (math.prod(operand.shape[:-2]) for operand in (data, weights))
    return of_data > 1 and of_weights == 1 and len(weights.shape) > 2


@exact("BATCH_MATMUL", variants=(*ROUNDINGS, NEON), int16=ROUNDINGS, float32=BATCH_HYBRIDS)
def batch_matmul(op: Operator, x: Codes, y: Codes) -> Any:
    """x (...,M,K), y (...,K,N) -> (...,M,N), transposed before by adj_x, adj_y; the rest broadcasts.

    Of codes, the kernel knows one scale: that of an operand with more, as new quantizers write it, is 0 to it.
    Source: BatchMatMul (tensorflow/lite/kernels/internal/reference/batch_matmul.h), batch_matmul.cc (v2.14.0).
    """
    data, weights = op.input(0), op.input(1)
    adj_x, adj_y = bool(op.options["adj_x"]), bool(op.options["adj_y"])

    def product(x: Any, y: Any) -> Any:
        return tf.matmul(x, y, transpose_a=adj_x, transpose_b=adj_y)

    if data.dtype == "float32":  # EvalHybrid (batch_matmul.cc): each row of x at a scale of its own
        rows = tf.linalg.matrix_transpose(x) if adj_x else x
        kernel = tf.cast(y, tf.float64)
        asymmetric = bool(op.options.get("asymmetric_quantize_inputs"))
        if op.variant != XNNPACK and _crossed(data, weights, asymmetric):
            raise NotImplementedError(
                "its hybrid kernel takes one matrix's scale or sums for another's: two batch axes"
            )
        if adj_x and op.variant not in (XNNPACK, SSE_SCALES_FIRST) and _folded(data, weights):
            raise NotImplementedError("its hybrid kernel takes the rows of transposed matrices for those of one matrix")
        return hybrid(op, lambda codes: tf.matmul(codes, kernel, transpose_b=adj_y), rows, None, asymmetric, [-1])
    acc = accumulate(product, x, y, data, weights, taps=(-1 if adj_y else -2,))
    if data.per_channel or weights.per_channel:
        acc = tf.zeros_like(acc)
    by = product_multiplier(op, data, weights, per_channel=False)
    rounding = batch_product_rounding(op) if op.variant == NEON else op.variant
    return finish(op, acc, None, by, rounding, wide=data.dtype == "int16")
