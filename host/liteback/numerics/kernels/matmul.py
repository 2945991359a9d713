"""Matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..fixed_point import DOUBLE, ROUNDINGS
from ..operator import Operator, exact
from .common import Codes, accumulate, finish, is_wide, product_multiplier
from .hybrid import ONE_SCALE, ORDERS, hybrid_result, quantize_rows

NARROW = "narrow"  # 32 bits, whatever the bias has


@exact("FULLY_CONNECTED", variants=ROUNDINGS, int16=(*ROUNDINGS, NARROW), float32=(ONE_SCALE, *ORDERS))
def fully_connected(op: Operator, x: Codes, w: Codes, b: Codes | None = None) -> Any:
    """x (..., I), w (O,I), b (O,) -> (N,O), or (...,O) with keep_num_dims.

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
    narrow = op.variant == NARROW
    y = finish(op, acc, b, by, wide=is_wide(b) and not narrow, rounding=DOUBLE if narrow else op.variant)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [units]], 0)) if op.options.get("keep_num_dims") else y


def _hybrid(op: Operator, x: Any, w: Codes, b: Codes | None) -> Any:
    """Each row of x at a scale of its own.

    Source: EvalHybridImpl (tensorflow/lite/kernels/fully_connected.cc), MatrixBatchVectorMultiplyAccumulate
    (internal/optimized/sse_tensor_utils.cc) (v2.14.0).
    """
    weights, (units, depth) = op.input(1), w.shape
    if weights.block_size or weights.dtype != "int8":
        raise NotImplementedError(f"no exact hybrid kernel for {weights.dtype} weights")
    rows = tf.reshape(x, (-1, depth))
    codes, scale, zero = quantize_rows(rows, bool(op.options.get("asymmetric_quantize_inputs")), [1])
    kernel = tf.constant(np.transpose(w).astype(np.float64))
    acc = tf.matmul(tf.cast(codes - zero, tf.float64), kernel)
    y = hybrid_result(op, acc, scale, weights, b)
    return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [units]], 0)) if op.options.get("keep_num_dims") else y


@exact("BATCH_MATMUL", variants=ROUNDINGS)
def batch_matmul(op: Operator, x: Codes, y: Codes) -> Any:
    """x (...,M,K), y (...,K,N) -> (...,M,N), transposed before by adj_x, adj_y; the rest broadcasts.

    Source: BatchMatMul (tensorflow/lite/kernels/internal/reference/batch_matmul.h), batch_matmul.cc (v2.14.0).
    """
    data, weights = op.input(0), op.input(1)
    adj_x, adj_y = bool(op.options["adj_x"]), bool(op.options["adj_y"])

    def product(x: Any, y: Any) -> Any:
        return tf.matmul(x, y, transpose_a=adj_x, transpose_b=adj_y)

    acc = accumulate(product, x, y, data, weights, taps=(-1 if adj_y else -2,))
    by = product_multiplier(op, data, weights, per_channel=False)
    return finish(op, acc, None, by, wide=data.dtype == "int16")
