"""A small int8 network whose ranges fit its values, straight from the schema.

x (1,12,12,4) -- CONV_2D 3x3 RELU --> (1,12,12,8) -- DEPTHWISE 3x3 --> (1,12,12,8) -- CONV_2D 1x1 --> (1,12,12,6)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

import tflite_build as build

CONV, DEPTHWISE, POINTWISE = "conv2d_000", "depthwise_conv2d_001", "conv2d_002"
X_SCALE = 1 / 32
SPREAD = 74  # standard deviation of codes that are spread evenly over int8


def network(seed: int = 0, scale_of_last: float = 1.0) -> bytes:
    """scale_of_last: how much of the last result's range its scale leaves."""
    rng = np.random.default_rng(seed)
    # Seven standard deviations of a result's sums fit into its range on each side; ReLU leaves one half of the sums.
    middle = 0.01 * SPREAD  # of the weights
    first = X_SCALE * SPREAD * 6 * middle
    second = first / 2 * 3 * middle
    third = second * np.sqrt(8) * middle
    tensors = [build.Tensor([1, 12, 12, 4], "int8", name="x", scale=X_SCALE, zero_point=0)]
    tensors += _layer(rng, [8, 3, 3, 4], 0, X_SCALE, 7 * first / 255, -128)
    tensors += _layer(rng, [1, 3, 3, 8], 3, 7 * first / 255, 14 * second / 255, 3)
    tensors += _layer(rng, [6, 1, 1, 8], 0, 14 * second / 255, scale_of_last * 14 * third / 255, -5)
    same = {"padding": schema.Padding.SAME, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    relu = schema.ActivationFunctionType.RELU
    ops = [
        build.Op("CONV_2D", [0, 1, 2], [3], schema.Conv2DOptionsT(**same, fusedActivationFunction=relu), version=3),
        build.Op(
            "DEPTHWISE_CONV_2D", [3, 4, 5], [6], schema.DepthwiseConv2DOptionsT(**same, depthMultiplier=1), version=3
        ),
        build.Op("CONV_2D", [6, 7, 8], [9], schema.Conv2DOptionsT(**same), version=3),
    ]
    return build.build_model(build.Subgraph(tensors, ops, [0], [9]))


def _layer(
    rng: np.random.Generator, shape: Sequence[int], axis: int, x_scale: float, scale: float, zero_point: int
) -> list[build.Tensor]:
    """Weights, bias and result of a layer. axis: that of the output channels."""
    channels = shape[axis]
    scales = rng.uniform(0.008, 0.012, channels).astype(np.float32)
    weights = rng.integers(-127, 128, shape).astype(np.int8)
    bias = rng.integers(-500, 500, channels).astype(np.int32)
    return [
        build.Tensor(shape, "int8", weights, scale=scales.tolist(), zero_point=[0] * channels, axis=axis),
        build.Tensor([channels], "int32", bias, scale=(x_scale * scales).tolist(), zero_point=[0] * channels),
        build.Tensor([1, 12, 12, channels], "int8", scale=scale, zero_point=zero_point),
    ]
