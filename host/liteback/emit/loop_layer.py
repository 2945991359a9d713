"""Recurrent layers that the file has as loops.

The file's loops take their sequences time first, Keras' layers batch first. What the file has with time first between
its loops stays batch first in the model, and there the batch can be freed.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from liteback.emit.batch import UnknownBatch
from liteback.emit.names import is_symbolic
from liteback.emit.recurrent_cells import Cell
from liteback.emit.recurrent_loop import Recurrence, is_zero, recurrence
from liteback.emit.registry import Layer
from liteback.emit.weight import Weight, concatenate
from liteback.ir import Graph, Node

if TYPE_CHECKING:
    from liteback.emit.builder import Builder

# What acts on each time and sample alone, or on the axis it names.
PASSING = frozenset({"ADD", "SUB", "MUL", "TANH", "LOGISTIC", "RELU", "RELU6", "CONCATENATION", "REVERSE_V2"})
BATCH_AXIS = 2  # as a bit in the masks of a slice of something time first


@dataclass
class RecurrentLoops:
    """The recurrent layers among a graph's loops.

    needless: the nodes of what the loops begin with, and the layers have by themselves. turns: those that put time or
    the batch first, that take the one step of a loop's results, and that reverse time. time_first: the tensors with
    time first; none, where one of them goes into a node that may count on the file's batch. batch_first: tensor index
    -> its value with the batch first, or, of one step, that step.
    """

    found: Mapping[int, Recurrence]
    needless: frozenset[int] = frozenset()
    turns: frozenset[int] = frozenset()
    time_first: frozenset[int] = frozenset()
    batch_first: dict[int, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, graphs: Sequence[Graph], graph: Graph, numerics: str) -> RecurrentLoops:
        loops = {} if numerics == "exact" else {n.index: n for n in graph.nodes if n.op == "WHILE"}
        bodies = {k: graphs[i] for k, n in loops.items() if (i := _body(n)) < len(graphs)}
        if numerics == "fakequant":  # rounds inside of the step
            bodies = {k: b for k, b in bodies.items() if not any(t.is_quantized for t in b.tensors)}
        found = {k: r for k in bodies if (r := recurrence(graphs, graph, loops[k])) is not None}
        found = {k: r for k, r in found.items() if not _shows_more(loops[k], r, graph)}
        found = {k: r for k, r in found.items() if _is_layer(loops[k], r, graph, bodies[k])}
        return _with_layout(graph, found) if found else cls({})

    def result(self, node: Node, builder: Builder) -> Any:
        """What a node gives that is such a loop, or stands beside one; NotImplemented for all others."""
        if node.index in self.found:
            return self._recurrent(node, self.found[node.index], builder)
        if node.index in self.needless:
            return [None] * len(node.outputs)
        if node.index not in self.turns:
            return NotImplemented
        source, target = node.inputs[0], builder.graph.tensors[node.outputs[0]]
        if node.op == "PACK":
            return self._kept(node, ops.stack([builder.known(t, weight=False) for t in node.inputs], axis=1), builder)
        given = self.batch_first.get(source)
        if given is None and source in self.time_first and node.op != "REVERSE_V2":  # what acts on loops' results
            given = ops.swapaxes(builder.known(source, weight=False), 0, 1)
        if node.op == "STRIDED_SLICE" and given is not None and len(given.shape) > len(target.shape):
            return given[:, _step(node, builder.graph)]
        if node.op != "REVERSE_V2" and given is not None:
            return _shaped(node, given, target.shape[1:])
        if node.op != "REVERSE_V2":
            value = _shaped(node, builder.known(source, weight=False), (target.shape[0], *target.shape[2:]))
        elif given is not None:
            value = ops.flip(given, axis=1)
        else:
            return NotImplemented
        if isinstance(value, Layer):
            value = builder.called(value, builder.name_of(node))
            builder.names.keep(value)
        return self._kept(node, value, builder)

    def _kept(self, node: Node, value: Any, builder: Builder) -> Any:
        """A node's result with time first; with the batch first it is kept."""
        builder.names.claim(builder.name_of(node), [value], [])
        self.batch_first[node.outputs[0]] = value
        return ops.swapaxes(value, 0, 1)

    def _recurrent(self, node: Node, found: Recurrence, builder: Builder) -> Any:
        """Values for the loop's results, of those that are read."""
        weights, sequence = _weights(node, found.cell, builder), self._with_batch_first(node.inputs[found.x], builder)
        if weights is None or not is_symbolic(sequence):
            raise NotImplementedError("its weights are no constants, or its sequence is one")
        zeros = all(is_zero(builder.graph, node.inputs[k]) for k in found.states)
        given = {} if zeros else _initial([builder.known(node.inputs[k], weight=False) for k in found.states], builder)
        config = {**found.cell.config, "return_sequences": found.every_step}
        if found.mask is not None:
            config["zero_output_for_mask"] = not found.held and found.results is not None
            given["mask"] = ops.squeeze(self._with_batch_first(node.inputs[found.mask], builder), -1)
        with_states = any(_is_read(builder.graph, node.outputs[k]) for k in found.states)
        recipe = Layer(
            getattr(keras.layers, found.cell.layer),
            sequence,
            weights,
            {**config, "return_state": with_states, "use_bias": bool(found.cell.biases)},
            given=given,
        )
        value = builder.called(recipe, f"{builder.prefix}{found.cell.layer.lower()}_{node.index:03d}")
        builder.names.keep(value)
        y, *after = value if with_states else [value]
        results: list[Any] = [None] * len(node.outputs)
        if found.results is not None:
            self.batch_first[node.outputs[found.results]] = y
            results[found.results] = ops.swapaxes(y, 0, 1) if found.every_step else ops.expand_dims(y, 0)
        for k, state in zip(found.states, after, strict=False):
            results[k] = state
        return results

    def _with_batch_first(self, tensor: int, builder: Builder) -> Any:
        if tensor in self.batch_first:
            return self.batch_first[tensor]
        return ops.swapaxes(builder.known(tensor, weight=False), 0, 1)


