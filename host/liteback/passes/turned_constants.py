"""Fold TRANSPOSE of a constant into the constant.

Given:    %t = TRANSPOSE(%w constant, %perm constant) ;  %y = FULLY_CONNECTED(%x, %t)
Result:   %t = constant, %w turned                    ;  %y = FULLY_CONNECTED(%x, %t)

So it is a weight like any other, and goes back to %w. Not for scales per channel, which would have to turn, too.
"""

from __future__ import annotations

from dataclasses import replace

from liteback.ir import ABSENT, Graph, Node, Step, Tensor


def turned_constants(graph: Graph) -> Graph:
    tensors, kept = list(graph.tensors), list[Node]()
    for node in graph.nodes:
        turned = None if set(node.outputs) & set(graph.outputs) else _turned(node, graph, tensors)
        if turned is None:
            kept.append(node)
        else:
            tensors[turned.index] = turned
    return replace(graph, tensors=tuple(tensors), nodes=tuple(kept)) if len(kept) < len(graph.nodes) else graph


def _turned(node: Node, graph: Graph, tensors: list[Tensor]) -> Tensor | None:
    """What a node gives that turns a constant; None for another node."""
    if node.op != "TRANSPOSE" or len(node.inputs) != 2 or len(node.outputs) != 1 or ABSENT in node.inputs:
        return None
    source, order, out = (tensors[t] for t in (*node.inputs, *node.outputs))
    if source.data is None or order.data is None or source.dtype == "string":
        return None
    grids = [t.quantization for t in (source, *(tensors[i] for i in (source.stored_in,) if i is not None))]
    perm = tuple(int(axis) % max(1, source.data.ndim) for axis in order.data.ravel())
    if any(g and (g.per_channel or g.block_size) for g in grids) or sorted(perm) != list(range(source.data.ndim)):
        return None
    data = source.data.transpose(perm)
    return replace(
        out,
        data=data,
        shape=data.shape,
        shape_signature=data.shape,
        quantization=source.quantization,
        stored_in=source.stored_in,
        is_sparse=source.is_sparse,
        home=graph.home(source.index),
        steps=(*source.steps, Step("transpose", perm, source.data.shape)),
    )
