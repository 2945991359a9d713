"""Running a reconstruction beside the board: every node's output, from the model's inputs or from the board's own.

cumulative: x -> layer 1 -> layer 2 -> ...          errors add up, as they do in use
isolated:   each layer is fed what the board fed it  each error is the layer's own
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Collection, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.build import emit, graph_of_signature
from liteback.emit.emission import Emission, Value, numerics_of, places
from liteback.emit.names import model_name
from liteback.emit.state import reset_state
from liteback.errors import UsageError
from liteback.ir import Graph, Model
from liteback.numerics.affine import dequantize
from liteback.reconstruction import SERVED, serving_signature
from liteback.saving import interface_names, keyword

Arrays = Mapping[int, NDArray[Any]]  # tensor index -> values


class KerasTwin:
    """A Keras model and the graph it was made from. A `compare.Candidate`.

    graph: as `passes.simplify` left it. values: tensor index -> its place in the model.
    """

    def __init__(self, model: Any, graph: Graph, values: Mapping[int, Value], numerics: str, name: str) -> None:
        self.model, self.graph, self.numerics, self.name = model, graph, numerics, name
        if missing := _missing(model, values):
            raise UsageError(
                f"The model {name} is no reconstruction of this .tflite file: it has no layer {missing[0]!r} "
                f"({len(missing)} of {len(values)} are missing). Layers keep the names that `reconstruct` gave them."
            )
        found = places(model, values)
        self._places = {t: id(place) for t, place in found.items()}
        # The tensors that the file has time first: whether the model has one step of it.
        self._one_step = {
            t: len(found[t].shape) < len(graph.tensors[t].shape) for t, v in values.items() if v.time_first
        }
        self._run = tf.function(self._traverse)
        self.layers = _recurrent(graph, values, {operation.name for operation in model.operations})

    @classmethod
    def of(cls, emission: Emission, name: str = "reconstruction") -> KerasTwin:
        """A reconstruction as it was made."""
        return cls(emission.model, emission.graph, emission.values, emission.numerics, name)

    @classmethod
    def match(cls, model: Any, source: Model, name: str) -> KerasTwin:
        """A model, trained further or not, matched with the file it was reconstructed from by its layers' names.

        It is of the main graph, which is what a board records, as the file has it or as one of its signatures does.

        Raises:
            UsageError: it is not one that was reconstructed from this file, or it is of another graph.
        """
        numerics = numerics_of(model)
        main = emit(source, numerics)
        keys = [s.key for s in source.signatures if s.graph == source.main.index]
        emissions = chain([main], (emit(source, numerics, key) for key in keys))
        found = next((emission for emission in emissions if _is_of(emission, model)), None)
        if found is None:
            _check_graph(model, source, name)
            found = main  # of which it lacks something, or calls the inputs otherwise
        return cls(model, found.graph, found.values, numerics, name)

    def cumulative(self, inputs: Arrays) -> dict[int, NDArray[Any]]:
        """Codes of the graph's inputs -> every tensor of the model, in real values; `exact`: in codes."""
        reset_state(self.model)  # a sample begins as a board's does
        return self._arrays(self._run([self._feed(t, inputs[t]) for t in self.graph.inputs], {}))

    def isolated(self, device: Arrays) -> dict[int, NDArray[Any]]:
        """Codes of the tensors the board computed -> every node's output, each node fed the board's own inputs."""
        reset_state(self.model)
        taken = {str(t): self._feed(t, self._batch_first(t, a)) for t, a in device.items() if t in self._places}
        return self._arrays(self._run([self._feed(t, device[t]) for t in self.graph.inputs], taken))

    def _feed(self, index: int, codes: NDArray[Any]) -> Any:
        """What the model takes for a tensor's codes: themselves, if it computes on codes, else real values."""
        return tf.constant(codes if self.numerics == "exact" else real(self.graph, index, codes))

    def _arrays(self, computed: Mapping[str, Any]) -> dict[int, NDArray[Any]]:
        return {int(t): self._time_first(int(t), np.asarray(value)) for t, value in computed.items()}

    def _batch_first(self, index: int, array: NDArray[Any]) -> NDArray[Any]:
        """A tensor of the file as the model has it."""
        one_step = self._one_step.get(index)
        return array if one_step is None else array[0] if one_step else array.swapaxes(0, 1)

    def _time_first(self, index: int, array: NDArray[Any]) -> NDArray[Any]:
        """A value of the model as the file has it."""
        one_step = self._one_step.get(index)
        return array if one_step is None else array[None] if one_step else array.swapaxes(0, 1)

    def _traverse(self, feeds: list[Any], device: dict[str, Any]) -> dict[str, Any]:
        """Run the model's operations in order; what the board computed takes the place of what they computed.

        Keras shows no public way to step through a Functional model: the node tables are those that its own
        `Function._run_through_graph` uses (keras 3).
        """
        replaced = {self._places[int(t)]: value for t, value in device.items()}
        computed = {id(place): value for place, value in zip(self.model.inputs, feeds, strict=True)}
        known = {place: replaced.get(place, value) for place, value in computed.items()}
        for depth in sorted(self.model._nodes_by_depth, reverse=True):
            for node in self.model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                args, kwargs = node.arguments.fill_in(known)
                results = node.operation(*args, **kwargs)
                for place, value in zip(node.outputs, keras.tree.flatten(results), strict=True):
                    computed[id(place)] = value
                    known[id(place)] = replaced.get(id(place), value)
        return {str(t): computed[place] for t, place in self._places.items()}


