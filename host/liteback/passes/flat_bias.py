"""Give a bias one axis, whatever shape the file gives it.

Given:    %y = FULLY_CONNECTED(%x, %w (8, 4), %b (1, 1, 8))
Result:   %y = FULLY_CONNECTED(%x, %w (8, 4), %b (8))

The kernels ask for as many elements as there are units, in any shape (fully_connected.cc, conv.cc, v2.14.0).
"""

from __future__ import annotations

from dataclasses import replace

from liteback.ir import Graph, Node
from liteback.passes.bias_scale import POSITIONS


def flat_bias(graph: Graph) -> Graph:
    consumers, tensors = graph.consumers(), list(graph.tensors)
    for node in graph.nodes:
        index = _bias(node)
        data = None if index is None else tensors[index].data
        if index is None or data is None or data.ndim == 1 or any(_bias(n) != index for n in consumers[index]):
            continue
        flat = data.reshape(-1)
        tensors[index] = replace(tensors[index], data=flat, shape=flat.shape, shape_signature=flat.shape)
    return replace(graph, tensors=tuple(tensors))


def _bias(node: Node) -> int | None:
    position = POSITIONS[node.op][2] if node.op in POSITIONS else len(node.inputs)
    return node.inputs[position] if position < len(node.inputs) and node.inputs[position] >= 0 else None
