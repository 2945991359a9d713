"""Writing values to places, and gathering values into segments."""

import numpy as np
import tensorflow as tf
from keras import ops

from liteback.emit.names import is_symbolic
from liteback.emit.registry import computes, emits


@emits("SCATTER_ND", static=["shape"])
def scatter_nd(indices, updates, shape):
    """Zeros of a shape, with `updates` added at the coordinates in the last axis of `indices`."""
    if len(indices.shape) == 1:  # Keras wants a list of coordinates
        indices, updates = ops.expand_dims(indices, 0), ops.expand_dims(updates, 0)
    return ops.scatter(indices, updates, [int(d) for d in shape])


@computes("SCATTER_ND")
def scatter_nd_anything(indices, updates, shape):
    """As `scatter_nd`; of booleans the sum is their disjunction."""
    if len(indices.shape) == 1:
        indices, updates = indices[None], updates[None]
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
        if not is_symbolic(x):  # Keras tells by the data alone whether these are tensors of a model
            x = ops.add(x, ops.cast(ops.zeros_like(ops.reshape(ids, (-1, *[1] * (x.ndim - 1)))), x.dtype))
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
