"""Take zeros that several operators have as their bias for what they stand for: no bias.

Given:    %y = CONV_2D(%x, %v, %zeros) ;  %z = CONV_2D(%y, %w, %zeros)
Result:   %y = CONV_2D(%x, %v) ;          %z = CONV_2D(%y, %w)

A converter writes zeros for a layer that has no bias, and keeps equal constants once. Layers that had a variable each
would train the one constant into different directions, and it could not go back into the file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ..ir import ABSENT, Graph, Node
from .bias_scale import POSITIONS
from .fold_dequantize import held

BIAS = {op: bias for op, (_, _, bias) in POSITIONS.items()} | {"CONV_3D": 2, "CONV_3D_TRANSPOSE": 3}


def shared_zeros(graph: Graph) -> Graph:
    places = [_zeros(node, graph) for node in graph.nodes]
    users = Counter(places)
    bare = (place is not None and users[place] > 1 for place in places)
    nodes = (_without_bias(node) if b else node for node, b in zip(graph.nodes, bare, strict=True))
    return graph.replace_nodes(tuple(nodes))


def _zeros(node: Node, graph: Graph) -> int | None:
    """Where in memory a node's bias is, if that is all zeros: tensors may share their bytes in the file."""
    position = BIAS.get(node.op, len(node.inputs))
    if position >= len(node.inputs) or node.inputs[position] == ABSENT:
        return None
    bias = graph.tensors[node.inputs[position]]
    values = held(graph, bias)  # codes that are zero may stand for other numbers
    if bias.data is None or values is None or not values.size or values.dtype.kind not in "fi" or values.any():
        return None
    return int(bias.data.ctypes.data)


def _without_bias(node: Node) -> Node:
    position = BIAS[node.op]
    return replace(node, inputs=(*node.inputs[:position], ABSENT, *node.inputs[position + 1 :]))
