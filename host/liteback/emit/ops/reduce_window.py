"""Windows over all axes of a tensor, and what lies between and around its elements: operators of StableHLO's origin."""

import numpy as np
import tensorflow as tf
from keras import ops

from liteback.emit.ops.common import add, as_shape, numbers_of
from liteback.emit.registry import computes, emits


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
    if extent is None:
        raise NotImplementedError("it puts values between elements of an axis whose extent is not known")
    y = ops.reshape(x, as_shape([*before, extent, 1, *after]))
    widths = [(0, step - 1 if i == axis + 1 else 0) for i in range(len(y.shape))]
    y = ops.reshape(ops.pad(y, widths, constant_values=padding), as_shape([*before, extent * step, *after]))
    return y[(*[slice(None)] * axis, slice(0, max(extent - 1, 0) * step + 1))]


@computes("DILATE")
def dilate_at_run_time(x, dilations, padding):
    """As `dilate`."""
    steps = tf.unstack(dilations)
    places = [tf.range(tf.shape(x)[i]) * step for i, step in enumerate(steps)]
    empty = tf.fill((tf.shape(x) - 1) * dilations + 1, tf.reshape(padding, ()))
    return tf.tensor_scatter_nd_update(empty, tf.stack(tf.meshgrid(*places, indexing="ij"), -1), x)


@emits("STABLEHLO_PAD", static=["value"])
def stablehlo_pad(x, value, *, edge_padding_low, edge_padding_high, interior_padding):
    """`value` between x's elements and around them; where fewer than none are to be around, some are cut off."""
    return _padded(x, value, edge_padding_low, edge_padding_high, interior_padding)


def _padded(x, value, low, high, interior):
    value, edges = np.ravel(value)[0].item(), list(zip(low, high, strict=True))
    if min(interior, default=0) < 0:
        raise NotImplementedError(f"it puts fewer than no values between elements: {list(interior)}")
    for axis, between in enumerate(interior):
        if between:
            x = _spread(x, axis, between + 1, value)
    if any(a > 0 or b > 0 for a, b in edges):
        x = ops.pad(x, [(max(a, 0), max(b, 0)) for a, b in edges], constant_values=value)
    if any(a < 0 or b < 0 for a, b in edges):
        x = x[tuple(slice(max(-a, 0), min(b, 0) or None) for a, b in edges)]
    return x


REDUCTIONS = {
    "ADD": add,
    "MUL": ops.multiply,
    "MULTIPLY": ops.multiply,
    "MINIMUM": ops.minimum,
    "MAXIMUM": ops.maximum,
    "ALL": ops.logical_and,
    "ANY": ops.logical_or,
    **dict.fromkeys(("AND", "LOGICAL_AND"), ops.logical_and),
    **dict.fromkeys(("OR", "LOGICAL_OR"), ops.logical_or),
}


@emits("REDUCE_WINDOW", static=["shape", "strides", "dilations"])
def reduce_window(x, start, shape, strides, dilations, *, reduce_function, context):
    """`start` and the elements of each window, reduced; windows that do not fit whole are left out."""
    return _reduced(x, start, shape, strides, dilations, reduce_function, context)


@emits("STABLEHLO_REDUCE_WINDOW", static=["start"])
def stablehlo_reduce_window(
    x, start, *, window_dimensions, window_strides, base_dilations, window_dilations, padding, region, context
):
    """As `reduce_window`, of x with `start` between its elements and around them."""
    x = _padded(x, start, padding[::2], padding[1::2], [d - 1 for d in base_dilations])
    (name,) = region if len(region) == 1 else [" and ".join(region)]
    return _reduced(
        x, start, window_dimensions, window_strides, window_dilations, name.removeprefix("STABLEHLO_"), context
    )


def _reduced(x, start, shape, strides, dilations, name, context):
    combine = REDUCTIONS.get(name)
    if combine is None:
        raise NotImplementedError(f"its windows are reduced by {name or 'nothing'}, for which runtimes have no kernel")
    if name in ("ADD", "MUL", "MULTIPLY"):
        numbers_of(context)
    if min((*shape, *strides, *dilations), default=1) < 1:
        raise NotImplementedError("a window's extents, strides and dilations are positive")
    dtype = x.dtype
    # Each of these reductions may be done one axis after the other.
    for axis, (size, stride, step) in enumerate(zip(*(map(int, v) for v in (shape, strides, dilations)), strict=True)):
        extent = x.shape[axis]
        fits = extent is None or (size - 1) * step < extent
        x = _combined(x, axis, size, step, combine) if fits else x[_along(axis, None, 0)]
        x = x if stride == 1 else x[_along(axis, None, None, stride)]
    return ops.cast(combine(x, ops.reshape(start, ())), dtype)


def _combined(x, axis, size, step, combine):
    """Each element along an axis with the size - 1 that follow it, `step` apart: of two halves of each window."""
    if size == 1:
        return x
    half, apart = _combined(x, axis, size // 2, step, combine), size // 2 * step
    whole = combine(half[_along(axis, None, -apart)], half[_along(axis, apart, None)])
    if size % 2 == 0:
        return whole
    return combine(whole[_along(axis, None, -step)], x[_along(axis, (size - 1) * step, None)])


def _along(axis, *bounds):
    return (*[slice(None)] * axis, slice(*bounds))
