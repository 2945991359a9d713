"""Pooling, padding and joining."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.kernels.common import Codes, product32, round_half_away, rounded_quotient, slide
from liteback.numerics.operator import Operator, exact


@exact("AVERAGE_POOL_2D")
def average_pool_2d(op: Operator, x: Codes) -> Any:
    """The mean of the codes under each window, halves away from zero; padded elements do not count.

    Source: AveragePool (tensorflow/lite/kernels/internal/reference/integer_ops/pooling.h, v2.14.0).
    """
    size, strides = _window(op)
    reach = max(map(abs, op.input(0).range)) * size[0] * size[1]
    dtype = tf.float32 if reach < 1 << 24 else tf.float64
    one = tf.ones((*size, 1, 1), dtype)

    def total(values: Any) -> Any:
        """Sums over windows of (N, H, W, C), one channel at a time."""
        n, h, w, c = tf.unstack(tf.shape(values))
        planes = tf.reshape(tf.transpose(values, (0, 3, 1, 2)), (n * c, h, w, 1))
        sums = slide(tf.nn.conv2d, planes, one, strides, op.options["padding"])
        sums = tf.reshape(sums, (n, c, tf.shape(sums)[1], tf.shape(sums)[2]))
        return tf.cast(tf.transpose(sums, (0, 2, 3, 1)), tf.int32)

    values = tf.cast(x, dtype)
    count = total(tf.ones_like(values[:1, :, :, :1]))
    low, high = op.clamp
    mean = rounded_quotient(total(values), count)
    mean.set_shape([x.shape[0], None, None, x.shape[-1]])
    return tf.cast(tf.clip_by_value(mean, low, high), op.out.dtype)


@exact("MAX_POOL_2D")
def max_pool_2d(op: Operator, x: Codes) -> Any:
    """The largest code under each window.

    Source: MaxPool (tensorflow/lite/kernels/internal/reference/integer_ops/pooling.h, v2.14.0).
    """
    size, strides = _window(op)
    low, high = op.clamp
    y = tf.nn.max_pool2d(tf.cast(x, tf.float32), size, strides, op.options["padding"])
    return tf.cast(tf.clip_by_value(y, float(low), float(high)), op.out.dtype)


def _window(op: Operator) -> tuple[tuple[int, int], tuple[int, int]]:
    o = op.options
    return (int(o["filter_height"]), int(o["filter_width"])), (int(o["stride_h"]), int(o["stride_w"]))


@exact("PAD", "PADV2")
def pad(op: Operator, x: Codes, paddings: Codes, value: Codes | None = None) -> Any:
    """The zero point around x, or the code that is given.

    Source: pad.cc (v2.14.0).
    """
    fill = tf.constant(op.out.zero_point, op.out.dtype) if value is None else tf.reshape(value, ())
    return tf.pad(x, paddings, constant_values=fill)


@exact("SPACE_TO_BATCH_ND")
def space_to_batch_nd(op: Operator, x: Codes, block_shape: Codes, paddings: Codes) -> Any:
    """Blocks of an image to the batch; what is padded is the zero point.

    Source: SpaceToBatchND (tensorflow/lite/kernels/internal/reference/space_to_batch_nd.h, v2.14.0).
    """
    zero = op.out.zero_point
    moved = tf.space_to_batch_nd(tf.cast(x, tf.int32) - zero, block_shape, paddings)
    return tf.cast(moved + zero, op.out.dtype)


@exact("CONCATENATION")
def concatenation(op: Operator, *values: Codes) -> Any:
    """Codes joined; uint8 inputs of another scale are brought to the result's in float32.

    Source: Concatenation, ConcatenationWithScaling (tensorflow/lite/kernels/internal/reference/concatenation.h,
    v2.14.0).
    """
    axis, parts = int(op.options["axis"]), []
    for position, codes in enumerate(values):
        source = op.input(position)
        if source.alike(op.out) or op.out.dtype != "uint8":
            parts.append(tf.convert_to_tensor(codes))
            continue
        inverse = np.float32(1) / op.out.scale
        factor = np.float32(source.scale * inverse)
        bias = np.float32(-source.zero_point) * factor
        scaled = round_half_away(product32(codes, factor) + bias)
        parts.append(tf.cast(tf.clip_by_value(scaled + op.out.zero_point, 0.0, 255.0), tf.uint8))
    return tf.concat(parts, axis)
