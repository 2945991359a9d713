"""Windows over all axes of a tensor: the operators that converters of StableHLO write."""

from functools import reduce

import numpy as np
import tensorflow as tf
from keras import ops

from ..registry import computes, emits
from .common import add


@emits("DILATE", static=["dilations", "padding"])
def dilate(x, dilations, padding):
    """Elements dilations[i] apart along each axis, `padding` between them."""
    if None in x.shape:
        return NotImplemented
    for axis, step in enumerate(int(d) for d in dilations):
        if step > 1:
            x = _spread(x, axis, step, np.ravel(padding)[0].item())
    return x


def _spread(x, axis, step, padding):
    """step - 1 paddings between the elements along an axis."""
    before, extent, after = x.shape[:axis], x.shape[axis], x.shape[axis + 1 :]
    y = ops.reshape(x, (*before, extent, 1, *after))
    widths = [(0, step - 1 if i == axis + 1 else 0) for i in range(len(y.shape))]
    y = ops.reshape(ops.pad(y, widths, constant_values=padding), (*before, extent * step, *after))
    return y[(*[slice(None)] * axis, slice(0, (extent - 1) * step + 1))]


@computes("DILATE")
def dilate_at_run_time(x, dilations, padding):
    """As `dilate`."""
    steps = tf.unstack(dilations)
    places = [tf.range(tf.shape(x)[i]) * step for i, step in enumerate(steps)]
    empty = tf.fill((tf.shape(x) - 1) * dilations + 1, tf.reshape(padding, ()))
    return tf.tensor_scatter_nd_update(empty, tf.stack(tf.meshgrid(*places, indexing="ij"), -1), x)


REDUCTIONS = {
    "ADD": add,
    "MUL": ops.multiply,
    "MINIMUM": ops.minimum,
    "MAXIMUM": ops.maximum,
    "ALL": ops.logical_and,
    "ANY": ops.logical_or,
}


@emits("REDUCE_WINDOW", static=["shape", "strides", "dilations"])
def reduce_window(x, start, shape, strides, dilations, *, reduce_function):
    """`start` and the elements of each window, reduced; windows that do not fit whole are left out."""
    combine, dtype = REDUCTIONS[reduce_function], x.dtype
    # Each of these reductions may be done one axis after the other.
    for axis, (size, stride, step) in enumerate(zip(*(map(int, v) for v in (shape, strides, dilations)), strict=True)):
        extent = x.shape[axis]
        if extent is None or size == 0:
            return NotImplemented
        room = max(extent - (size - 1) * step, 0)  # the places of a window's first element
        parts = [slice(i * step, i * step + room, stride) for i in range(size)]
        x = reduce(combine, [x[(*[slice(None)] * axis, part)] for part in parts])
    return ops.cast(combine(x, ops.reshape(start, ())), dtype)
