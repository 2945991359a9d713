"""Normalizations."""

import tensorflow as tf
from keras import ops

from liteback.emit.ops.common import as_shape
from liteback.emit.registry import computes, emits


@emits("L2_NORMALIZATION")
def l2_normalization(x):
    """x / max(|x|, 1e-6) over the last axis (L2Normalization in l2normalization.h, v2.14.0)."""
    norm = ops.sum(ops.square(x), axis=-1, keepdims=True)
    # The bound stands inside the root: the root's gradient at 0 is infinite.
    return ops.divide(x, ops.sqrt(ops.maximum(norm, 1e-12)))


@emits("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(x, *, radius, bias, alpha, beta):
    """x / (bias + alpha Σ x²)^beta, the sum over the 2 radius + 1 channels around each; x (N,H,W,C)."""
    if sum(d is None for d in x.shape) > 1:
        return NotImplemented
    window = 2 * radius + 1
    squares = ops.pad(ops.reshape(ops.square(x), (-1, x.shape[-1], 1)), ((0, 0), (radius, radius), (0, 0)))
    sums = ops.reshape(ops.average_pool(squares, window, 1, "valid"), as_shape(x.shape))
    return ops.multiply(x, ops.power(ops.add(bias, ops.multiply(sums, alpha * window)), -beta))


@computes("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization_kernel(x, *, radius, bias, alpha, beta):
    """The same for an image whose size is not known."""
    return tf.nn.local_response_normalization(x, radius, bias, alpha, beta)
