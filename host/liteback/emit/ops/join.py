"""Joining, splitting, padding and repeating."""

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.batch import UnknownBatch, for_each_sample, leads
from liteback.emit.names import is_symbolic
from liteback.emit.ops.common import dtype_of
from liteback.emit.registry import Layer, computes, emits

# Rank -> the layer that pads all but the first and the last axis with zeros.
ZERO_PADDING = {3: layers.ZeroPadding1D, 4: layers.ZeroPadding2D, 5: layers.ZeroPadding3D}


@emits("CONCATENATION")
def concatenation(*values, axis):
    """Join tensors along an axis; what is known, to each sample."""
    some = [v for v in values if is_symbolic(v) or np.size(v)]  # a saved model does not hold the shape of nothing
    if len(some) == 1:
        return some[0]
    values = some or values
    source = next((v for v in values if is_symbolic(v) and v.shape[:1] == (None,)), None)
    if source is not None and axis % len(source.shape):
        values = [v if is_symbolic(v) or v.shape[0] != 1 else for_each_sample(source, v.shape[1:], v) for v in values]
    # The layer says that it gives floats, whatever it joins.
    if all(map(is_symbolic, values)) and len(values) > 1 and dtype_of(values[0]) == "float32":
        return Layer(layers.Concatenate, list(values), config={"axis": axis})
    return ops.concatenate(values, axis)


@computes("CONCATENATION")
def concatenate_anything(*values, axis):
    """As `concatenation`."""
    return tf.concat(values, axis)


@emits("PACK")
def pack(*values, axis):
    """Join tensors along a new axis."""
    if values[0].shape == () and not all(map(is_symbolic, values)):
        # A saved model holds a single known number without its type and shape, which a stack asks for.
        return ops.concatenate([ops.reshape(v, (1,)) if is_symbolic(v) else np.reshape(v, 1) for v in values], 0)
    return ops.stack(values, axis)


@computes("PACK")
def pack_anything(*values, axis):
    """As `pack`."""
    return tf.stack(values, axis)


@emits("UNPACK")
def unpack(x, *, axis, out):
    """The slices of x along an axis."""
    return ops.unstack(x, len(_listed(out)), axis)


@computes("UNPACK")
def unpack_anything(x, *, axis, out):
    """As `unpack`."""
    return tf.unstack(x, len(_listed(out)), axis)


def _listed(out):
    return out if isinstance(out, list) else [out]


@emits("SPLIT", static=["axis"])
def split(axis, x, *, num_splits):
    """num_splits equal parts along an axis."""
    return ops.split(x, num_splits, int(np.ravel(axis)[0]))


@computes("SPLIT")
def split_at_run_time(axis, x, *, num_splits):
    """As `split`."""
    return tf.raw_ops.Split(axis=tf.reshape(axis, ()), value=x, num_split=num_splits)


@emits("SPLIT_V", static=["sizes", "axis"])
def split_v(x, sizes, axis, *, num_splits):
    """Parts of the given sizes along an axis; one size may be -1, for the rest."""
    where, parts = int(np.ravel(axis)[0]), [int(s) for s in np.ravel(sizes)]
    if -1 in parts:
        if x.shape[where] is None:
            return NotImplemented
        parts[parts.index(-1)] = x.shape[where] - sum(parts) - 1
    return ops.split(x, np.cumsum(parts)[:-1].tolist(), where) if num_splits > 1 else [ops.copy(x)]


@computes("SPLIT_V")
def split_v_at_run_time(x, sizes, axis, *, num_splits):
    """As `split_v`."""
    if num_splits == 1:
        return [tf.identity(x)]  # TensorFlow takes no -1 for the size of a single part
    # Of a split along an axis that is not known yet, TensorFlow says wrong shapes: it is made the first.
    rest = tf.range(x.shape.rank - 1)
    axis = tf.cast(tf.reshape(axis, ()), tf.int32) % x.shape.rank
    order = tf.concat([[axis], rest + tf.cast(rest >= axis, tf.int32)], 0)
    first = tf.transpose(x, order)
    parts = tf.raw_ops.SplitV(value=first, size_splits=tf.reshape(sizes, (-1,)), axis=0, num_split=num_splits)
    return [tf.transpose(part, tf.argsort(order)) for part in parts]


