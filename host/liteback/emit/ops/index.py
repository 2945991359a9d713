"""Looking values up."""

import math

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.names import is_symbolic
from liteback.emit.op_layer import LARGE
from liteback.emit.ops.common import as_shape
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.weight import Weight, plain


@emits("GATHER", weights=["params"])
def gather(params, indices, *, axis, batch_dims):
    """params with `axis` replaced by the elements that `indices` names."""
    if batch_dims:
        return NotImplemented
    if _trains(params, indices):
        # Items of several axes are folded up, and can only be unfolded between known extents.
        foldable = len(params.shape) == 2 or sum(d is None for d in indices.shape) < 2
        return _embedding(params, indices, axis % len(params.shape)) if foldable else NotImplemented
    if not is_symbolic(params) and is_symbolic(indices) and not 0 < np.size(plain(params)) <= LARGE:
        return NotImplemented  # a table of numbers belongs to the weights; the configuration loses an empty one's shape
    return ops.take(plain(params), indices, axis=axis)


@computes("GATHER", weights=["params"])
def gather_anything(params, indices, *, axis, batch_dims):
    """As `gather`; the first `batch_dims` axes are common to both."""
    return tf.gather(params, indices, axis=axis, batch_dims=batch_dims)


@emits("EMBEDDING_LOOKUP", weights=["params"])
def embedding_lookup(ids, params):
    """The rows of params that `ids` (N,) names."""
    return _embedding(params, ids, 0) if _trains(params, ids) else ops.take(plain(params), ids, axis=0)


def _trains(params, indices):
    weights = isinstance(params, Weight) and params.dtype == "float32" and 0 not in params.shape
    return weights and is_symbolic(indices)


def _embedding(params, indices, axis):
    """An Embedding of the slices of `params` along `axis`, each in the shape that it has."""
    rank = len(params.shape)
    table = params if axis == 0 else params.transpose(axis, *(a for a in range(rank) if a != axis))
    rows, *item = table.shape
    if len(item) != 1:
        table = table.reshape(rows, math.prod(item))
    lead = len(indices.shape)

    def unfold(y):
        if len(item) != 1:
            y = ops.reshape(y, (*as_shape(indices.shape), *item))
        # The axes before the one that is replaced come first again.
        order = (*range(lead, lead + axis), *range(lead), *range(lead + axis, lead + len(item)))
        return ops.transpose(y, order) if axis else y

    config = {"input_dim": rows, "output_dim": math.prod(item)}
    return Layer(layers.Embedding, indices, [table], config, then=unfold if len(item) != 1 or axis else None)


@emits("GATHER_ND", weights=["params"])
def gather_nd(params, indices):
    """The elements or slices of params at the coordinates in the last axis of `indices`."""
    depth = indices.shape[-1]
    if not is_symbolic(params) or not depth or not all(params.shape[1:]):
        return NotImplemented
    # The axes that are indexed become one. How many elements the first one has need not be known.
    strides = np.array([math.prod(params.shape[axis + 1 : depth]) for axis in range(depth)], np.int64)
    if is_symbolic(indices):
        place = ops.sum(ops.multiply(ops.cast(indices, "int64"), strides), axis=-1)
    else:
        place = np.sum(indices * strides, axis=-1)
    return ops.take(ops.reshape(params, (-1, *params.shape[depth:])), place, axis=0)


@computes("GATHER_ND", weights=["params"])
def gather_nd_anywhere(params, indices):
    """As `gather_nd`."""
    return tf.gather_nd(params, indices)


@computes("EMBEDDING_LOOKUP_SPARSE", weights=["params"])
def embedding_lookup_sparse(ids, indices, dense_shape, weights, params, *, combiner):
    """Rows of params, weighted and combined over the last axis of a sparse tensor of ids.

    SUM: sum(w r). MEAN: sum(w r) / sum(w). SQRTN: sum(w r) / sqrt(sum(w^2)). Where there is no id: zeros
    (lite/kernels/embedding_lookup_sparse.cc).
    """
    extents = dense_shape[:-1]
    strides = tf.math.cumprod(extents, exclusive=True, reverse=True)
    bucket = tf.reduce_sum(indices[:, :-1] * strides, axis=1)
    count = tf.reduce_prod(extents)
    item = [int(d) for d in params.shape[1:]]
    along = tf.reshape(weights, (-1, *[1] * len(item)))
    result = tf.math.unsorted_segment_sum(tf.gather(params, ids) * along, bucket, count)
    if combiner != "SUM":
        squares = tf.math.unsorted_segment_sum(along * along, bucket, count)
        total = tf.math.unsorted_segment_sum(along, bucket, count) if combiner == "MEAN" else tf.sqrt(squares)
        given = tf.math.unsorted_segment_sum(tf.ones_like(along), bucket, count) > 0
        result = tf.where(given, result / total, tf.zeros_like(result))
    return tf.reshape(result, tf.concat([extents, tf.constant(item, extents.dtype)], 0))


@computes("HASHTABLE_LOOKUP", weights=["values"])
def hashtable_lookup(lookup, keys, values):
    """values[i] where keys[i] == lookup, else zeros; and 1 where there is such a key, else 0. keys ascend."""
    place = tf.minimum(tf.searchsorted(keys, lookup), tf.shape(keys)[0] - 1)
    hits = tf.equal(tf.gather(keys, place), lookup)
    rows = tf.gather(values, place)
    along = tf.reshape(hits, (-1, *[1] * (len(rows.shape) - 1)))
    return tf.where(along, rows, tf.zeros_like(rows)), tf.cast(hits, tf.uint8)
