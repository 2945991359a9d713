"""What an emission is: a Keras model, and its correspondence with the file it was made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras

from liteback.emit.exact_layer import ExactLayer
from liteback.emit.fake_quant import FakeQuant
from liteback.emit.hybrid import DynamicQuant
from liteback.emit.weight import Weight
from liteback.errors import UsageError
from liteback.ir import Graph

Numerics = Literal["float", "fakequant", "exact"]


@dataclass(frozen=True)
class Value:
    """Where a tensor of the file is found in the model: an operation, which of its calls, which of its outputs.

    time_first: the file has it time first, the model batch first or, of one step, that step.
    """

    operation: str
    call: int
    output: int
    time_first: bool = False

    @classmethod
    def of(cls, value: Any, time_first: bool = False) -> Value:
        """The place of a KerasTensor."""
        history = value._keras_history
        return cls(history.operation.name, history.node_index, history.tensor_index, time_first)


@dataclass(frozen=True)
class Binding:
    """A variable of the model and the constant of the file it came from.

    made_of: the constant that gave the variable its value, where this one holds the same numbers in another scale.
    layer: its name; inside a layer that holds models, the way there: `while_004/body/dense_001`.
    """

    layer: str
    position: int  # in layer.weights
    weight: Weight
    made_of: Weight | None = None


@dataclass(frozen=True)
class Emission:
    """A Keras model and its correspondence with the file."""

    model: Any  # keras.Model
    graph: Graph
    numerics: str
    values: Mapping[int, Value]  # tensor index -> place
    bindings: tuple[Binding, ...]

    def without_constants(self) -> Emission:
        """The model, and no longer what the file holds: its bytes can leave the memory. `export` needs them."""
        tensors = tuple(replace(t, data=None) for t in self.graph.tensors)
        return replace(self, graph=replace(self.graph, tensors=tensors), bindings=())

    @property
    def keras_ops(self) -> tuple[str, ...]:
        """The operations that are no layers: the .h5 format cannot hold them."""
        return tuple(op.name for op in operations(self.model) if not isinstance(op, keras.Layer))

    @property
    def own_layers(self) -> tuple[str, ...]:
        """The layers that stock Keras does not have: to load them, liteback must be installed."""
        return tuple(op.name for op in operations(self.model) if type(op).__module__.startswith("liteback."))


def check_functional(model: Any) -> None:
    """That a model shows its layers one by one, as what `reconstruct` gives does.

    Raises:
        UsageError: it is a Sequential or subclassed model, or none, such as a path.
    """
    if not hasattr(model, "operations"):
        raise UsageError(
            "A reconstruction is a Functional keras.Model, as `liteback.reconstruct` or `liteback.load_model` makes "
            f"it, trained further or not. Received: {type(model).__name__}."
        )


def operations(model: Any) -> Iterator[Any]:
    """All operations of a model, those of the models inside its layers included."""
    for operation in model.operations:
        yield operation
        for attribute in getattr(operation, "held_models", ()):
            yield from operations(getattr(operation, attribute))


def shown(model: Any, values: Mapping[int, Value]) -> dict[int, Value]:
    """The values that are in a model: what no output needs is not."""
    names = {operation.name for operation in model.operations}
    return {t: value for t, value in values.items() if value.operation in names}


def places(model: Any, values: Mapping[int, Value]) -> dict[int, Any]:
    """Tensor index -> the KerasTensor of `model` where it is found."""
    operations = {operation.name: operation for operation in model.operations}
    return {t: operations[v.operation]._inbound_nodes[v.call].output_tensors[v.output] for t, v in values.items()}


def numerics_of(model: Any) -> Numerics:
    """The numerics that a reconstructed model was built in.

    Raises:
        UsageError: it is no such model.
    """
    check_functional(model)
    if any(isinstance(op, ExactLayer) for op in operations(model)):
        return "exact"
    rounds = (isinstance(op, (FakeQuant, DynamicQuant)) or getattr(op, "hybrid", None) for op in operations(model))
    return "fakequant" if any(rounds) else "float"


def layer_at(model: Any, path: str) -> Any:
    """The layer that a `Binding` names.

    Raises:
        ValueError: the model has no such layer.
    """
    name, *way = path.split("/")
    layer = model.get_layer(name)
    for attribute, inner in zip(way[::2], way[1::2], strict=True):
        layer = getattr(layer, attribute).get_layer(inner)
    return layer
