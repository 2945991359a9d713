"""Fold the rounding of a constant into the constant.

Given:    %q = QUANTIZE(%w) ;  %d = DEQUANTIZE(%q) ;  %y = CONV_2D(%x, %d, %b)      %w a constant
Result:   %d = constant, %w on the grid of %q      ;  %y = CONV_2D(%x, %d, %b)

So a file says whose network was trained for quantization and converted without it. The weight that trains, and that
`export` writes, is %w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..ir import CODE_RANGE, Graph, Node, Tensor
from ..numerics.affine import dequantize, quantize


def fold_rounding(graph: Graph) -> Graph:
    tensors, nodes = list(graph.tensors), list[Node]()
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        source = producers.get(node.inputs[0]) if node.op == "DEQUANTIZE" and node.inputs else None
        if source is None or not _rounds(source, tensors) or node.outputs[0] in graph.outputs:
            nodes.append(node)
        else:
            home = (graph.index, source.inputs[0])
            tensors[node.outputs[0]] = _rounded(source, tensors[node.outputs[0]], tensors, home)
    read = {t for node in nodes for t in node.inputs} | set(graph.outputs)
    kept = [n for n in nodes if n.outputs[:1] == () or n.outputs[0] in read or n.outputs[0] not in consumers]
    return replace(graph, tensors=tuple(tensors), nodes=tuple(kept)) if len(nodes) < len(graph.nodes) else graph


def _rounds(node: Node, tensors: Sequence[Tensor]) -> bool:
    """Whether a node puts a constant of real numbers on a grid."""
    if node.op != "QUANTIZE" or len(node.inputs) != 1:
        return False
    source, grid = tensors[node.inputs[0]], tensors[node.outputs[0]]
    real = source.data is not None and source.dtype == "float32" and source.quantization is None
    return real and grid.quantization is not None and grid.dtype in CODE_RANGE


def _rounded(node: Node, out: Tensor, tensors: Sequence[Tensor], home: tuple[int, int]) -> Tensor:
    source, grid = tensors[node.inputs[0]], tensors[node.outputs[0]]
    if grid.quantization is None:
        return out
    data = dequantize(quantize(np.asarray(source.data), grid.quantization, grid.dtype), grid.quantization)
    return replace(out, data=data, shape=source.shape, home=source.home or home, steps=source.steps)
