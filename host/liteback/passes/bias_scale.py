"""Give a quantized bias the scale that its kernel uses, whatever the file says.

Given:    %y = CONV_2D(%x scale 0.5, %w scale 0.25, %b int32 without a scale)
Result:   %y = CONV_2D(%x scale 0.5, %w scale 0.25, %b int32 scale 0.125)

The kernel adds the bias' codes to the sum of products of codes, so their scale is the product of the others' scales.
The file's own is for other tools: it may be missing, and the runtime lets it deviate by 2 % of the output's scale
(GetQuantizedConvolutionMultipler, tensorflow/lite/kernels/kernel_util.cc, v2.14.0).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..ir import ABSENT, Graph, Node, Quantization, Tensor

# Where an operator keeps its activations, its filter and its bias.
POSITIONS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}


def bias_scale(graph: Graph) -> Graph:
    found: dict[int, list[Quantization]] = {}
    for node in graph.nodes:
        index, product = _product(node, graph.tensors)
        if product is not None:
            found.setdefault(index, []).append(product)
    tensors = list(graph.tensors)
    for index, products in found.items():
        # One constant for nodes of different scales would need a variable for each; leave it as the file has it.
        if all(np.array_equal(p.scale, products[0].scale) for p in products):
            tensors[index] = replace(tensors[index], quantization=products[0])
    return replace(graph, tensors=tuple(tensors))


def _product(node: Node, tensors: tuple[Tensor, ...]) -> tuple[int, Quantization | None]:
    """A node's bias, and the scale that its kernel gives it."""
    x, w, b = POSITIONS.get(node.op, (0, 0, len(node.inputs)))
    if b >= len(node.inputs) or node.inputs[b] == ABSENT:
        return ABSENT, None
    data, kernel, bias = (tensors[node.inputs[i]] for i in (x, w, b))
    if bias.data is None or bias.dtype not in ("int32", "int64") or len(bias.shape) != 1:
        return ABSENT, None
    if data.quantization is None or kernel.quantization is None or kernel.quantization.block_size:
        return ABSENT, None
    scale = data.quantization.scale[:1].astype(np.float64) * kernel.quantization.scale
    if scale.size not in (1, bias.shape[0]):
        return ABSENT, None
    return bias.index, Quantization(scale.astype(np.float32), np.zeros(scale.size, np.int64))
