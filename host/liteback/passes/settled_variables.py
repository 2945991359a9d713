"""Take a variable that is only read for the constant that it starts as.

Given:    once:  ASSIGN_VARIABLE(VAR_HANDLE(v), %c)
          main:  %w = READ_VARIABLE(VAR_HANDLE(v)) ;  %t = TRANSPOSE(%w, perm) ;  %y = CONV_2D(%x, %t, %b)
Result:   main:  %t = constant, %c turned ;  %y = CONV_2D(%x, %t, %b)

A file that trains on the device has its weights in variables: the signature that trains assigns them, the one that
infers reads them. Its weights are those of any other network; `once`, which the first run starts with, is where the
file holds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from liteback.calls import once, reachable
from liteback.ir import Graph, Node, Step, Tensor

Name = tuple[str, str]


def settled_variables(graphs: Sequence[Graph], served: Sequence[int]) -> tuple[Graph, ...]:
    """served: the graphs that are run, one by one or in turn, and share their variables."""
    with suppress(LookupError, TypeError, ValueError):  # of a damaged file, whose fault its emission tells
        return _settled(graphs, served)
    return tuple(graphs)


def _settled(graphs: Sequence[Graph], served: Sequence[int]) -> tuple[Graph, ...]:
    used = reachable(graphs, *served)
    first = once(graphs, used)
    starts = {name: start for graph in first for name, start in _assigned(graph).items()}
    assigned = [name for graph in (*used, *first) for name in _assignments(graph)]
    settled = {name: start for name, start in starts.items() if start is not None and assigned.count(name) == 1}
    indices = {graph.index for graph in used}
    return tuple(_settle(graph, settled) if graph.index in indices and settled else graph for graph in graphs)


def _settle(graph: Graph, settled: Mapping[Name, Tensor]) -> Graph:
    tensors, nodes, names = list(graph.tensors), list[Node](), variable_names(graph)
    for node in graph.nodes:
        if node.op == "READ_VARIABLE" and names.get(node.inputs[0]) in settled:
            tensors[node.outputs[0]] = _as(tensors[node.outputs[0]], settled[names[node.inputs[0]]])
        elif _turns(node, tensors):
            tensors[node.outputs[0]] = _turned(node, tensors)
        else:
            nodes.append(node)
    read = {t for node in nodes for t in node.inputs}
    nodes = [n for n in nodes if n.op != "VAR_HANDLE" or n.outputs[0] in read]
    return replace(graph, tensors=tuple(tensors), nodes=tuple(nodes))


def variable_names(graph: Graph) -> dict[int, Name]:
    """Handle -> the variable's name."""
    made = (node for node in graph.nodes if node.op == "VAR_HANDLE")
    return {n.outputs[0]: (str(n.options["container"]), str(n.options["shared_name"])) for n in made}


def _assignments(graph: Graph) -> list[Name]:
    """The variables that a graph assigns, as often as it does."""
    names = variable_names(graph)
    return [names[n.inputs[0]] for n in graph.nodes if n.op == "ASSIGN_VARIABLE" and n.inputs[0] in names]


def _assigned(graph: Graph) -> dict[Name, Tensor | None]:
    """What a graph assigns variables, with the subgraph that it stands in; None for what is not a constant."""
    names, found = variable_names(graph), dict[Name, Tensor | None]()
    for node in graph.nodes:
        if node.op == "ASSIGN_VARIABLE" and node.inputs[0] in names:
            value = graph.tensors[node.inputs[1]]
            real = value.data is not None and value.dtype.startswith("float")
            found[names[node.inputs[0]]] = replace(value, home=(graph.index, value.index)) if real else None
    return found


def _as(tensor: Tensor, start: Tensor) -> Tensor:
    return replace(tensor, shape=start.shape, shape_signature=start.shape, data=start.data, home=start.home)


def _turns(node: Node, tensors: Sequence[Tensor]) -> bool:
    """Whether a node moves the elements of what was a variable; the runtime does it anew in each run."""
    if node.op not in ("TRANSPOSE", "RESHAPE") or tensors[node.inputs[0]].home is None:
        return False
    return len(node.inputs) < 2 or tensors[node.inputs[1]].data is not None


def _turned(node: Node, tensors: Sequence[Tensor]) -> Tensor:
    source, out = tensors[node.inputs[0]], tensors[node.outputs[0]]
    data = np.asarray(source.data)
    if node.op == "TRANSPOSE":
        perm = tuple(int(p) % data.ndim for p in np.ravel(np.asarray(tensors[node.inputs[1]].data)))
        data, step = data.transpose(perm), Step("transpose", perm, data.shape)
    else:
        data, step = data.reshape(out.shape), Step("reshape", out.shape, data.shape)
    return replace(
        _as(out, source), data=data, shape=data.shape, shape_signature=data.shape, steps=(*source.steps, step)
    )
