"""Which constants that no layer holds are weights: biases that stand behind a reshape, scales and shifts.

Dense on steps leaves the converter as FULLY_CONNECTED -> RESHAPE -> ADD, a normalization as MUL and ADD of a vector.
What else is added or multiplied is a number of the architecture (an epsilon, anchors, a mask, a table of positions,
the mean of the training data, one value for all channels), and stays one. What a branch or a loop is handed is a
weight if it would be one there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.calls import IN_PLACE, subgraphs_of
from liteback.emit.registry import EMITTERS, kernel_of
from liteback.ir import ABSENT, Graph, Node, Tensor
from liteback.passes.constant_arguments import with_constants
from liteback.passes.turned_constants import turned_constants

ROLES = {"ADD": "bias", "SUB": "bias", "MUL": "scale"}
LONG_RUN = 16  # neighbours of one value, on average: of learned numbers hardly two are


def parameters(graph: Graph, graphs: Sequence[Graph], running: tuple[int, ...] = ()) -> Mapping[int, str]:
    """The constants that train, each with a name after the first node that reads it: `add_014_bias`.

    graphs: all of the file. running: those that `graph` is run by.
    """
    consumers, learned, scaled = graph.consumers(), _learned(graph), _scaled(graph)
    readers: dict[int, int] = {}  # node -> the constant
    for node in graph.nodes:
        for constant in _constants(node, graph):
            if all(_trains(n, constant, graph, learned, scaled) for n in consumers[constant.index]):
                readers[node.index] = constant.index
    found: dict[int, str] = {}
    for node in graph.nodes:
        if node.index in readers and not _is_repeated(node, readers, consumers):
            found.setdefault(readers[node.index], f"{node.name}_{ROLES[node.op]}")
    found.update(_handed(graph, graphs, (*running, graph.index)))
    return {t: name for t, name in found.items() if t not in graph.outputs}


def _handed(graph: Graph, graphs: Sequence[Graph], running: tuple[int, ...]) -> Mapping[int, str]:
    """The constants that branches and loops are handed, and have as weights."""
    found: dict[int, str] = {}
    for node in graph.nodes:
        callees = () if node.op in IN_PLACE else subgraphs_of(node)
        for callee in (graphs[i] for i in callees if 0 <= i < len(graphs) and i not in running):
            arguments = _arguments(node, callee, graphs)
            inside = turned_constants(with_constants(callee, arguments, graph))
            weights = {t.index for n in inside.nodes for t in _weights(n, inside)}
            homes = {inside.home(t) for t in (*weights, *parameters(inside, graphs, running))}
            for place, given in enumerate(arguments):
                if given != ABSENT and graph.home(given) in homes and graph.tensors[given].is_constant:
                    found.setdefault(given, f"{node.name}_weight_{place}")
    return found


def _arguments(node: Node, callee: Graph, graphs: Sequence[Graph]) -> list[int]:
    """What a subgraph is handed and keeps: behind a branch's condition; of a loop, what no round changes."""
    arguments = node.inputs[max(0, len(node.inputs) - len(callee.inputs)) :]
    if node.op != "WHILE":
        return list(arguments)
    body = graphs[int(node.options["body_subgraph_index"])]
    return [t if own == after else ABSENT for t, own, after in zip(arguments, body.inputs, body.outputs, strict=True)]


def _is_repeated(node: Node, readers: Mapping[int, int], consumers: Mapping[int, Sequence[Node]]) -> bool:
    """Whether another scale, or shift, follows: mean and variance stand before what a normalization learned."""
    role = ROLES[node.op]
    while node.activation == "NONE":
        following = consumers.get(node.outputs[0], ())
        if len(following) != 1 or following[0].index not in readers:
            break
        (node,) = following
        if ROLES[node.op] == role:
            return True
    return False


