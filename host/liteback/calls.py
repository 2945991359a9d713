"""Which subgraphs of a file run which."""

from __future__ import annotations

from collections.abc import Container, Sequence

from liteback.ir import Graph, Node

SUBGRAPH_OPTIONS = {
    "IF": ("then_subgraph_index", "else_subgraph_index"),
    "WHILE": ("cond_subgraph_index", "body_subgraph_index"),
    "CALL": ("subgraph",),
    "STABLEHLO_CASE": ("branch_subgraph_indices",),
    "STABLEHLO_COMPOSITE": ("decomposition_subgraph_index",),
}

IN_PLACE = ("CALL", "STABLEHLO_COMPOSITE")  # whose subgraph is laid out where they stand


def subgraphs_of(node: Node) -> list[int]:
    """The subgraphs that a node runs, save the one that runs but once."""
    options = [node.options[name] for name in SUBGRAPH_OPTIONS.get(node.op, ())]
    return [int(i) for option in options for i in (option if isinstance(option, tuple) else (option,))]


def reachable(graphs: Sequence[Graph], *roots: int, by: Container[str] = SUBGRAPH_OPTIONS) -> list[Graph]:
    """The graphs that run when `roots` run, each once; a single root first. by: the operators that are followed."""
    found: dict[int, Graph] = {}
    pending = list(roots)
    while pending:
        index = pending.pop()
        if index in found or not 0 <= index < len(graphs):
            continue
        found[index] = graphs[index]
        pending += [i for node in graphs[index].nodes if node.op in by for i in subgraphs_of(node)]
    return list(found.values())


def once(graphs: Sequence[Graph], used: Sequence[Graph]) -> list[Graph]:
    """The graphs that run before the first run of `used`, each once: they say what variables start as.

    Raises: LookupError for one that does not exist.
    """
    nodes = [node for graph in used for node in graph.nodes if node.op == "CALL_ONCE"]
    indices = dict.fromkeys(int(node.options["init_subgraph_index"]) for node in nodes)
    return [graphs[i] for i in indices]
