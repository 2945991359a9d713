"""Give a quantized bias the scale that its kernel uses, whatever the file says.

Given:    %y = CONV_2D(%x scale 0.5, %w scale 0.25, %b int32 without a scale)
Result:   %y = CONV_2D(%x scale 0.5, %w scale 0.25, %b int32 scale 0.125)

The kernel adds the bias' codes to the sum of products of codes, so their scale is the product of the others' scales.
The file's own is for other tools: it may be missing, and the runtime lets it deviate by 2 % of the output's scale
(GetQuantizedConvolutionMultipler, tensorflow/lite/kernels/kernel_util.cc, v2.14.0).

Where kernels of different scales share a bias, as those of a layer that an int16x8 file applies several times, each is
another number to them, and gets a tensor of its own that the file has once.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from liteback.ir import ABSENT, Graph, Node, Quantization, Tensor

# Where an operator keeps its activations, its filter and its bias.
POSITIONS = {
    "CONV_2D": (0, 1, 2),
    "DEPTHWISE_CONV_2D": (0, 1, 2),
    "FULLY_CONNECTED": (0, 1, 2),
    "TRANSPOSE_CONV": (2, 1, 3),
}


def bias_scale(graph: Graph) -> Graph:
    tensors, nodes = list(graph.tensors), list[Node]()
    found: dict[int, list[Tensor]] = {}  # a bias -> one for each scale
    for node in graph.nodes:
        index, product = _product(node, graph.tensors)
        nodes.append(node)
        if product is None:
            continue
        known = found.setdefault(index, [])
        own = next((t for t in known if _has_scale(t, product)), None)
        if own is None:
            own = replace(tensors[index], quantization=product)
            if known:
                own = replace(own, index=len(tensors), home=graph.home(index))
                tensors.append(own)
            tensors[own.index] = own
            known.append(own)
        inputs = (own.index if position == POSITIONS[node.op][2] else t for position, t in enumerate(node.inputs))
        nodes[-1] = replace(node, inputs=tuple(inputs))
    return replace(graph, tensors=tuple(tensors), nodes=tuple(nodes))


def _has_scale(tensor: Tensor, scale: Quantization) -> bool:
    return tensor.quantization is not None and np.array_equal(tensor.quantization.scale, scale.scale)


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
