"""Hybrid kernels: weights are codes, activations are float, and the kernel quantizes those at run time.

Files that were quantized for their "dynamic range" hold such operators. Each row of the activations that meets the
weights in one product gets a scale of its own, from the values it has just then. In `fakequant` a `DynamicQuant`
before the operator does the same; `float` leaves it out.

Source: tensorflow/lite/kernels/{fully_connected,conv,depthwise_conv,batch_matmul}.cc (v2.14.0), transpose_conv.cc
(v2.21.0; the runtime 2.14 refuses it). What a row is, and how its scale is found, differs between kernel sets:
numerics/kernels/{hybrid,xnnpack}.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from liteback.ir import ABSENT, Graph, Node
from liteback.numerics.kernels import hybrid, xnnpack
from liteback.numerics.operator import DATA, Operator
from liteback.numerics.profile import KernelProfile

# What has a hybrid kernel; its weights are the input 1.
_HYBRID = frozenset({"FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL", "TRANSPOSE_CONV"})


def dynamic_quant(node: Node, graph: Graph, profile: KernelProfile | None) -> DynamicQuant | None:
    """The layer that quantizes a node's activations as a kernel set does, where the node's kernel is hybrid."""
    data = DATA.get(node.op, 0)
    if node.op not in _HYBRID or ABSENT in (node.inputs[data], node.inputs[1]):
        return None
    x, weights = graph.tensors[node.inputs[data]], graph.tensors[node.inputs[1]]
    if x.dtype != "float32" or not weights.is_quantized or weights.dtype not in ("int8", "int4", "int2", "uint8"):
        return None
    quantization = weights.quantization
    if quantization is None:
        return None
    operator = Operator.of(node, graph)
    operator = operator.in_variant(profile.variant(operator.kind, node.index) if profile is not None else "")
    delegated = xnnpack.takes(operator)
    variant = operator.variant if delegated else hybrid.undelegated(operator).variant
    asymmetric = bool(node.options.get("asymmetric_quantize_inputs", False)) or delegated
    if node.op == "FULLY_CONNECTED":
        if hybrid.four_bit(operator) and not delegated:
            asymmetric = quantization.block_size > 0
        return DynamicQuant(asymmetric, row=weights.shape[1], variant=variant)
    if node.op == "BATCH_MATMUL":
        return DynamicQuant(asymmetric, (-2,) if node.options.get("adj_x") else (-1,), variant=variant)
    if delegated:
        return DynamicQuant(True, xnnpack.row_axes(operator), variant=variant)
    # One scale for the whole image; a zero point as well, where each channel has a scale of its own.
    per_channel = bool(np.any(quantization.scale != quantization.scale[0]))
    return DynamicQuant(node.op != "CONV_2D" or per_channel, axes=(1, 2, 3), variant=variant)


@keras.saving.register_keras_serializable(package="liteback")
class DynamicQuant(keras.layers.Layer):
    """Rounds each row of x to 8 bits at the scale of its own values; the gradient passes straight through.

    asymmetric: codes of [-128, 127] with a zero point, else of [-127, 127]. axes: the axes of a row. row: instead, how
    many consecutive elements are one row, whatever the shape of x. variant: that of the kernel set, as its profile
    names it; it decides how a scale is found.
    """

    def __init__(
        self, asymmetric: bool, axes: Sequence[int] = (-1,), row: int | None = None, variant: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.asymmetric, self.axes, self.row, self.variant = bool(asymmetric), tuple(axes), row, variant

    def call(self, x: Any) -> Any:
        rows = x if self.row is None else ops.reshape(x, (-1, self.row))
        real = quantize_rows(rows, self.asymmetric, self.axes, self.variant)
        return real if self.row is None else ops.reshape(real, ops.shape(x))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"asymmetric": self.asymmetric, "axes": self.axes, "row": self.row, "variant": self.variant}
        return {**super().get_config(), **own}


def quantize_rows(x: Any, asymmetric: bool, axes: Sequence[int] = (-1,), variant: str = "") -> Any:
    """x as a hybrid kernel sees it: scale * (code - zero_point), the scale (and zero point) of each row its own.

    x: float32 tensor. axes: those of a row. The gradient is that of the identity.
    """
    if variant == xnnpack.XNNPACK:
        steps, scale = xnnpack.quantize_rows(x, list(axes))
    else:
        codes, scale, zero = hybrid.quantize_rows(x, asymmetric, list(axes), variant)
        steps = codes - zero
    return x + tf.stop_gradient(steps * scale - x)
