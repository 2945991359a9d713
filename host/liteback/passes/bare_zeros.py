"""Take zeros like a tensor for zeros like the first one of its shape.

Given:    %s = FILL(...) ;  %c = MUL(%f, %s) ;  %h = MUL(%o, %c) ;  %z = ZEROS_LIKE(%h)      all of one shape
Result:   %s = FILL(...) ;  %z = ZEROS_LIKE(%s)

A recurrent layer of Keras that is masked computes a first step for its shape alone. Its weights, which the file has
once more for that, would be variables that nothing trains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from liteback.ir import ABSENT, Graph, Node

ELEMENTWISE = frozenset({"ADD", "SUB", "MUL", "DIV", "LOGISTIC", "TANH", "RELU", "ELU", "HARD_SWISH", "GELU"})


def bare_zeros(graph: Graph) -> Graph:
    producers, nodes = graph.producers(), list[Node]()
    for node in graph.nodes:
        if node.op == "ZEROS_LIKE" and node.inputs and node.inputs[0] != ABSENT:
            node = replace(node, inputs=(_first_alike(node.inputs[0], graph, producers),))
        nodes.append(node)
    loose = [old.inputs[0] for old, new in zip(graph.nodes, nodes, strict=True) if old.inputs != new.inputs]
    return graph.replace_nodes(_without(loose, nodes, graph, producers)) if loose else graph


def _first_alike(index: int, graph: Graph, producers: Mapping[int, Node]) -> int:
    """The tensor that is computed first of those that must have the shape of this one; what is given comes before."""
    alike = [index]
    for t in alike:
        node = producers.get(t)
        if node is not None and node.op in ELEMENTWISE:
            same = all(graph.tensors[i].shape_signature == graph.tensors[t].shape_signature for i in node.inputs)
            alike += [i for i in node.inputs if same and i not in alike and not graph.tensors[i].is_constant]
    return min(alike, key=lambda t: producers[t].index if t in producers else ABSENT)


def _without(
    loose: Sequence[int], nodes: Sequence[Node], graph: Graph, producers: Mapping[int, Node]
) -> tuple[Node, ...]:
    """The nodes without those that nothing reads any more, from some tensors upwards."""
    kept, pending = {node.index: node for node in nodes}, list(loose)
    while pending:
        node = producers.get(pending.pop())
        if node is None or node.index not in kept:
            continue
        read = {t for n in kept.values() for t in n.inputs} | set(graph.outputs)
        if read.isdisjoint(node.outputs):
            del kept[node.index]
            pending += node.inputs
    return tuple(kept.values())
