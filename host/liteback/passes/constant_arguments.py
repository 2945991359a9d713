"""Give a subgraph that stands in place of a call the constants that it is handed, as constants of its own.

Given:    main:  %y = STABLEHLO_COMPOSITE(%x, %w constant) -> body
          body:  inputs %a, %b ;  %c = FULLY_CONNECTED(%a, %b)
Result:   main:  %y = STABLEHLO_COMPOSITE(%x, none) -> body
          body:  inputs %a, %b = %w ;  %c = FULLY_CONNECTED(%a, %w)

They are weights there like any other, and go back to where the file has them: a tensor's `home`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from liteback.calls import IN_PLACE, subgraphs_of
from liteback.ir import ABSENT, Graph, Node, Tensor


def constant_arguments(graphs: Sequence[Graph]) -> tuple[Graph, ...]:
    with suppress(LookupError, TypeError, ValueError):  # of a damaged file, whose fault its emission tells
        return _handed(list(graphs))
    return tuple(graphs)


def _handed(graphs: list[Graph]) -> tuple[Graph, ...]:
    callers = Counter(i for graph in graphs for node in graph.nodes for i in subgraphs_of(node))
    for index in range(len(graphs)):  # as they follow each other: what a subgraph is given, it may hand on
        nodes = list(graphs[index].nodes)
        for k, node in enumerate(nodes):
            callee = subgraphs_of(node)[0] if node.op in IN_PLACE else index
            if callee != index and callers[callee] == 1:
                graphs[callee] = with_constants(graphs[callee], node.inputs, graphs[index])
                nodes[k] = _without_constants(node, graphs[index])
        graphs[index] = replace(graphs[index], nodes=tuple(nodes))
    return tuple(graphs)


def _is_weight(tensor: Tensor) -> bool:
    return tensor.is_constant and (tensor.is_quantized or tensor.dtype.startswith("float"))


def with_constants(callee: Graph, arguments: Sequence[int], caller: Graph) -> Graph:
    """A subgraph whose inputs are constants where the tensors of `caller` that it is handed are weights."""
    tensors = list(callee.tensors)
    for own, index in zip(callee.inputs, arguments, strict=True):
        if index != ABSENT and _is_weight(given := caller.tensors[index]):
            tensors[own] = replace(given, index=own, name=tensors[own].name, home=caller.home(index))
    return replace(callee, tensors=tuple(tensors))


def _without_constants(node: Node, caller: Graph) -> Node:
    return replace(
        node, inputs=tuple(ABSENT if t != ABSENT and _is_weight(caller.tensors[t]) else t for t in node.inputs)
    )
