"""Tensors made from a few numbers."""

import numpy as np
import tensorflow as tf
from keras import ops

from liteback.emit.batch import for_each_sample, leads
from liteback.emit.ops.common import typed
from liteback.emit.registry import computes, emits


@emits("FILL", static=["dims"])
def fill(dims, value, *, context):
    """A tensor of shape `dims` that is `value` everywhere."""
    if leads(dims):
        return for_each_sample(context.batch_source(), [int(d) for d in dims[1:]], value)
    return ops.broadcast_to(ops.reshape(value, ()), [int(d) for d in dims])


@computes("FILL")
def fill_at_run_time(dims, value):
    """As `fill`."""
    return tf.fill(dims, tf.reshape(value, ()))


@computes("RANGE")
def range_(start, limit, delta):
    """start, start + delta, ... before limit."""
    return tf.range(*(tf.reshape(v, ()) for v in (start, limit, delta)))


@emits("ONE_HOT", static=["depth", "on", "off"])
def one_hot(indices, depth, on, off, *, axis):
    """`on` where a new axis of extent `depth` counts what `indices` says, else `off`."""
    on, off = np.ravel(on)[0], np.ravel(off)[0]
    if on.dtype.kind not in "fiu":
        return NotImplemented
    axis = -1 if axis == len(indices.shape) else axis  # Keras does not count the new axis
    plain = ops.one_hot(indices, int(np.ravel(depth)[0]), axis=axis, dtype=on.dtype.name)
    return plain if (on, off) == (1, 0) else typed(ops.where(ops.equal(plain, ops.ones_like(plain)), on, off), on, off)


@computes("ONE_HOT")
def one_hot_at_run_time(indices, depth, on, off, *, axis):
    """As `one_hot`."""
    depth, on, off = (tf.reshape(v, ()) for v in (depth, on, off))
    return tf.one_hot(indices, depth, on, off, axis)


@emits("MATRIX_DIAG")
def matrix_diag(diagonal):
    """Matrices with the last axis of `diagonal` on their diagonals, zero elsewhere."""
    extent = diagonal.shape[-1]
    if extent is None:
        return NotImplemented
    spread = ops.expand_dims(diagonal, -1)
    return ops.where(np.eye(extent, dtype=bool), spread, ops.zeros_like(spread))


@computes("MATRIX_DIAG")
def matrix_diag_at_run_time(diagonal):
    """As `matrix_diag`."""
    return tf.linalg.diag(diagonal)


@emits("MATRIX_SET_DIAG")
def matrix_set_diag(x, diagonal):
    """x, matrices in its last two axes, with other diagonals."""
    rows, columns = x.shape[-2:]
    if rows is None or columns is None:
        return NotImplemented
    # The diagonal is as long as the shorter side: spread it along the other one.
    spread = ops.expand_dims(diagonal, -1 if rows <= columns else -2)
    return ops.where(np.eye(rows, columns, dtype=bool), spread, x)


@computes("MATRIX_SET_DIAG")
def matrix_set_diag_at_run_time(x, diagonal):
    """As `matrix_set_diag`."""
    return tf.linalg.set_diag(x, diagonal)


@emits("DENSIFY")
def densify(x):
    """x itself: `lift` has decoded the sparse constant that it names."""
    return ops.copy(x)
