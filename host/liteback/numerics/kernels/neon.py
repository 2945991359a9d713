"""Where the kernels of tflite-runtime 2.14 on aarch64 compute otherwise than the reference's.

A vector instruction (VRSHL) rounds halves up. What does not fill a vector is computed one element after the other, as
the reference kernel does it, and a matrix product is gemmlowp's: halves away from zero. So it depends on shapes, those
of the file, how a kernel rounds. Its compiler also fuses a product and a sum of real values into one rounding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.emit.window import same_padding
from liteback.numerics.fixed_point import DOUBLE, HALF_UP, SINGLE
from liteback.numerics.operator import Operator

NEON = "neon"


def product_rounding(rows: int, depth: int, columns: int) -> str:
    """Of rows x depth times depth x columns: a product with one vector has a kernel of its own.

    Source: Gemm (tensorflow/lite/kernels/cpu_backend_gemm.h), CustomGemvImpl (cpu_backend_gemm_custom_gemv.h)
    (v2.14.0).
    """
    return HALF_UP if columns == 1 and rows >= 4 and depth >= 8 else DOUBLE


def batch_product_rounding(op: Operator) -> str:
    """Of BATCH_MATMUL: ruy's single rounding where the second matrix is not transposed, and so stored row by row.

    Source: Gemm (tensorflow/lite/kernels/cpu_backend_gemm.h, v2.14.0); google/ruy ruy/kernel_arm64.cc.
    """
    if not op.options["adj_y"]:
        return SINGLE
    depth, columns = op.input(0).shape[-2:] if op.options["adj_x"] else op.input(0).shape[:-3:-1]
    return product_rounding(op.input(1).shape[-2], depth, columns)


def full_channels(channels: int, lanes: int) -> Any:
    """Which channels, counted from the first, fill vectors: (C,) booleans."""
    return np.arange(channels) < channels // lanes * lanes


def full_elements(op: Operator, x: Any, lanes: int) -> Any:
    """Which elements of x, one after the other in a batch of the file's size, fill vectors."""
    count = tf.size(x)
    batch = count // tf.shape(x)[0] * op.out.shape[0] if len(x.shape) else count
    return tf.reshape(tf.range(count) % batch < batch // lanes * lanes, tf.shape(x))


def has_3x3_kernel(op: Operator) -> bool:
    """Whether a DEPTHWISE_CONV_2D runs in the kernel for 3x3 filters.

    Source: Fast3x3FilterKernelSupported
    (tensorflow/lite/kernels/internal/optimized/depthwiseconv_3x3_filter_common.h, v2.14.0).
    """
    extents, weights, o = op.input(0).shape[1:3], op.input(1), op.options
    strides = (o["stride_h"], o["stride_w"])
    pads = same_padding(extents, (3, 3), strides) if o["padding"] == "SAME" else [(0, 0), (0, 0)]
    return (
        weights.shape[1:3] == (3, 3)
        and weights.shape[3] == op.input(0).shape[3]
        and weights.shape[3] % 8 == 0
        and strides in ((1, 1), (2, 2))
        and (o["dilation_h_factor"], o["dilation_w_factor"]) == (1, 1)
        and pads in ([(0, 0), (0, 0)], [(1, 1), (1, 1)])
        and (1 in extents) == (extents == (1, 1))
    )
