"""Reductions over axes, running sums, and which element is the largest."""

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.ops.common import axes_of, dtype_of, ranked, real_of, truncated_divide
from liteback.emit.registry import Layer, computes, emits


def _reduction(fn):
    def emitter(x, axis, *, keep_dims):
        """x without the axes in `axis`, or with extent 1 there; the type stays."""
        axes = axes_of(axis, len(x.shape))
        if not axes:
            return x
        y = fn(x, axis=axes, keepdims=bool(keep_dims))
        return y if dtype_of(y) == dtype_of(x) else ops.cast(y, dtype_of(x))

    return emitter


def _reduction_kernel(fn):
    def kernel(x, axis, *, keep_dims, out):
        """The same over axes that are computed."""
        x = tf.convert_to_tensor(x)
        return _ranked(fn(x, _once(axis, x), keepdims=bool(keep_dims)), x, axis, out)

    return kernel


def _once(axis, x):
    """Computed axes, from 0 on, each once: TensorFlow refuses one that is named twice."""
    return tf.unique(tf.reshape(axis, (-1,)) % max(x.shape.rank, 1))[0] if x.shape.rank else axis


def _ranked(y, x, axis, out):
    """The rank of a result whose axes are not known before it runs; where the file does not know it, all differ."""
    return y if None in axis.shape else ranked(y, max(x.shape.rank - axis.shape.num_elements(), len(out.shape)))


def _extreme(fn, limit):
    def reduction(x, axis, keepdims):
        """Of nothing, the kernel gives the type's own limit (reduce.cc, v2.14.0)."""
        maybe_empty = any(not x.shape[a] for a in axis) or 0 in x.shape  # Keras refuses the latter too
        return fn(x, axis=axis, keepdims=keepdims, initial=_limit(dtype_of(x), limit) if maybe_empty else None)

    return reduction


def _limit(dtype, limit):
    """A plain number: a saved model cannot hold numpy's."""
    if "float" in dtype:
        return float(getattr(np.finfo(dtype), limit))
    return int(getattr(np.iinfo(dtype), limit))


def _extreme_kernel(reduce, combine, limit):
    def reduction(x, axis, keepdims):
        return combine(reduce(x, axis, keepdims), tf.constant(_limit(x.dtype.name, limit), x.dtype))

    return reduction


for _op, _fn, _kernel in (
    ("SUM", ops.sum, tf.reduce_sum),
    ("REDUCE_ALL", ops.all, tf.reduce_all),
    ("REDUCE_ANY", ops.any, tf.reduce_any),
    ("REDUCE_MAX", _extreme(ops.max, "min"), _extreme_kernel(tf.reduce_max, tf.maximum, "min")),
    ("REDUCE_MIN", _extreme(ops.min, "max"), _extreme_kernel(tf.reduce_min, tf.minimum, "max")),
    ("REDUCE_PROD", ops.prod, tf.reduce_prod),
):
    emits(_op, static=["axis"])(_reduction(_fn))
    computes(_op)(_reduction_kernel(_kernel))


@emits("MEAN", static=["axis"])
def mean(x, axis, *, keep_dims, context, out):
    """The mean over `axis`; of integers rounded towards zero, of no codes code 0 (reduce.cc, v2.14.0)."""
    axes, keepdims = axes_of(axis, len(x.shape)), bool(keep_dims)
    if not axes:
        return x
    if context.numerics == "fakequant" and out.is_quantized and 0 in (x.shape[a] for a in axes):
        return real_of(ops.sum(x, axis=axes, keepdims=keepdims), out)
    if "int" in dtype_of(x):
        total = ops.sum(ops.cast(x, "int64"), axis=axes, keepdims=keepdims)
        if 0 in (x.shape[a] for a in axes):
            return ops.cast(total, dtype_of(x))  # of nothing it is 0
        count = ops.sum(ops.ones_like(x, "int64"), axis=axes, keepdims=keepdims)
        return ops.cast(truncated_divide(total, count), dtype_of(x))
    pooling = {(4, 1, 2): layers.GlobalAveragePooling2D, (3, 1): layers.GlobalAveragePooling1D}
    cls = pooling.get((len(x.shape), *axes))
    return Layer(cls, x, config={"keepdims": keepdims}) if cls else ops.mean(x, axis=axes, keepdims=keepdims)


@computes("MEAN")
def mean_kernel(x, axis, *, keep_dims, out):
    """The same over axes that are computed."""
    x = tf.convert_to_tensor(x)
    axes, keepdims = _once(axis, x), bool(keep_dims)
    if not x.dtype.is_integer:
        return _ranked(tf.reduce_mean(x, axes, keepdims), x, axis, out)
    total, count = (tf.reduce_sum(tf.cast(v, tf.int64), axes, keepdims) for v in (x, tf.ones_like(x)))
    return _ranked(tf.cast(tf.truncatediv(total, tf.maximum(count, 1)), x.dtype), x, axis, out)


@emits("CUMSUM", static=["axis"])
def cumsum(x, axis, *, exclusive, reverse):
    """Running sums along an axis; exclusive: without the element itself; reverse: from the end."""
    axis = int(np.ravel(axis)[0]) % len(x.shape)
    y = ops.flip(x, axis) if reverse else x
    if exclusive:
        size = x.shape[axis]
        if not size:
            return NotImplemented
        widths = [(int(i == axis), 0) for i in range(len(x.shape))]
        y = ops.take(ops.pad(y, widths), np.arange(size), axis=axis)
    y = ops.cumsum(y, axis=axis)
    return ops.flip(y, axis) if reverse else y


@computes("CUMSUM")
def cumsum_kernel(x, axis, *, exclusive, reverse):
    """The same along an axis that is computed or of an unknown extent."""
    return tf.cumsum(x, tf.reshape(axis, ()), exclusive=bool(exclusive), reverse=bool(reverse))


def _arg(fn):
    def emitter(x, axis, *, out):
        """Where along `axis` the first largest (smallest) element stands."""
        x = ops.cast(x, "int32") if dtype_of(x) == "bool" else x
        return ops.cast(fn(x, axis=int(np.ravel(axis)[0])), out.dtype)

    return emitter


def _arg_kernel(fn):
    def kernel(x, axis, *, out):
        """The same along an axis that is computed."""
        x = tf.cast(x, tf.int32) if x.dtype == tf.bool else x
        return fn(x, tf.reshape(axis, ()), output_type=out.dtype)

    return kernel


for _op, _fn, _kernel in (("ARG_MAX", ops.argmax, tf.argmax), ("ARG_MIN", ops.argmin, tf.argmin)):
    emits(_op, static=["axis"])(_arg(_fn))
    computes(_op)(_arg_kernel(_kernel))


@emits("TOPK_V2", static=["k"])
def top_k(x, k, *, out):
    """The k largest of the last axis, in falling order, and where they stand."""
    values, indices = ops.top_k(x, int(np.ravel(k)[0]))
    return [values, indices if out[1].dtype == "int32" else ops.cast(indices, out[1].dtype)]


@computes("TOPK_V2")
def top_k_kernel(x, k, *, out):
    """The same where k is computed."""
    values, indices = tf.math.top_k(x, tf.cast(tf.reshape(k, ()), tf.int32))
    return [values, tf.cast(indices, out[1].dtype)]