def _body(node: Node) -> int:
    return int(node.options["body_subgraph_index"])


def _is_read(graph: Graph, tensor: int) -> bool:
    return tensor in graph.outputs or any(tensor in n.inputs for n in graph.nodes)


def _is_layer(node: Node, found: Recurrence, graph: Graph, body: Graph) -> bool:
    """Whether a loop's weights are constants, and its sequence is computed from what the model is given."""
    given, cell, computed = dict(zip(body.inputs, node.inputs, strict=True)), found.cell, set(graph.inputs)
    weights = {*cell.kernel, *cell.recurrent, *(b for row in cell.biases for b in row)}
    for other in graph.nodes:
        computed |= set(other.outputs) if computed & set(other.inputs) else set()
    constant = ((graph.tensors[given[t]] if t in given else body.tensors[t]).is_constant for t in weights)
    return all(constant) and node.inputs[found.x] in computed


def _shows_more(node: Node, found: Recurrence, graph: Graph) -> bool:
    """Whether something reads what a loop has beside the layer's results: its counters, or what it is given."""
    known = {found.results, *found.states}
    return any(_is_read(graph, t) for k, t in enumerate(node.outputs) if k not in known)


def _weights(node: Node, cell: Cell, builder: Builder) -> list[Any] | None:
    """The layer's weights, from the loop's body or from what it is given; None where one is no constant."""
    body = builder.graphs[_body(node)]
    step, given = builder.inlined(body.index, ""), dict(zip(body.inputs, node.inputs, strict=True))
    kernel, recurrent, *biases = (
        [builder.known(given[t], weight=True) if t in given else step.known(t, weight=True) for t in tensors]
        for tensors in (cell.kernel, cell.recurrent, *cell.biases)
    )
    if not all(isinstance(w, Weight) for ws in (kernel, recurrent, *biases) for w in ws):
        return None
    turned = [_joined([w.transpose(1, 0) for w in weights], axis=1) for weights in (kernel, recurrent)]
    return [*turned, *_bias(biases)]


def _joined(weights: Sequence[Weight], axis: int) -> Any:
    return weights[0] if len(weights) == 1 else concatenate(weights, axis)