def _recurrent(graph: Graph, values: Mapping[int, Value], operations: Collection[str]) -> Mapping[str, str]:
    """The loops that came back as a layer: node -> layer."""
    return {
        node.name: values[t].operation
        for node in graph.nodes
        if node.op == "WHILE" and node.name not in operations
        for t in node.outputs
        if t in values
    }


def _is_of(emission: Emission, model: Any) -> bool:
    """Whether a model has an emission's names: its inputs', in their order, and its layers'."""
    return _inputs(emission.model) == _inputs(model) and not _missing(model, emission.values)


def _inputs(model: Any) -> list[str]:
    """The names of a model's inputs: a signature has its own, and its own order."""
    return [x._keras_history.operation.name for x in model.inputs]


def _missing(model: Any, values: Mapping[int, Value]) -> list[str]:
    """The operations behind values that a model lacks."""
    return sorted({v.operation for v in values.values()} - {operation.name for operation in model.operations})


def _check_graph(model: Any, source: Model, name: str) -> None:
    """Raises: UsageError, where a model is of a signature's graph, of which a board records nothing."""
    keys = [s.key for s in source.signatures if s.graph and model.name == model_name(source.graphs[s.graph])]
    if keys:
        raise UsageError(
            "A model is compared with what a board recorded, which is the file's main graph. "
            f"Received: {name}, reconstructed from the signature {' or '.join(map(repr, keys))}, another graph. "
            "Reconstruct without --signature to compare; `export` takes this one as it is."
        )


