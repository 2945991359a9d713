"""Graph -> keras.Model: what is built, and how often until it is right.

Where the file's batch of one is only a batch, the model takes any batch; a constant of the file is one variable.
"""

from __future__ import annotations

import gc
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import keras
import numpy as np

from liteback.calls import IN_PLACE, SUBGRAPH_OPTIONS, once, reachable
from liteback.emit import ops  # noqa: F401  (fills the registry)
from liteback.emit.batch import UnknownBatch
from liteback.emit.builder import Builder
from liteback.emit.emission import Emission, Numerics
from liteback.emit.independence import check_independent, is_known
from liteback.emit.limits import REFUSALS, refusing
from liteback.emit.registry import supported_ops
from liteback.emit.state import States, undefined, variables_of
from liteback.emit.ties import Ties
from liteback.emit.verdict import problems, unassigned
from liteback.errors import Problem, UnsupportedModel, UsageError
from liteback.ir import Graph, Model, Signature
from liteback.numerics.coverage import uncovered
from liteback.numerics.profile import KernelProfile
from liteback.passes import simplify_all
from liteback.passes.per_sample import per_sample

if keras.backend.backend() != "tensorflow":
    raise UsageError(
        "liteback builds models for Keras on TensorFlow. "
        f"Received: the Keras backend {keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow."
    )


