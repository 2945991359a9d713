"""Leave out variables that count for nothing but themselves, as the seeds of a recurrent layer's dropout do.

Given:    %v = READ_VARIABLE(%seed);  %w = ADD(%v, 1);  ASSIGN_VARIABLE(%seed, %w)
Result:   nothing

A device goes on counting; no result of the model hangs on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from liteback.ir import Graph, Node
from liteback.passes.settled_variables import Name, variable_names

READ, ASSIGN = "READ_VARIABLE", "ASSIGN_VARIABLE"


def idle_state(graphs: Sequence[Graph]) -> tuple[Graph, ...]:
    """All graphs of a file, as they share variables."""
    names = [variable_names(graph) for graph in graphs]
    readers = Counter(name for graph, known in zip(graphs, names, strict=True) for name in _read(graph, known))
    shared = {name for name, count in readers.items() if count > 1}
    return tuple(
        _without(graph, known, _idle(graph, known) - shared) for graph, known in zip(graphs, names, strict=True)
    )


def _read(graph: Graph, names: dict[int, Name]) -> set[Name]:
    return {names[n.inputs[0]] for n in graph.nodes if n.op == READ and n.inputs[0] in names}


def _idle(graph: Graph, names: dict[int, Name]) -> set[Name]:
    """The variables that a graph reads and assigns, of which nothing that it gives depends."""
    elsewhere = {t for n in graph.nodes if n.op not in (READ, ASSIGN) for t in n.inputs} | set(graph.outputs)
    idle = _read(graph, names) - {name for handle, name in names.items() if handle in elsewhere}
    while idle:
        needed, used = set(graph.outputs), set[Name]()
        for node in reversed(graph.nodes):
            if _variable(node, names) in idle and node.op == ASSIGN:
                continue
            if needed & set(node.outputs) or not node.outputs:
                needed |= set(node.inputs)
                used |= {_variable(node, names)} & idle if node.op == READ else set()
        if not used:
            break
        idle -= used
    return idle


def _variable(node: Node, names: dict[int, Name]) -> Name:
    return names.get(node.inputs[0], ("", "")) if node.inputs else ("", "")


def _without(graph: Graph, names: dict[int, Name], idle: set[Name]) -> Graph:
    """The graph without some variables, and without what is computed from them."""
    gone, nodes = {handle for handle, name in names.items() if name in idle}, []
    for node in graph.nodes:
        if gone & set(node.inputs):
            gone |= set(node.outputs)
        elif not (node.op == "VAR_HANDLE" and node.outputs[0] in gone):
            nodes.append(node)
    return graph.replace_nodes(tuple(nodes)) if gone else graph