class OutputsOnly:
    """A SavedModel: it runs, and its layers cannot be read one by one. A `compare.Candidate`."""

    numerics = "SavedModel"
    layers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, path: Path, source: Model) -> None:
        try:
            self._loaded = tf.saved_model.load(str(path))
        except (OSError, KeyError, ValueError) as error:
            raise UsageError(f"{str(path)!r} is no SavedModel that can be loaded: {error}") from error
        signatures = self._loaded.signatures
        served, key = _of_main_graph(source)
        if served not in signatures:
            raise UsageError(
                f"A SavedModel is compared by its signature `{served}`, which `reconstruct` writes. "
                f"Received: {str(path)!r} with {', '.join(map(repr, signatures)) or 'no signature'}."
            )
        self._serve = signatures[served]
        self.name = path.name
        specs = self._serve.structured_input_signature[1]
        self._known = set(specs), set(self._serve.structured_outputs)
        keys = [key, *(s.key for s in source.signatures if s.graph == source.main.index)]
        graphs = [source.main if k is None else graph_of_signature(source.graphs, source.signatures, k) for k in keys]
        self.graph = next((graph for graph in graphs if _serves(graph) == self._known), graphs[0])

    def cumulative(self, inputs: Arrays) -> dict[int, NDArray[Any]]:
        """Codes of the graph's inputs -> its outputs, in real values."""
        takes, gives = interface_names(self.graph)
        takes = [keyword(name) for name in takes]
        if self._known != _serves(self.graph):
            raise UsageError(
                f"{self.name} is no reconstruction of the recorded file. Its signature takes {sorted(self._known[0])} "
                f"and gives {sorted(self._known[1])}; expected: {sorted(takes)} and {sorted(gives)}."
            )
        specs = self._serve.structured_input_signature[1]
        feeds = {
            name: tf.constant(inputs[t] if specs[name].dtype.is_integer else real(self.graph, t, inputs[t]))
            for name, t in zip(takes, self.graph.inputs, strict=True)
        }
        results = self._serve(**feeds)
        return {t: np.asarray(results[name]) for name, t in zip(gives, self.graph.outputs, strict=True)}

    def isolated(self, device: Arrays) -> dict[int, NDArray[Any]]:
        """Nothing."""
        return {}


def _of_main_graph(source: Model) -> tuple[str, str | None]:
    """The signature of a SavedModel that runs the main graph, which a recording is of, and its key in the file.

    Raises: UsageError where none does.
    """
    default = serving_signature(source)
    main = [s.key for s in source.signatures if s.graph == source.main.index]
    if default is None or default in main:
        return SERVED, default
    if not main:
        raise UsageError(
            "A recording holds what the file's main graph computes, and no signature runs that: a SavedModel does not "
            f"have it. Received: signatures {', '.join(repr(s.key) for s in source.signatures)}. "
            "Compare the .keras file that `liteback reconstruct -o model.keras` writes."
        )
    return main[0], main[0]


def _serves(graph: Graph) -> tuple[set[str], set[str]]:
    """The names that a SavedModel of a graph takes and gives."""
    takes, gives = interface_names(graph)
    return {keyword(name) for name in takes}, set(gives)


def real(graph: Graph, index: int, codes: NDArray[Any]) -> NDArray[Any]:
    """A tensor's codes as real values; what has no scale as it is."""
    tensor = graph.tensors[index]
    if tensor.quantization is not None and tensor.is_quantized:
        return dequantize(codes, tensor.quantization)
    return codes


def load_model(path: Path | str) -> Any:
    """A Keras model from a .keras or .h5 file, with layers of liteback's own or without.

    Raises:
        UsageError: there is none at that path, or it is of a kind that no reconstruction is.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise UsageError(f"A Keras model is read from the path of its file. Received: {type(path).__name__}.")
    path = Path(path)
    if not path.exists():
        raise UsageError(f"There is no model at {str(path)!r}.")
    if path.is_dir():
        if not (path / "saved_model.pb").exists():
            raise UsageError(f"A Keras model is a .keras or .h5 file. Received: {str(path)!r}, a folder.")
        raise UsageError(
            f"{str(path)!r} is a SavedModel: it runs, but its layers cannot be read one by one. "
            "Give the .keras file that `liteback reconstruct -o model.keras` writes."
        )
    if path.suffix not in (".keras", ".h5", ".hdf5"):
        raise UsageError(f"A Keras model is a .keras or .h5 file. Received: {str(path)!r}.")
    try:
        with path.open("rb") as file:
            if path.suffix == ".keras" and not zipfile.is_zipfile(file):
                raise UsageError(
                    f"A .keras file is a zip archive. Received: {str(path)!r}, which is none, or is cut off."
                )
        model = keras.models.load_model(path, compile=False)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise UsageError(f"{str(path)!r} is no Keras model that can be loaded: {error}") from error
    if not hasattr(model, "operations"):
        raise UsageError(
            f"{str(path)!r} is a {type(model).__name__}; what `liteback reconstruct` writes is a Functional model. "
            "Give that one, trained further or not."
        )
    return model
