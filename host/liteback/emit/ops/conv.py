"""Convolutions.

The schema keeps filters as (O, kh, kw, I), Keras as (kh, kw, I, O).
"""

import math

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.names import is_symbolic
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.weight import Weight
from liteback.emit.window import crop, explicit, same_padding


@emits("CONV_2D", weights=["w", "b"])
def conv_2d(x, w, b=None, *, padding, stride_h, stride_w, dilation_h_factor, dilation_w_factor):
    """x (N,H,W,C), w (O,kh,kw,C/groups), b (O,) -> (N,H',W',O)."""
    strides, dilation = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    if not isinstance(w, Weight):
        return _with_computed_filter(x, w, b, strides, dilation, padding)
    filters, *size, depth = w.shape
    config = {"filters": filters, "groups": x.shape[-1] // depth, "use_bias": b is not None}
    return _convolution(layers.Conv2D, x, [w.transpose(1, 2, 3, 0), b], config, size, strides, dilation, padding)


def _with_computed_filter(x, w, b, strides, dilation, padding):
    """CONV_2D by keras.ops, which has no stride together with dilation; a bias that trains is left to our layer."""
    if not is_symbolic(w) or isinstance(b, Weight) or x.shape[-1] != w.shape[-1]:
        return NotImplemented
    if None in x.shape[1:] or (max(strides) > 1 and max(dilation) > 1):
        return NotImplemented
    y = ops.conv(x, ops.transpose(w, (1, 2, 3, 0)), strides, padding.lower(), "channels_last", dilation)
    return y if b is None else ops.add(y, b)


@emits("DEPTHWISE_CONV_2D", weights=["w", "b"])
def depthwise_conv_2d(
    x, w, b=None, *, padding, stride_h, stride_w, depth_multiplier, dilation_h_factor, dilation_w_factor
):
    """x (N,H,W,C), w (1,kh,kw,C*M), b (C*M,) -> (N,H',W',C*M)."""
    if not isinstance(w, Weight):
        return NotImplemented
    _, *size, outputs = w.shape
    channels = x.shape[-1]
    # The file may leave depth_multiplier at 0; the filter's shape says it.
    config = {"depth_multiplier": outputs // channels, "use_bias": b is not None}
    weights = [w.reshape(*size, channels, outputs // channels), b]
    dilation = (dilation_h_factor, dilation_w_factor)
    return _convolution(layers.DepthwiseConv2D, x, weights, config, size, (stride_h, stride_w), dilation, padding)


@emits("CONV_3D", weights=["w", "b"])
def conv_3d(
    x, w, b=None, *, padding, stride_d, stride_h, stride_w, dilation_d_factor, dilation_h_factor, dilation_w_factor
):
    """x (N,D,H,W,C), w (kd,kh,kw,C/groups,O), b (O,) -> (N,D',H',W',O)."""
    if not isinstance(w, Weight):
        return NotImplemented
    *size, depth, filters = w.shape
    config = {"filters": filters, "groups": x.shape[-1] // depth, "use_bias": b is not None}
    strides, dilation = (stride_d, stride_h, stride_w), (dilation_d_factor, dilation_h_factor, dilation_w_factor)
    return _convolution(layers.Conv3D, x, [w, b], config, size, strides, dilation, padding)


def _convolution(cls, x, weights, config, size, strides, dilation, padding):
    """A stock layer. Where Keras cannot stride so, it strides less, and every k-th element of its result is taken."""
    steps, every = _strides(cls, strides, dilation, x.shape[-1])
    if any(k > 1 for k in every) and padding == "SAME":
        x = explicit(x, same_padding(x.shape[1:-1], size, strides, dilation))
        if x is NotImplemented:
            return NotImplemented
        padding = "VALID"
    if set(size) == {1}:
        # The same result, and not what oneDNN takes for a convolution to merge a PAD with: it does so where the PAD is
        # not its input, but added to its result, and then crashes (GetPadOrFusedConv2D in
        # tensorflow/core/graph/mkl_layout_pass.cc, 2.21).
        padding = "SAME"
    config = {
        **config,
        "kernel_size": tuple(size),
        "strides": steps,
        "padding": padding.lower(),
        "dilation_rate": dilation,
    }
    pick = (slice(None), *(slice(None, None, k) for k in every))
    return Layer(cls, x, weights, config, then=(lambda y: y[pick]) if any(k > 1 for k in every) else None)


def _strides(cls, strides, dilation, channels):
    """The strides that the layer itself may have, and what is left of them."""
    if any(d > 1 for d in dilation):
        steps = (1,) * len(strides)  # Keras has no stride together with dilation
    elif cls is layers.DepthwiseConv2D or (cls is layers.Conv3D and channels == 1):
        # TensorFlow's depthwise kernel has equal strides only; with unequal ones its Conv3D (oneDNN, in 2.21) computes
        # something else where there is but one channel.
        steps = (math.gcd(*strides),) * len(strides)
    else:
        steps = strides
    return steps, tuple(s // t for s, t in zip(strides, steps, strict=True))


@computes("CONV_2D", weights=["w", "b"])
def conv_2d_kernel(x, w, b=None, *, padding, stride_h, stride_w, dilation_h_factor, dilation_w_factor):
    """The same with a filter that is computed at run time, or a height and width that only then are known."""
    w = tf.transpose(w, (1, 2, 3, 0))
    return _bias(_window_sum(ops.conv, x, w, (stride_h, stride_w), (dilation_h_factor, dilation_w_factor), padding), b)


@computes("DEPTHWISE_CONV_2D", weights=["w", "b"])
def depthwise_conv_2d_kernel(
    x, w, b=None, *, padding, stride_h, stride_w, depth_multiplier, dilation_h_factor, dilation_w_factor
):
    """The same with a filter that is computed at run time, or a height and width that only then are known."""
    channels = x.shape[-1]
    w = tf.reshape(w, (*w.shape[1:3], channels, w.shape[-1] // channels))
    strides, dilation = (stride_h, stride_w), (dilation_h_factor, dilation_w_factor)
    return _bias(_window_sum(ops.depthwise_conv, x, w, strides, dilation, padding), b)


@computes("CONV_3D", weights=["w", "b"])
def conv_3d_kernel(
    x, w, b=None, *, padding, stride_d, stride_h, stride_w, dilation_d_factor, dilation_h_factor, dilation_w_factor
):
    """The same with a filter that is computed at run time, or extents that only then are known."""
    strides, dilation = (stride_d, stride_h, stride_w), (dilation_d_factor, dilation_h_factor, dilation_w_factor)
    return _bias(_window_sum(ops.conv, x, w, strides, dilation, padding), b)


def _window_sum(fn, x, w, strides, dilation, padding):
    """A convolution of any strides and dilation: that of stride 1, of which every k-th element is taken."""
    if padding == "SAME":
        pads = same_padding(tf.unstack(tf.shape(x))[1:-1], w.shape[: len(strides)], strides, dilation)
        x = tf.pad(x, [(0, 0), *pads, (0, 0)])
    y = fn(x, w, strides=1, padding="valid", dilation_rate=dilation)
    return y[(slice(None), *(slice(None, None, s) for s in strides))]


def _bias(y, b):
    return y if b is None else y + b


@emits("TRANSPOSE_CONV", weights=["w", "b"])
def transpose_conv(output_shape, w, x, b=None, *, padding, stride_h, stride_w, out):
    """output_shape (4,), w (O,kh,kw,I), x (N,H,W,I), b (O,) -> (N,H',W',O)."""
    if not isinstance(w, Weight) or not isinstance(output_shape, np.ndarray):
        return NotImplemented
    weights = [w.transpose(1, 2, 0, 3), b]
    return _transposed(layers.Conv2DTranspose, output_shape[1:3], weights, x, (stride_h, stride_w), padding)


@emits("CONV_3D_TRANSPOSE", weights=["w", "b"])
def conv_3d_transpose(
    output_shape,
    w,
    x,
    b=None,
    *,
    padding,
    stride_d,
    stride_h,
    stride_w,
    dilation_d_factor,
    dilation_h_factor,
    dilation_w_factor,
):
    """output_shape (5,), w (kd,kh,kw,O,I), x (N,D,H,W,I), b (O,) -> (N,D',H',W',O)."""
    dilated = (dilation_d_factor, dilation_h_factor, dilation_w_factor) != (1, 1, 1)
    if dilated or not isinstance(w, Weight) or not isinstance(output_shape, np.ndarray):
        return NotImplemented
    return _transposed(layers.Conv3DTranspose, output_shape[1:4], [w, b], x, (stride_d, stride_h, stride_w), padding)


def _transposed(cls, extents, weights, x, strides, padding):
    """The stock layer, where it has a setting for which it gives the extents that the file wants."""
    *size, filters, _ = weights[0].shape
    config = {
        "filters": filters,
        "kernel_size": tuple(size),
        "strides": strides,
        "padding": padding.lower(),
        "use_bias": weights[1] is not None,
    }
    # Keras' own formula, of which `output_padding` is the free term (Conv2DTranspose).
    around = [0 if padding == "VALID" else k // 2 for k in size]
    dims = list(zip(extents, x.shape[1:-1], size, strides, around, strict=True))
    if any(n is None for _, n, *_ in dims):
        return NotImplemented
    extra = tuple(int(e) - ((n - 1) * s + k - 2 * p) for e, n, k, s, p in dims)
    plain_extents = [n * s if padding == "SAME" else (n - 1) * s + max(k, s) for _, n, k, s, _ in dims]
    if list(extents) != plain_extents:
        if not all(0 <= e < s for e, s in zip(extra, strides, strict=True)):
            return NotImplemented
        config["output_padding"] = extra
    return Layer(cls, x, weights, config)


@computes("TRANSPOSE_CONV", weights=["w", "b"])
def transpose_conv_kernel(output_shape, w, x, b=None, *, padding, stride_h, stride_w):
    """The same for any output_shape, also one that is computed at run time."""
    w = tf.transpose(w, (1, 2, 0, 3))
    return _bias(_scatter(x, w, _extents(output_shape, 2), (stride_h, stride_w), padding), b)


@computes("CONV_3D_TRANSPOSE", weights=["w", "b"])
def conv_3d_transpose_kernel(
    output_shape,
    w,
    x,
    b=None,
    *,
    padding,
    stride_d,
    stride_h,
    stride_w,
    dilation_d_factor,
    dilation_h_factor,
    dilation_w_factor,
):
    """The same for any output_shape and dilation."""
    w = _dilate(w, (dilation_d_factor, dilation_h_factor, dilation_w_factor))
    return _bias(_scatter(x, w, _extents(output_shape, 3), (stride_d, stride_h, stride_w), padding), b)


def _extents(output_shape, count):
    shape = tf.cast(output_shape, tf.int32)
    return [shape[i] for i in range(1, 1 + count)]


def _scatter(x, w, extents, strides, padding):
    """Every element of x, times the filter, added up where it falls; what falls outside of the extents is lost."""
    *size, filters, _ = w.shape
    n = tf.unstack(tf.shape(x))
    whole = [(n[1 + i] - 1) * s + k for i, (s, k) in enumerate(zip(strides, size, strict=True))]
    y = tf.nn.conv_transpose(x, w, [n[0], *whole, filters], strides, padding="VALID")
    pads = same_padding(extents, size, strides) if padding == "SAME" else [(0, 0)] * len(size)
    return crop(y, [before for before, _ in pads], extents)


def _dilate(w, rates):
    """The filter with rate - 1 zeros between its taps."""
    for axis, rate in enumerate(rates):
        if rate > 1:
            w = tf.stack([w, *[tf.zeros_like(w)] * (rate - 1)], axis + 1)
            shape = [*w.shape[:axis], w.shape[axis] * rate, *w.shape[axis + 2 :]]
            w = tf.reshape(w, shape)[(*[slice(None)] * axis, slice(None, 1 - rate))]
    return w
