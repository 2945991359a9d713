"""Parts of a tensor, and putting parts back."""

import math

import numpy as np
import tensorflow as tf
from keras import ops

from liteback.emit.ops.common import ranked
from liteback.emit.registry import computes, emits


@emits("SLICE", static=["begin", "size"])
def slice_(x, begin, size):
    """size[i] elements from begin[i] along each axis; -1 is all that follow."""
    parts = zip((int(b) for b in begin), (int(s) for s in size), strict=True)
    return x[tuple(slice(b, None if s == -1 else b + s) for b, s in parts)]


@computes("SLICE")
def slice_at_run_time(x, begin, size):
    """As `slice_`."""
    return tf.slice(x, begin, tf.cast(size, begin.dtype))


@emits("STRIDED_SLICE", static=["begin", "end", "strides"])
def strided_slice(
    x, begin, end, strides, *, begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask, offset
):
    """x[begin:end:strides] along each axis; the masks' bits speak of the position in begin, end and strides."""
    begin, end, strides = (v[: _positions(len(x.shape), new_axis_mask & ~ellipsis_mask)] for v in (begin, end, strides))
    index, axis = [], 0
    for i, (b, e, s) in enumerate(zip(*(map(int, v) for v in (begin, end, strides)), strict=True)):
        bit = 1 << i
        if ellipsis_mask & bit:
            index.append(Ellipsis)
            # What follows it, new axes aside, stands for the last axes of x.
            axis = len(x.shape) - sum(not new_axis_mask >> j & 1 for j in range(i + 1, len(begin)))
        elif new_axis_mask & bit:
            index.append(None)
        else:
            start, stop = (None if begin_mask & bit else b), (None if end_mask & bit else e)
            if offset:
                stop = _offset_stop(x.shape[axis], start, stop, s)
            index.append((start or 0) if shrink_axis_mask & bit else slice(start, stop, s))
            axis += 1
    return x[tuple(index)]


def _positions(rank, added):
    """How many positions the kernel looks at: an ellipsis takes one axis at least, and what then is left over is none.

    Source: BuildStridedSliceParams (tensorflow/lite/kernels/strided_slice.cc, v2.14.0).
    """
    return rank + added.bit_count()


def _offset_stop(extent, start, stop, stride):
    """The end of a slice whose `end` counts from its begin."""
    if stop is None:
        return None
    first = (0 if stride > 0 else -1) if start is None else start
    if extent is not None:
        first = min(max(first + extent if first < 0 else first, 0), extent)
    last = first + stop
    # Below 0 an index would count from the end; a begin that does so itself must not run past it.
    if first < 0:
        return last if last < 0 else None
    return last if last >= 0 else None


@computes("STRIDED_SLICE")
def strided_slice_at_run_time(
    x, begin, end, strides, *, begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask, offset
):
    """As `strided_slice`."""
    count = _positions(x.shape.rank, new_axis_mask & ~ellipsis_mask)
    begin, end, strides = begin[:count], end[:count], strides[:count]
    if offset:
        if ellipsis_mask or new_axis_mask:
            raise NotImplementedError("a computed begin with `offset` beside an ellipsis or a new axis")
        extents = tf.cast(tf.shape(x)[: begin.shape[0]], begin.dtype)
        begin = tf.clip_by_value(tf.where(begin < 0, begin + extents, begin), 0, extents)
        end = begin + end
    # TensorFlow looks at the begin of an axis that it drops, masked or not; the kernel takes a masked one for 0.
    kept = [not begin_mask & shrink_axis_mask & 1 << i for i in range(begin.shape[0])]
    begin = begin * tf.constant(kept, begin.dtype)
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    added = new_axis_mask & ~ellipsis_mask
    dropped = shrink_axis_mask & ~(added | ellipsis_mask)
    rank = x.shape.rank + added.bit_count() - dropped.bit_count()
    return ranked(tf.strided_slice(x, begin, end, strides, *masks), rank)


@emits("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(x, update, start):
    """x with `update` written over it from `start`, which is moved so that the update lies inside x.

    Trailing axes that it covers are written as a whole. Keras' slice_update has no gradient.
    """
    shape, part = tuple(x.shape), tuple(update.shape)
    if None in shape + part or shape == part:
        return NotImplemented
    count = 1 + max(axis for axis, extents in enumerate(zip(shape, part, strict=True)) if extents[0] != extents[1])
    if math.prod(part[:count]) > PLACES:
        return NotImplemented
    places = np.indices(part[:count]).reshape(count, -1).T
    first = ops.minimum(ops.cast(start, "int64"), np.subtract(shape, part))  # ops.clip cannot be saved with arrays
    first = ops.maximum(first, 0)[(slice(count),)]
    return ops.scatter_update(x, ops.add(first, places), ops.reshape(update, (-1, *shape[count:])))


PLACES = 1024  # of elements or slices; more do not belong into a model's configuration


@computes("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice_of_any_size(x, update, start):
    """The same for what varies, or is large."""
    if x.shape.rank == 0:
        return tf.identity(update)
    extents = tf.shape(update)
    first = tf.clip_by_value(tf.cast(start, tf.int32), 0, tf.shape(x) - extents)
    rank = len(x.shape)
    axes = [first[i] + tf.range(extents[i]) for i in range(rank)]
    return tf.tensor_scatter_nd_update(x, tf.stack(tf.meshgrid(*axes, indexing="ij"), -1), update)
