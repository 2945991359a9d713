"""Fold DEQUANTIZE and DENSIFY of a constant into the constant.

Given:    %w16 = constant float16 ;  %w = DEQUANTIZE(%w16) ;  %y = CONV_2D(%x, %w, %b)
Result:   %w = constant float32, stored in %w16            ;  %y = CONV_2D(%x, %w, %b)

Files with float16 (or int8) weights and float arithmetic hold such a pair for every weight. The runtime computes it
once, when it prepares the model; folded, %w is a variable that trains like any other. The same goes for DENSIFY, which
gives a sparse weight its zeros back: `lift` has read them already.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir import ABSENT, Graph, Node, Tensor
from ..numerics.affine import dequantize


def fold_dequantize(graph: Graph) -> Graph:
    tensors, outputs = list(graph.tensors), set(graph.outputs)
    kept = []
    for node in graph.nodes:
        source = _constant_of(node, tensors)
        if source is None or source.data is None or node.outputs[0] in outputs:
            kept.append(node)
            continue
        out = node.outputs[0]
        if node.op == "DENSIFY":
            real = source.data
        elif source.quantization is None:
            real = source.data.astype("float32")
        else:
            real = dequantize(source.data, source.quantization)
        tensors[out] = replace(tensors[out], data=real, stored_in=source.index, shape=source.shape)
    return replace(graph, tensors=tuple(tensors), nodes=tuple(kept))


def _constant_of(node: Node, tensors: list[Tensor]) -> Tensor | None:
    """The numbers that such an operator reads, or None. A damaged file may have one without an input."""
    if node.op not in ("DEQUANTIZE", "DENSIFY"):
        return None
    if len(node.inputs) != 1 or len(node.outputs) != 1 or ABSENT in node.inputs:
        return None
    source = tensors[node.inputs[0]]
    return source if source.data is not None and source.data.dtype != object else None
