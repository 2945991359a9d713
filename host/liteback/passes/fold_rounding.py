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

from liteback.ir import CODE_RANGE, Graph, Node, Quantization, Tensor
from liteback.numerics.affine import dequantize, quantize


def fold_rounding(graph: Graph) -> Graph:
    tensors, nodes = list(graph.tensors), list[Node]()
    producers, consumers = graph.producers(), graph.consumers()
    for node in graph.nodes:
        source = producers.get(node.inputs[0]) if node.op == "DEQUANTIZE" and node.inputs else None
        grid = _grid(source, tensors) if source is not None else None
        if source is None or grid is None or node.outputs[0] in graph.outputs:
            nodes.append(node)
            continue
        weight, dtype = tensors[source.inputs[0]], tensors[source.outputs[0]].dtype
        data = dequantize(quantize(np.asarray(weight.data), grid, dtype), grid)
        tensors[node.outputs[0]] = replace(
            tensors[node.outputs[0]], data=data, shape=weight.shape, home=graph.home(weight.index), steps=weight.steps
        )
    read = {t for node in nodes for t in node.inputs} | set(graph.outputs)
    kept = [n for n in nodes if n.outputs[:1] == () or n.outputs[0] in read or n.outputs[0] not in consumers]
    return replace(graph, tensors=tuple(tensors), nodes=tuple(kept)) if len(nodes) < len(graph.nodes) else graph


def _grid(node: Node, tensors: Sequence[Tensor]) -> Quantization | None:
    """The grid that a node puts a constant of real numbers on."""
    if node.op != "QUANTIZE" or len(node.inputs) != 1:
        return None
    source, out = tensors[node.inputs[0]], tensors[node.outputs[0]]
    real = source.data is not None and source.dtype == "float32" and source.quantization is None
    return out.quantization if real and out.dtype in CODE_RANGE else None
