"""Writing values to places, and gathering values into segments."""

import numpy as np
import tensorflow as tf
from keras import ops

from ...ir import CODE_RANGE
from ..names import is_symbolic
from ..registry import computes, emits


@emits("SCATTER_ND", static=["shape"])
def scatter_nd(indices, updates, shape, *, context, out):
    """Zeros of a shape, with `updates` added at the coordinates in the last axis of `indices`."""
    if len(indices.shape) == 1:  # Keras wants a list of coordinates
        indices, updates = ops.expand_dims(indices, 0), ops.expand_dims(updates, 0)
    total = ops.scatter(indices, updates, [int(d) for d in shape])
    on_codes = context.numerics == "fakequant" and out.is_quantized and out.dtype in CODE_RANGE
    return _wrapped(total, out) if on_codes and _may_meet(indices) else total


def _may_meet(indices):
    """Whether two coordinates may be the same."""
    if is_symbolic(indices):
        return True
    places = np.reshape(indices, (-1, indices.shape[-1]))
    return len(np.unique(places, axis=0)) < len(places)


def _wrapped(total, out):
    """Sums of codes as their type holds them (Scatter in kernels/internal/reference/reference_ops.h, v2.21.0)."""
    low, high = CODE_RANGE[out.dtype]
    turn = float(out.quantization.scale[0]) * (high - low + 1)
    start = float(out.quantization.scale[0]) * (low - 0.5)
    return ops.subtract(total, ops.multiply(ops.floor(ops.divide(ops.subtract(total, start), turn)), turn))


@computes("SCATTER_ND")
def scatter_nd_anything(indices, updates, shape):
    """As `scatter_nd`; of booleans the sum is their disjunction."""
    if updates.dtype == tf.bool:
        return tf.scatter_nd(indices, tf.cast(updates, tf.int32), tf.cast(shape, indices.dtype)) > 0
    return tf.scatter_nd(indices, updates, tf.cast(shape, indices.dtype))


@computes("SPARSE_TO_DENSE")
def sparse_to_dense(indices, shape, values, default):
    """`default` everywhere, save `values` (N,) or () at the coordinates `indices` (N, rank), (N,) or ()."""
    dense = tf.fill(shape, tf.reshape(default, ()))
    if len(indices.shape) < 2:
        indices = tf.reshape(indices, (-1, 1))
    return tf.tensor_scatter_nd_update(dense, indices, tf.broadcast_to(values, tf.shape(indices)[:1]))


@emits("SEGMENT_SUM", static=["ids"])
def segment_sum(x, ids):
    """Sums of x over equal ids (N,), which ascend."""
    return ops.segment_sum(x, ids, num_segments=int(ids[-1]) + 1 if len(ids) else 0)


@computes("SEGMENT_SUM")
def segment_sum_at_run_time(x, ids):
    """As `segment_sum`."""
    return tf.math.segment_sum(x, ids)


def _unsorted(fn):
    def emitter(x, ids, count):
        """x reduced over equal ids; a negative id is left out."""
        if len(ids.shape) != 1 or not (is_symbolic(x) or is_symbolic(ids)):
            return NotImplemented
        return fn(x, ids, num_segments=int(np.ravel(count)[0]))

    return emitter


def _unsorted_at_run_time(fn):
    def kernel(x, ids, count):
        """x reduced over equal ids; a negative id is left out."""
        return fn(x, ids, tf.reshape(count, ()))

    return kernel


emits("UNSORTED_SEGMENT_SUM", static=["count"])(_unsorted(ops.segment_sum))
emits("UNSORTED_SEGMENT_MAX", static=["count"])(_unsorted(ops.segment_max))
for _op, _fn in {
    "UNSORTED_SEGMENT_SUM": tf.math.unsorted_segment_sum,
    "UNSORTED_SEGMENT_MAX": tf.math.unsorted_segment_max,
    "UNSORTED_SEGMENT_MIN": tf.math.unsorted_segment_min,
    "UNSORTED_SEGMENT_PROD": tf.math.unsorted_segment_prod,
}.items():
    computes(_op)(_unsorted_at_run_time(_fn))