def emit(
    model: Model,
    numerics: Numerics = "float",
    signature: str | None = None,
    profile: KernelProfile | None = None,
    beside: Sequence[int] = (),
) -> Emission:
    """Build the Keras model of a file's main graph, or of a signature's.

    profile: the kernel set that `exact` computes as; the reference kernels without one. beside: subgraphs whose models
    share the variables: what one of them assigns is not taken for a weight.

    Raises:
        UsageError: the file has no such signature.
        UnsupportedModel: with everything that stands in the way.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UsageError(
            "The models of .tflite files have their channels last. Received: Keras' image_data_format "
            "'channels_first'. Set it with keras.config.set_image_data_format('channels_last')."
        )
    root = 0 if signature is None else signature_of(model.signatures, signature).graph
    graphs = simplify_all(model.graphs, numerics == "exact", (root, *beside))
    graph = graphs[0] if signature is None else graph_of_signature(graphs, model.signatures, signature)
    with refusing("model", graph.name):  # options of another operator's kind name no subgraphs
        used = reachable(graphs, graph.index)
        used += once(graphs, used)
    found = [p for g in used for p in problems(g, supported_ops())] + unassigned(used, graphs)
    if numerics == "exact":
        found += [p for g in used for p in uncovered(g)]
    if found:
        raise UnsupportedModel(found)
    with refusing("model", graph.name), _collecting_new_objects():
        initial = _initial_states(graphs, graph, numerics, profile)
        apart = _apart(graph, initial)
        for free, carried in _attempts(graph, bool(initial.initial)):
            with suppress(UnknownBatch, UnsupportedModel), refusing("model", graph.name):
                builder = Builder(graphs, graph, numerics, free, profile, states=initial, carried=carried)
                return _whole(builder) if apart is None else _joined(replace(builder, graph=apart, joined=True), graph)
            gc.collect()  # cycles hold half a model, which would stay beside the whole one
        return _tied(Builder(graphs, graph, numerics, False, profile, states=initial))


@contextmanager
def _collecting_new_objects() -> Iterator[None]:
    """Have the garbage collector look at what is made in here alone.

    TensorFlow's own objects, half a million that stay, make a collection slow and rare; Keras' traces of layers, which
    are cycles and hold tensors, would pile up. A program that has frozen its objects has done so already.
    """
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
        gc.collect()  # of nothing: the collector forgets how many objects there are
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


def _tied(builder: Builder) -> Emission:
    """Build, and build again for as long as constants are found that the model has more than once.

    Where they cannot be one variable, or only in layers that are not stock Keras', they stay several.
    """
    best, ties = None, Ties()
    while True:
        attempt = builder.anew(ties)
        try:
            emission = attempt.run()
        except (UnknownBatch, UnsupportedModel):
            if best is None:
                raise
            return best
        if best is not None and len(emission.own_layers) > len(best.own_layers):
            return best
        best, known = emission, ties
        ties = ties.more(emission, attempt.plain)
        if ties == known or builder.numerics == "exact":
            return best
        del attempt, emission
        gc.collect()


def _apart(graph: Graph, states: States) -> Graph | None:
    """A graph of one sample, as it may have more; None where it runs others, remembers, or has shapes that vary."""
    ends = [graph.tensors[t] for t in (*graph.inputs, *graph.outputs)]
    known = all(-1 not in t.shape_signature and t.shape[:1] == (1,) and t.dtype != "string" for t in ends)
    if not known or states.initial or any(n.op in SUBGRAPH_OPTIONS for n in graph.nodes):
        return None
    with suppress(*REFUSALS):  # of a damaged file, whose emission tells it
        return per_sample(graph)
    return None


def _whole(builder: Builder) -> Emission:
    """Build a graph as it is; where the file has one sample and the model any number, see that none needs another.

    Raises:
        UnknownBatch: one does.
    """
    emission, graph = _tied(builder), builder.graph
    if builder.free_batch and not any(graph.tensors[t].shape_signature[:1] == (-1,) for t in graph.inputs):
        steps = builder.loops.time_first
        _check_freed(emission, is_known(reachable(builder.graphs, graph.index, by=IN_PLACE), steps), steps)
    return emission


def _joined(builder: Builder, graph: Graph) -> Emission:
    """Build a graph that `_apart` gave; where the batch was joined to other axes, see that no sample needs another.

    Raises:
        UnknownBatch: one does.
    """
    emission = _tied(builder)
    values = {t: value for t, value in emission.values.items() if t < len(graph.tensors)}
    emission = replace(emission, graph=graph, values=values)
    lifted = any(not t.is_constant for t in builder.graph.tensors[len(graph.tensors) :])
    shapes = [graph.tensors[t].shape for t in values]
    joined = any(shape[:1] != (1,) or len(shape) == 1 for shape in shapes)  # of a vector's one axis there may be sums
    _check_freed(emission, not lifted and not joined and is_known([builder.graph]))
    return emission


def _check_freed(emission: Emission, known: bool, steps: Container[int] = ()) -> None:
    """known: whether that no sample needs another. steps: tensors with time first. Raises: UnknownBatch."""
    if any(x.shape[:1] != (None,) for x in emission.model.outputs):
        raise UnknownBatch  # of a constant there is one for all samples
    if not known:
        check_independent(emission, steps)


def graph_of_signature(graphs: Sequence[Graph], signatures: Sequence[Signature], key: str) -> Graph:
    """A signature's graph, with its inputs and outputs in the signature's order and under its names."""
    chosen = signature_of(signatures, key)
    graph = graphs[chosen.graph]
    names = {t: name for part in (chosen.outputs, chosen.inputs) for name, t in part.items()}
    tensors = tuple(replace(t, name=names.get(t.index, t.name)) for t in graph.tensors)
    unnamed = tuple(t for t in graph.inputs if t not in chosen.inputs.values())
    return replace(
        graph,
        tensors=tensors,
        inputs=(*chosen.inputs.values(), *unnamed),
        outputs=tuple(chosen.outputs.values()),
        input_names=(*chosen.inputs, *(graph.tensors[t].name for t in unnamed)),
        output_names=tuple(chosen.outputs),
    )


def signature_of(signatures: Sequence[Signature], key: str) -> Signature:
    """The signature of that key. Raises: UsageError where there is none."""
    for signature in signatures:
        if signature.key == key:
            return signature
    known = ", ".join(repr(s.key) for s in signatures) or "none"
    raise UsageError(f"The file has no signature {key!r}. It has: {known}.")


def _initial_states(
    graphs: tuple[Graph, ...], graph: Graph, numerics: Numerics, profile: KernelProfile | None
) -> States:
    """What the variables hold before the first call: what CALL_ONCE assigns them, else zeros."""
    states = States()
    used = reachable(graphs, graph.index)
    for first in once(graphs, used):
        start = States(tables=states.tables)
        Builder(graphs, first, numerics, False, profile, states=start).lay_out(())
        states.initial.update({handle: np.asarray(value) for handle, value in start.current.items()})
    states.initial.update(undefined(used, states.initial, codes=numerics == "exact"))
    needed = {handle for g in used for handle in variables_of(g).values()}
    states.initial = {handle: value for handle, value in states.initial.items() if handle in needed}
    problems = [
        Problem("VAR_HANDLE", handle.name, f"a variable of type {value.dtype}")
        for handle, value in states.initial.items()
        if value.dtype.kind not in "fiub"
    ]
    if problems:
        raise UnsupportedModel(problems)
    return states


def _attempts(graph: Graph, remembers: bool) -> Iterator[tuple[bool, bool]]:
    """What to try before a graph is built as the file has it: whether to free the batch, whether to carry its extent.

    remembers: whether the graph has variables, whose shapes may hold the batch.
    """
    inputs = [graph.tensors[i] for i in graph.inputs]
    if not remembers and inputs and all(t.shape and (t.shape[0] == 1 or t.shape_signature[0] == -1) for t in inputs):
        yield True, True
    if any(t.shape_signature[:1] == (-1,) for t in inputs):
        yield False, True
