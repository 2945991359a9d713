"""Other shapes for the same values."""

import math

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.batch import BATCH, for_each_sample, leads, without_batch
from liteback.emit.ops.common import ranked
from liteback.emit.registry import Layer, computes, emits


@emits("SHAPE")
def shape(x, *, out):
    """The extents of x, where they are known."""
    if any(d is None for d in x.shape[1:]):
        return NotImplemented
    if None in x.shape:
        return np.array([BATCH, *x.shape[1:]], np.int64)  # products with it are beyond int32
    return np.array(x.shape, out.dtype)


@computes("SHAPE")
def shape_of(x, *, out):
    """The extents of x at run time."""
    return tf.shape(x, out_type=out.dtype)


@emits("RANK")
def rank(x, *, out):
    """The number of x's axes, which Keras always knows."""
    return np.array(len(x.shape), out.dtype)


@emits("RESHAPE", static=["shape"])
def reshape(x, shape=None, *, new_shape, out, context):
    """The same elements in another shape; one extent may be -1."""
    target = without_batch(_target(shape, new_shape, out), _product(x.shape[1:]))
    # A file that says which axes vary is believed: [1, -1] may well join the batch to the rest. So may [1, 8] join
    # steps of which a loop does not tell how many they are.
    source = context.sources[0]
    varies = any(-1 in t.shape_signature for t in (source, out))
    batch_first = out.shape_signature[:1] == (-1,) if varies else source.shape[:1] == out.shape[:1]
    return _reshape(x, target) if batch_first else ops.reshape(x, target)


def _product(extents):
    """How many elements a shape has; None where an extent is not known."""
    return None if None in extents else math.prod(extents)


@computes("RESHAPE")
def reshape_at_run_time(x, shape=None, *, new_shape, out):
    """As `reshape`, to a shape that is computed."""
    return tf.reshape(x, _target(shape, new_shape, out))


def _target(shape, new_shape, out):
    """The shape asked for: a vector as input, else the option; [0] as option is how old files write a scalar."""
    if shape is not None and len(shape.shape) == 1:
        return shape
    if tuple(new_shape) == (0,) and 0 not in out.shape:
        return np.zeros(0, np.int32)
    return np.array(new_shape or out.shape, np.int32)


def _reshape(x, target):
    """A Reshape layer where the first axis is a free batch that stays what it is, else a plain reshape."""
    free = bool(x.shape and target) and x.shape[0] is None
    # [-1, 8] leaves open whether the batch stays; a layer would not.
    stays = free and (target[0] == 1 or (target[0] == -1 and _product(x.shape[1:]) == math.prod(target[1:])))
    return Layer(layers.Reshape, x, config={"target_shape": tuple(target[1:])}) if stays else ops.reshape(x, target)


def _with_extents(x, extents):
    """x, of which only axes of extent 1 come or go. extents: with None for those that may vary."""
    unknown = [i for i, d in enumerate(extents) if d is None]
    if unknown and (unknown != [0] or x.shape[0] is not None):
        return NotImplemented
    return _reshape(x, [-1 if d is None else int(d) for d in extents])


@emits("SQUEEZE")
def squeeze(x, *, squeeze_dims, out):
    """Drop the axes of extent 1 named in squeeze_dims, or all of them."""
    rank = len(x.shape)
    axes = {a % rank for a in squeeze_dims} if squeeze_dims else {i for i, d in enumerate(x.shape) if d == 1}
    kept = [d for i, d in enumerate(x.shape) if i not in axes]
    if len(kept) != len(out.shape):
        return NotImplemented  # which axes have extent 1 shows at run time
    result = _with_extents(x, kept)
    return ops.squeeze(x, tuple(sorted(axes))) if result is NotImplemented and axes else result


@computes("SQUEEZE")
def squeeze_at_run_time(x, *, squeeze_dims):
    """As `squeeze`."""
    return tf.squeeze(x, list(squeeze_dims or ()))


@emits("EXPAND_DIMS", static=["axis"])
def expand_dims(x, axis):
    """Insert an axis of extent 1."""
    where = int(np.ravel(axis)[0]) % (len(x.shape) + 1)
    result = _with_extents(x, [*x.shape[:where], 1, *x.shape[where:]])
    return ops.expand_dims(x, where) if result is NotImplemented else result


@computes("EXPAND_DIMS")
def expand_dims_at_run_time(x, axis):
    """As `expand_dims`."""
    return ranked(tf.expand_dims(x, tf.reshape(axis, ())), len(x.shape) + 1)


@emits("TRANSPOSE", static=["perm"])
def transpose(x, perm):
    """Axis i of the result is axis perm[i] of x."""
    order = [int(p) % len(x.shape) for p in np.ravel(perm)]
    if order and order[0] == 0 and len(order) > 1:
        return Layer(layers.Permute, x, config={"dims": tuple(order[1:])})
    return ops.transpose(x, order)


@computes("TRANSPOSE")
def transpose_at_run_time(x, perm):
    """As `transpose`."""
    rank = len(x.shape)
    return tf.transpose(x, tf.math.floormod(perm, tf.cast(rank, perm.dtype)) if rank else None)


@emits("BROADCAST_TO", static=["shape"])
def broadcast_to(x, shape, *, context):
    """x repeated along its axes of extent 1 and along new leading axes."""
    if leads(shape):
        return for_each_sample(context.batch_source(), [int(d) for d in shape[1:]], x)
    return ops.broadcast_to(x, [int(d) for d in shape])


@computes("BROADCAST_TO")
def broadcast_to_at_run_time(x, shape):
    """As `broadcast_to`."""
    return tf.broadcast_to(x, shape)


@computes("BROADCAST_ARGS")
def broadcast_args(s0, s1):
    """The shape that two shapes broadcast to."""
    return tf.raw_ops.BroadcastArgs(s0=s0, s1=s1)
