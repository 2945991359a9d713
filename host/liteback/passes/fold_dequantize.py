"""Fold DEQUANTIZE and DENSIFY of a constant into the constant.

Given:    %w16 = constant float16 ;  %w = DEQUANTIZE(%w16) ;  %y = CONV_2D(%x, %w, %b)
Result:   %w = constant float32, stored in %w16            ;  %y = CONV_2D(%x, %w, %b)

Files with float16 (or int8) weights and float arithmetic hold such a pair for every weight. The runtime computes it
once, when it prepares the model; folded, %w is a variable that trains like any other. The same goes for DENSIFY, which
gives a sparse weight its zeros back: `lift` has read them already.

A folded tensor shares the codes of the one it is stored in: real numbers for every weight of a model at once would
take two to four times the file. `held` makes them for who reads them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from liteback.ir import ABSENT, Graph, Node, Quantization, Tensor, numpy_dtype
from liteback.numerics.affine import dequantize


def fold_dequantize(graph: Graph) -> Graph:
    tensors, outputs = list(graph.tensors), set(graph.outputs)
    kept = []
    for node in graph.nodes:
        source = _constant_of(node, tensors)
        if source is None or source.data is None or node.outputs[0] in outputs:
            kept.append(node)
            continue
        out = node.outputs[0]
        tensors[out] = replace(
            tensors[out],
            data=source.data,
            stored_in=source.index,
            shape=source.shape,
            is_sparse=source.is_sparse,
        )
    return replace(graph, tensors=tuple(tensors), nodes=tuple(kept))


def folded_quantization(graph: Graph, tensor: Tensor) -> Quantization | None:
    """By what a folded constant's codes were made real numbers; None where they were not."""
    if tensor.stored_in is None or tensor.is_quantized:
        return None
    return graph.tensors[tensor.stored_in].quantization


def held(graph: Graph, tensor: Tensor) -> NDArray[Any] | None:
    """What those who read a constant get: its codes; its real numbers, where it is a folded DEQUANTIZE's result."""
    if tensor.data is None or tensor.stored_in is None:
        return tensor.data
    folded = folded_quantization(graph, tensor)
    if folded is not None:
        return dequantize(tensor.data, folded)
    return tensor.data.astype(numpy_dtype(tensor.dtype), copy=False)


def _constant_of(node: Node, tensors: list[Tensor]) -> Tensor | None:
    """The numbers that such an operator reads, or None. A damaged file may have one without an input."""
    if node.op not in ("DEQUANTIZE", "DENSIFY"):
        return None
    if len(node.inputs) != 1 or len(node.outputs) != 1 or ABSENT in node.inputs:
        return None
    source = tensors[node.inputs[0]]
    return source if source.data is not None and source.data.dtype != object else None
