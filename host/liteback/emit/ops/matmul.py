"""Matrix products."""

import math

import tensorflow as tf
from keras import layers, ops

from liteback.emit.names import is_symbolic
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.weight import Weight, plain


@emits("FULLY_CONNECTED", weights=["w", "b"])
def fully_connected(x, w, b=None, *, keep_num_dims, weights_format, context):
    """x (..., I), w (O,I), b (O,) -> (N,O), or (...,O) with keep_num_dims."""
    if weights_format != "DEFAULT":
        raise NotImplementedError(f"its weights are stored as {weights_format}, a layout for one kind of kernel")
    units, depth = w.shape
    source = context.sources[0]
    if -1 not in source.shape_signature and math.prod(source.shape) % depth:
        raise NotImplementedError(f"its input, of shape {list(source.shape)}, is no rows of {depth} for its weights")
    if not keep_num_dims and (len(x.shape) != 2 or x.shape[-1] != depth):
        x = layers.Flatten()(x) if len(x.shape) > 1 and _per_sample(x) == depth else ops.reshape(x, (-1, depth))
    if not isinstance(w, Weight):
        y = ops.matmul(x, ops.transpose(w))
        return y if b is None else ops.add(y, plain(b))
    config = {"units": units, "use_bias": b is not None}
    if len(x.shape) == 1:  # one row, which Keras wants in a matrix
        row = ops.reshape(x, (1, depth))
        return Layer(layers.Dense, row, [w.transpose(1, 0), b], config, then=lambda y: ops.reshape(y, (units,)))
    return Layer(layers.Dense, x, [w.transpose(1, 0), b], config)


def _per_sample(x):
    """How many elements one sample holds, or None where that may vary."""
    size = 1
    for extent in x.shape[1:]:
        size = None if size is None or extent is None else size * extent
    return size


@emits("BATCH_MATMUL", weights=["x", "y"])
def batch_matmul(x, y, *, adj_x, adj_y):
    """x (...,M,K), y (...,K,N) -> (...,M,N), with x or y transposed before (adj_x, adj_y); the rest broadcasts."""
    if isinstance(x, Weight):
        if is_symbolic(y):
            return _weight_before(x, y, adj_x, adj_y)
        x = plain(x)
    if adj_x:
        x = ops.swapaxes(x, -1, -2)
    if not isinstance(y, Weight):
        return ops.matmul(x, ops.swapaxes(y, -1, -2) if adj_y else y)
    if len(y.shape) > len(x.shape) or any(d != 1 for d in y.shape[:-2]):
        return NotImplemented  # a kernel for each element of the batch
    y = y.reshape(*y.shape[-2:])
    if adj_y:
        y = y.transpose(1, 0)
    return Layer(layers.Dense, x, [y], {"units": y.shape[-1], "use_bias": False})


def _weight_before(w, x, adj_w, adj_x):
    """A dense layer along the axis before the last: w x = (x' w')'."""
    if len(w.shape) > len(x.shape) or any(d != 1 for d in w.shape[:-2]):
        return NotImplemented
    w = w.reshape(*w.shape[-2:])
    kernel = w if adj_w else w.transpose(1, 0)
    config = {"units": kernel.shape[-1], "use_bias": False}
    rows = x if adj_x else ops.swapaxes(x, -1, -2)
    return Layer(layers.Dense, rows, [kernel], config, then=lambda y: ops.swapaxes(y, -1, -2))


@computes("BATCH_MATMUL", weights=["x", "y"])
def batch_matmul_kernel(x, y, *, adj_x, adj_y):
    """The same where an operand is a variable."""
    return tf.matmul(x, y, transpose_a=adj_x, transpose_b=adj_y)
