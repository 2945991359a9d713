"""Hybrid kernels: weights are codes, activations are float, and the kernel quantizes those at run time.

Files that were quantized for their "dynamic range" hold such operators. Each row of the activations that meets the
weights in one product gets a scale of its own, from the values it has just then. In `fakequant` a `DynamicQuant`
before the operator does the same; `float` leaves it out.

Source: tensorflow/lite/kernels/{fully_connected,conv,depthwise_conv,batch_matmul}.cc and
internal/reference/portable_tensor_utils.cc (v2.14.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from ..ir import ABSENT, Node, Tensor

# Where an operator that has a hybrid kernel keeps its weights.
_WEIGHTS = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "BATCH_MATMUL": 1}


def dynamic_quant(node: Node, tensors: Sequence[Tensor]) -> DynamicQuant | None:
    """The layer that quantizes a node's activations, where the node's kernel is hybrid."""
    position = _WEIGHTS.get(node.op)
    if position is None or ABSENT in node.inputs[: position + 1]:
        return None
    x, weights = tensors[node.inputs[0]], tensors[node.inputs[position]]
    if x.dtype != "float32" or not weights.is_quantized or weights.dtype not in ("int4", "int8", "uint8"):
        return None
    quantization = weights.quantization
    if quantization is None:
        return None
    asymmetric = bool(node.options.get("asymmetric_quantize_inputs", False))
    if node.op == "FULLY_CONNECTED":
        if weights.dtype == "int4":
            asymmetric = quantization.block_size > 0
        return DynamicQuant(asymmetric, row=weights.shape[1])
    if node.op == "BATCH_MATMUL":
        return DynamicQuant(asymmetric, axes=(-2,) if node.options.get("adj_x") else (-1,))
    # One scale for the whole image; a zero point as well, where each channel has a scale of its own.
    per_channel = bool(np.any(quantization.scale != quantization.scale[0]))
    return DynamicQuant(node.op == "DEPTHWISE_CONV_2D" or per_channel, axes=(1, 2, 3))


@keras.saving.register_keras_serializable(package="liteback")
class DynamicQuant(keras.layers.Layer):
    """Rounds each row of x to 8 bits at the scale of its own values; the gradient passes straight through.

    asymmetric: codes of [-128, 127] with a zero point, else of [-127, 127]. axes: the axes of a row. row: instead, how
    many consecutive elements are one row, whatever the shape of x.
    """

    def __init__(self, asymmetric: bool, axes: Sequence[int] = (-1,), row: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asymmetric, self.axes, self.row = bool(asymmetric), tuple(axes), row

    def call(self, x: Any) -> Any:
        rows = x if self.row is None else ops.reshape(x, (-1, self.row))
        real = quantize_rows(rows, self.asymmetric, self.axes)
        return real if self.row is None else ops.reshape(real, ops.shape(x))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "asymmetric": self.asymmetric, "axes": self.axes, "row": self.row}


def quantize_rows(x: Any, asymmetric: bool, axes: Sequence[int] = (-1,)) -> Any:
    """x as a hybrid kernel sees it: scale * (code - zero_point), the scale (and zero point) of each row its own.

    x: float32 tensor. axes: those of a row. The gradient is that of the identity.
    """
    real = _asymmetric(x, axes) if asymmetric else _symmetric(x, axes)
    return x + ops.stop_gradient(real - x)


def _symmetric(x: Any, axes: Sequence[int]) -> Any:
    """code = clip(round(x * 127 / max|x|), -127, 127) (PortableSymmetricQuantizeFloats)."""
    largest = ops.max(ops.abs(x), axis=axes, keepdims=True)
    safe = ops.where(largest == 0, ops.ones_like(largest), largest)
    codes = ops.clip(_round(x * (np.float32(127) / safe)), -127, 127)
    return codes * (safe / np.float32(127))


def _asymmetric(x: Any, axes: Sequence[int]) -> Any:
    """code = clip(round(zero_point + x / scale), -128, 127), scale = (max - min) / 255 of a range that includes 0.

    The scale is found in float64 and used in float32 (PortableAsymmetricQuantizeFloats).
    """
    low = ops.minimum(ops.cast(ops.min(x, axis=axes, keepdims=True), "float64"), 0.0)
    high = ops.maximum(ops.cast(ops.max(x, axis=axes, keepdims=True), "float64"), 0.0)
    span = ops.where(low == high, ops.ones_like(low), high - low)
    scale = span / 255.0
    # Of the two zero points, that of the end which is nearer to zero has the smaller error.
    from_low, from_high = -128.0 - low / scale, 127.0 - high / scale
    nearer = 128.0 + ops.abs(low / scale) < 127.0 + ops.abs(high / scale)
    zero_point = ops.cast(_round(ops.clip(ops.where(nearer, from_low, from_high), -128.0, 127.0)), "float32")
    scale = ops.cast(scale, "float32")
    codes = ops.clip(_round(zero_point + x * (np.float32(1) / scale)), -128, 127)
    return (codes - zero_point) * scale


def _round(x: Any) -> Any:
    """The nearest integer, halves away from zero."""
    return ops.sign(x) * ops.floor(ops.abs(x) + 0.5)
