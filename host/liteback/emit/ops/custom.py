"""Custom operators of MediaPipe (mediapipe/util/tflite/operations, v0.10)."""

import numpy as np
import tensorflow as tf

from liteback.emit.ops.conv import transpose_conv, transpose_conv_kernel
from liteback.emit.registry import computes, emits
from liteback.emit.window import same_padding


@emits("CUSTOM:Convolution2DTransposeBias", weights=["w", "b"])
def convolution_2d_transpose_bias(x, w, b, *, padding, stride_w, stride_h, out):
    """TRANSPOSE_CONV that finds its own output_shape. x (N,H,W,I), w (O,kh,kw,I), b (O,) -> (N,H',W',O)."""
    if None in x.shape[1:3]:
        return NotImplemented
    extents = _grown(x.shape[1:3], w.shape[1:3], (stride_h, stride_w), padding)
    shape = np.array([0, *extents, w.shape[0]])
    return transpose_conv(shape, w, x, b, padding=padding, stride_h=stride_h, stride_w=stride_w, out=out)


@computes("CUSTOM:Convolution2DTransposeBias", weights=["w", "b"])
def convolution_2d_transpose_bias_kernel(x, w, b, *, padding, stride_w, stride_h):
    """The same with extents that are known at run time only."""
    n = tf.unstack(tf.shape(x))
    extents = _grown(n[1:3], w.shape[1:3], (stride_h, stride_w), padding)
    shape = tf.stack([n[0], *extents, w.shape[0]])
    return transpose_conv_kernel(shape, w, x, b, padding=padding, stride_h=stride_h, stride_w=stride_w)


def _grown(extents, size, strides, padding):
    """(n - 1) * s + k, less max(0, k - (n - 1) mod s - 1) where padding is SAME."""
    grown = []
    for n, k, s in zip(extents, size, strides, strict=True):
        less = k - (n - 1) % s - 1 if padding == "SAME" else 0
        less = max(less, 0) if isinstance(less, int) else tf.maximum(less, 0)
        grown.append((n - 1) * s + k - less)
    return grown


@computes("CUSTOM:MaxPoolingWithArgmax2D")
def max_pooling_with_argmax_2d(x, *, padding, stride_w, stride_h, filter_width, filter_height, activation):
    """x (N,H,W,C) -> the largest of each window, and its place in the window: row * filter_width + column + 0.1."""
    if activation:
        raise NotImplementedError("it has a fused activation")
    size, strides = (filter_height, filter_width), (stride_h, stride_w)
    if padding == "SAME":
        pads = same_padding(tf.unstack(tf.shape(x))[1:3], size, strides)
        x = tf.pad(x, [(0, 0), *pads, (0, 0)], constant_values=x.dtype.min)
    rows = (tf.shape(x)[1] - filter_height) // stride_h * stride_h + 1
    columns = (tf.shape(x)[2] - filter_width) // stride_w * stride_w + 1
    places = tf.stack(
        [
            x[:, i : i + rows : stride_h, j : j + columns : stride_w]
            for i in range(filter_height)
            for j in range(filter_width)
        ]
    )
    place = tf.argmax(places, axis=0, output_type=tf.int32)
    return tf.reduce_max(places, axis=0), tf.cast(place, tf.float32) + 0.1


@computes("CUSTOM:MaxUnpooling2D")
def max_unpooling_2d(x, places, *, padding, stride_w, stride_h, filter_width, filter_height, activation):
    """x (N,H,W,C) -> (N, H*filter_height, W*filter_width, C): each element at its place in its window, else zeros."""
    if activation or not places.dtype.is_floating:
        raise NotImplementedError("it has a fused activation, or places that are no floats")
    n, height, width, channels = tf.unstack(tf.shape(x))
    place = tf.cast(places, tf.int32)
    batch, row, column, channel = tf.meshgrid(*map(tf.range, (n, height, width, channels)), indexing="ij")
    before = [
        tf.maximum((extent - 1) * s + k - extent * k, 0) // 2
        for extent, k, s in ((height, filter_height, stride_h), (width, filter_width, stride_w))
    ]
    row = row * stride_h - before[0] + place // filter_width
    column = column * stride_w - before[1] + place % filter_width
    empty = tf.zeros((n, height * filter_height, width * filter_width, channels), x.dtype)
    return tf.tensor_scatter_nd_update(empty, tf.stack([batch, row, column, channel], -1), x)
