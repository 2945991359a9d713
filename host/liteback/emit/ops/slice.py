"""Parts of a tensor, and putting parts back."""

import tensorflow as tf

from ..registry import computes, emits
from .common import ranked


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
    if offset:
        if ellipsis_mask or new_axis_mask:
            raise NotImplementedError("a computed begin with `offset` beside an ellipsis or a new axis")
        extents = tf.cast(tf.shape(x)[: begin.shape[0]], begin.dtype)
        begin = tf.clip_by_value(tf.where(begin < 0, begin + extents, begin), 0, extents)
        end = begin + end
    masks = (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    added = new_axis_mask & ~ellipsis_mask
    dropped = shrink_axis_mask & ~(added | ellipsis_mask)
    rank = x.shape.rank + added.bit_count() - dropped.bit_count()
    return ranked(tf.strided_slice(x, begin, end, strides, *masks), rank)


@computes("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(x, update, start):
    """x with `update` written over it from `start`, which is moved so that the update lies inside x."""
    if x.shape.rank == 0:
        return tf.identity(update)
    extents = tf.shape(update)
    first = tf.clip_by_value(tf.cast(start, tf.int32), 0, tf.shape(x) - extents)
    rank = len(x.shape)
    axes = [first[i] + tf.range(extents[i]) for i in range(rank)]
    return tf.tensor_scatter_nd_update(x, tf.stack(tf.meshgrid(*axes, indexing="ij"), -1), update)