@emits("PAD", static=["paddings"])
def pad(x, paddings):
    """Zeros around x; paddings (rank, 2)."""
    widths = _widths(paddings)
    cls = ZERO_PADDING.get(len(widths))
    if cls is None or widths[0] != (0, 0) or widths[-1] != (0, 0):
        return ops.pad(x, widths) if widths else ops.copy(x)
    return Layer(cls, x, config={"padding": tuple(widths[1:-1]) if len(widths) > 3 else widths[1]})


@emits("PADV2", static=["paddings", "value"])
def pad_with(x, paddings, value):
    """A value around x; paddings (rank, 2)."""
    return ops.pad(x, _widths(paddings), constant_values=np.ravel(value)[0].item())


@computes("PAD", "PADV2")
def pad_at_run_time(x, paddings, value=None):
    """As `pad_with`, and zero where there is no value."""
    fill = tf.zeros((), x.dtype) if value is None else tf.reshape(value, ())
    return tf.pad(x, paddings, constant_values=fill)


@emits("MIRROR_PAD", static=["paddings"])
def mirror_pad(x, paddings, *, mode):
    """x mirrored at its edges: REFLECT leaves the edge element out, SYMMETRIC repeats it."""
    return ops.pad(x, _widths(paddings), mode=mode.lower())


@computes("MIRROR_PAD")
def mirror_pad_at_run_time(x, paddings, *, mode):
    """As `mirror_pad`."""
    return tf.pad(x, paddings, mode)


def _widths(paddings):
    return [(int(a), int(b)) for a, b in paddings]


@emits("TILE", static=["multiples"])
def tile(x, multiples, *, context):
    """x repeated along each axis."""
    if leads(multiples):
        if is_symbolic(x) or x.shape[0] != 1:
            raise UnknownBatch
        repeated = np.tile(x, [1, *map(int, multiples[1:])])
        return for_each_sample(context.batch_source(), repeated.shape[1:], repeated)
    return ops.tile(x, [int(m) for m in multiples])


@computes("TILE")
def tile_at_run_time(x, multiples):
    """As `tile`."""
    return tf.tile(x, multiples)


@emits("REVERSE_V2", static=["axis"])
def reverse(x, axis):
    """x backwards along the axes.

    Of several, v2.14.0 takes the first alone; v2.21.0 takes all, which then lie side by side (kernels/reverse.cc).
    """
    for a in np.ravel(axis):  # before Keras 3.13, TensorFlow's `flip` takes one axis alone
        x = ops.flip(x, int(a))
    return x


@computes("REVERSE_V2")
def reverse_at_run_time(x, axis):
    """As `reverse`."""
    return tf.reverse(x, tf.reshape(axis, (-1,)))


@computes("REVERSE_SEQUENCE")
def reverse_sequence(x, lengths, *, seq_dim, batch_dim):
    """Of each slice along batch_dim, the first lengths[i] elements along seq_dim backwards."""
    if x.shape.rank < 6:  # TensorFlow's kernel takes no more axes
        return tf.reverse_sequence(x, lengths, seq_axis=seq_dim, batch_axis=batch_dim)
    first = [batch_dim, seq_dim]
    axes = [*first, *(axis for axis in range(x.shape.rank) if axis not in first)]
    moved = tf.transpose(x, axes)
    extents = tf.shape(moved)
    rows = tf.reshape(moved, (extents[0], extents[1], tf.reduce_prod(extents[2:])))
    turned = tf.reverse_sequence(rows, lengths, seq_axis=1, batch_axis=0)
    return tf.transpose(tf.reshape(turned, extents), np.argsort(axes))