def _bias(rows: Sequence[Sequence[Weight]]) -> list[Any]:
    """The layer's bias: a vector; of two rows, a matrix."""
    if not rows:
        return []
    whole = _joined([b.reshape(-1) for row in rows for b in row], axis=0)
    return [whole.reshape(2, whole.shape[0] // 2) if len(rows) == 2 else whole]


def _initial(states: Sequence[Any], builder: Builder) -> dict[str, Any]:
    """The argument that gives a layer its states; none where they are zeros, as they are by themselves."""
    if not any(is_symbolic(s) or np.any(s) for s in states):
        return {}
    if builder.free_batch and not all(map(is_symbolic, states)):
        raise UnknownBatch
    start = [builder.symbolic(s, "state") for s in states]
    return {"initial_state": start if len(start) > 1 else start[0]}


# ---- which tensors have time first


def _with_layout(graph: Graph, found: Mapping[int, Recurrence]) -> RecurrentLoops:
    loops = {n.index: n for n in graph.nodes if n.index in found}
    beside = [n.inputs[found[k].x] for k, n in loops.items()]
    beside += [n.outputs[results] for k, n in loops.items() if (results := found[k].results) is not None]
    beside += [n.inputs[mask] for k, n in loops.items() if (mask := found[k].mask) is not None]
    first, turning, leaks = _around(beside, graph, found)
    first = set() if leaks else first
    # Where one layer after the other goes through steps, each takes them apart and packs its results.
    for steps in (n.outputs[0] for n in graph.nodes if _packs(n, graph) or _swaps(n, graph)):
        more, turns, leaks = _around([steps], graph, found)
        if not leaks:
            first, turning = first | more, turning | turns
    return RecurrentLoops(found, _needless(graph, found), frozenset(turning), frozenset(first))


def _around(seeds: Sequence[int], graph: Graph, found: Container[int]) -> tuple[set[int], set[int], bool]:
    """The tensors that have time first as `seeds` do, the nodes that turn them, and whether others read them."""
    producers, consumers = graph.producers(), graph.consumers()
    pending, first, turning, leaks = list(seeds), set[int](), set[int](), False
    while pending:
        tensor = pending.pop()
        if tensor in first or graph.tensors[tensor].is_constant:
            continue
        first.add(tensor)
        around = [(producers[tensor], _enters)] if tensor in producers else []
        around += [(node, _leaves) for node in consumers.get(tensor, ())]
        for node, turns in around:
            if node.op == "REVERSE_V2" and _axes(node, graph) == [0]:
                turning.add(node.index)
            if node.op in PASSING or (node.op == "FULLY_CONNECTED" and node.options["keep_num_dims"]):
                pending += [*node.inputs, *node.outputs]
            elif turns(node, graph):
                turning.add(node.index)
            elif node.index not in found:
                leaks |= not _slices_steps(node)
        leaks |= tensor not in producers or tensor in graph.outputs
    return first, turning, leaks


def _needless(graph: Graph, found: Mapping[int, Recurrence]) -> frozenset[int]:
    """The nodes that compute nothing but zeros for the loops to begin with, and room for their results."""
    needless, idle, read = set[int](), set[int](), set(graph.outputs)
    for node in reversed(graph.nodes):
        results, known = set(node.outputs), found.get(node.index)
        if known is not None:
            zeros = all(is_zero(graph, node.inputs[k]) for k in known.states)
            begin = {known.results, *known.held, *(known.states if zeros else ())}
            idle |= {t for k, t in enumerate(node.inputs) if k in begin}
            read |= {t for k, t in enumerate(node.inputs) if k not in begin}
        elif results & idle and not results & read:
            needless.add(node.index)
            idle |= set(node.inputs)
        else:
            read |= set(node.inputs)
    return frozenset(needless)


def _enters(node: Node, graph: Graph) -> bool:
    """Whether a node puts time first. A RESHAPE does where there is one sample."""
    source, result = (graph.tensors[t].shape_signature for t in (node.inputs[0], node.outputs[0]))
    reshapes = node.op == "RESHAPE" and source[:1] == (1,) == result[1:2] and len(result) == 3
    known = -1 not in (*source, *result)
    return _transposes(node, graph) or _packs(node, graph) or _swaps(node, graph) or (reshapes and known)


def _swaps(node: Node, graph: Graph) -> bool:
    """Whether a RESHAPE of one sample puts its steps first and leaves the others as they are."""
    if node.op != "RESHAPE":
        return False
    source, result = (graph.tensors[t].shape_signature for t in (node.inputs[0], node.outputs[0]))
    return source[:1] == (1,) and -1 not in source and result == (*source[1:2], 1, *source[2:])


def _packs(node: Node, graph: Graph) -> bool:
    """Whether a node puts steps of one sample together, time first."""
    return node.op == "PACK" and int(node.options["axis"]) == 0 and graph.tensors[node.outputs[0]].shape[1:2] == (1,)


def _leaves(node: Node, graph: Graph) -> bool:
    """Whether a node puts the batch first, or takes one step."""
    source, result = (graph.tensors[t].shape_signature for t in (node.inputs[0], node.outputs[0]))
    reshapes = node.op == "RESHAPE" and source[1:2] == (1,) == result[:1] and -1 not in (*source, *result)
    return _takes_step(node, graph) or reshapes or _transposes(node, graph)


def _takes_step(node: Node, graph: Graph) -> bool:
    """Whether a slice takes one step of what has time first, all of it."""
    if node.op != "STRIDED_SLICE" or int(node.options["shrink_axis_mask"]) != 1:
        return False
    source, result = (graph.tensors[t].shape_signature for t in (node.inputs[0], node.outputs[0]))
    begin, strides = (graph.tensors[node.inputs[k]].data for k in (1, 3))
    return begin is not None and strides is not None and bool(np.all(strides == 1)) and result == source[1:]


def _step(node: Node, graph: Graph) -> int:
    """The step that such a slice takes."""
    begin = np.asarray(graph.tensors[node.inputs[1]].data).ravel()
    return 0 if int(node.options["begin_mask"]) & 1 else int(begin[0])


def _transposes(node: Node, graph: Graph) -> bool:
    perm = graph.tensors[node.inputs[1]].data if node.op == "TRANSPOSE" else None
    return perm is not None and perm.tolist() == [1, 0, 2]


def _slices_steps(node: Node) -> bool:
    """Whether a node takes some steps, of all samples."""
    masks = (int(node.options.get(mask, 0)) for mask in ("begin_mask", "end_mask"))
    return node.op == "STRIDED_SLICE" and all(mask & BATCH_AXIS for mask in masks)


def _axes(node: Node, graph: Graph) -> list[int] | None:
    axes = graph.tensors[node.inputs[1]].data
    return None if axes is None else axes.ravel().tolist()


def _shaped(node: Node, value: Any, extents: tuple[int, ...]) -> Any:
    """A value of some samples; of a RESHAPE, a layer that gives each of them its extents."""
    if node.op != "RESHAPE" or value.shape[1:] == extents:
        return value
    return Layer(keras.layers.Reshape, value, config={"target_shape": extents})
