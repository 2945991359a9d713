"""Give back the activation that only the range of the output's codes still expresses.

Given:    %y (uint8, zero_point 0) = CONV_2D(%x, %w, %b), activation NONE
Result:   %y (uint8, zero_point 0) = CONV_2D(%x, %w, %b), activation RELU

Codes saturate: an output whose lowest code stands for 0.0 cannot be negative, which is what RELU does, and the
converter then drops the RELU. A float model that forgets the clamp is wrong, down to chance accuracy. The upper end
of the range is mostly just the largest value the calibration saw; it is taken for RELU6 only where it stands at 6.
"""

from __future__ import annotations

from dataclasses import replace

from liteback.ir import CODE_RANGE, Graph, Node, Tensor

# Operators whose results may be negative, and which have a slot for a fused activation. What only moves values
# (pooling, CONCATENATION) passes on a clamp that acted before it.
CLAMPED_OPS = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "ADD", "SUB", "MUL", "DIV"}
)


def recover_activations(graph: Graph) -> Graph:
    return graph.replace_nodes(tuple(_recover(node, graph.tensors) for node in graph.nodes))


def _recover(node: Node, tensors: tuple[Tensor, ...]) -> Node:
    if node.op not in CLAMPED_OPS or node.activation != "NONE" or not node.outputs:
        return node
    return replace(node, activation=clamp_of(tensors[node.outputs[0]]))


def clamp_of(tensor: Tensor) -> str:
    """The activation that the code range of a tensor performs: NONE, RELU or RELU6."""
    if tensor.quantization is None or tensor.dtype not in CODE_RANGE or tensor.dtype == "int16":
        return "NONE"  # int16 activations are symmetric: their range clamps nothing
    low, high = CODE_RANGE[tensor.dtype]
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    if zero_point != low:
        return "NONE"
    return "RELU6" if abs((high - zero_point) * scale - 6.0) < scale else "RELU"