def _learned(graph: Graph) -> Mapping[int, int]:
    """The tensors that depend on weights -> of results of a layer without a bias its units, else 0.

    A normalization of the input as it is, which takes its statistics anew each time, is learned as well, and so is what
    a loop gives, whose body has the weights of a recurrent layer.
    """
    found: dict[int, int] = {}
    normalizing = _normalizing(graph)
    varies = set(graph.inputs)
    for node in graph.nodes:
        if varies.isdisjoint(node.inputs):
            continue  # a number, computed at once
        varies.update(node.outputs)
        weights = _weights(node, graph)
        if weights or node.op == "WHILE" or node.index in normalizing or not found.keys().isdisjoint(node.inputs):
            units = found.get(node.inputs[0], 0) if node.op == "RESHAPE" else 0
            for t in node.outputs:
                found[t] = (graph.tensors[t].shape or (1,))[-1] if len(weights) == 1 else units
    return found


def _scaled(graph: Graph) -> Mapping[int, tuple[int, ...]]:
    """The factors that normalize, and what they have normalized -> (); its products with a constant -> their shape.

    Scale and shift of groups, or of several axes, have more than one axis, as a table of positions has. TensorFlow
    multiplies the factor by the scale first, PyTorch what is normalized.
    """
    found: dict[int, tuple[int, ...]] = {}
    normalizing = _normalizing(graph)
    for node in graph.nodes:
        found.update((t, ()) for t in node.outputs if node.index in normalizing)
        shapes = [found[t] for t in node.inputs if t in found] if node.op == "MUL" else []
        for shape in [*shapes, *(c.shape for c in _constants(node, graph) if shapes)]:
            found.update((t, shape) for t in node.outputs)
    return found


def _normalizing(graph: Graph) -> set[int]:
    """The nodes that give the factor of a normalization, or what it has normalized: RSQRT, and DIV by a SQRT."""
    roots = {t for node in graph.nodes if node.op == "SQRT" for t in node.outputs}
    divides = (node.index for node in graph.nodes if node.op == "DIV" and node.inputs[-1] in roots)
    return {*divides, *(node.index for node in graph.nodes if node.op == "RSQRT")}


def _trains(
    node: Node, constant: Tensor, graph: Graph, learned: Mapping[int, int], scaled: Mapping[int, tuple[int, ...]]
) -> bool:
    """Whether a node adds the bias that a layer does not have, or scales or shifts the channels of what is learned."""
    if constant.index not in [t.index for t in _constants(node, graph)]:
        return False
    (operand,) = (t for t in node.inputs if t != constant.index)
    channels, result = constant.shape, graph.tensors[node.outputs[0]].shape
    while channels[:1] == (1,):
        channels = channels[1:]
    along = result[len(result) - len(channels) :]
    if operand not in learned or any(d not in (1, r) for d, r in zip(channels, along, strict=True)):
        return False
    normalizes = scaled.get(operand) == (constant.shape if ROLES[node.op] == "bias" else ())
    if normalizes or sum(d > 1 for d in channels) == 1:
        return constant.home is not None or _is_learned(np.asarray(constant.data))
    return ROLES[node.op] == "bias" and learned[operand] == math.prod(channels) and channels == along


def _is_learned(vector: NDArray[Any]) -> bool:
    """Whether its numbers may be.

    Not of one value for all channels, or for each of a few long runs, as the strides are of all cells of a detector's
    grids, or of a mask, whose size no weight has.
    """
    changes = np.count_nonzero(np.diff(vector.ravel()))
    return changes * LONG_RUN >= vector.size > 1 and not (vector.dtype.kind == "f" and np.abs(vector).max() > 1e4)


def _constants(node: Node, graph: Graph) -> list[Tensor]:
    """The one operand of an addition or a product that is a constant of real values, or none."""
    if node.op not in ROLES or len(node.inputs) != 2 or min(node.inputs) < 0 or len(node.outputs) != 1:
        return []
    constants = [t for t in map(graph.tensors.__getitem__, node.inputs) if t.is_constant]
    return constants if len(constants) == 1 and _is_real(constants[0]) else []


def _weights(node: Node, graph: Graph) -> list[Tensor]:
    """The constants that an operator's own layer holds."""
    emitter = EMITTERS.get(node.op) or kernel_of(node.op)
    if emitter is None:
        return []
    names = [*emitter.arguments, *["*"] * len(node.inputs)]
    held = [graph.tensors[t] for name, t in zip(names, node.inputs, strict=False) if name in emitter.weights and t >= 0]
    return [t for t in held if t.is_constant and _is_real(t)]


def _is_real(tensor: Tensor) -> bool:
    return tensor.is_quantized or tensor.dtype.startswith("float")
