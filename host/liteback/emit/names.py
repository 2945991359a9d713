"""Names of layers and operations: those of the file's nodes, whatever an emitter made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from liteback.ir import Graph


@dataclass
class NameBook:
    """Gives each operation of a model its node's name, once.

    The operation that computes a node's result is called like the node, `mean_014`; what an emitter needed on the
    way there is called `mean_014_expand_dims`.
    """

    used: set[str] = field(default_factory=set)
    named: dict[int, Any] = field(default_factory=dict)  # id -> the operation (held, so that no id comes twice)

    def free(self, name: str) -> str:
        """`name` as Keras allows it, and as no other operation has it."""
        clean = re.sub(r"[^0-9A-Za-z_.-]", "_", name).strip("_") or "tensor"
        unique, count = clean, 1
        while unique in self.used:
            unique, count = f"{clean}_{count}", count + 1
        self.used.add(unique)
        return unique

    def keep(self, value: Any) -> None:
        """The operation behind a value has its name already; what prepared its inputs is called after it."""
        operation = _operation(value)
        self.named[id(operation)] = operation
        self.used.add(operation.name)
        for step in self._unnamed(_sources(value)):
            self._name_after(operation.name, step)

    def claim(self, name: str, values: Sequence[Any], inputs: Iterable[Any]) -> list[Any]:
        """Name every new operation behind `values` after the node. A value that is one of `inputs` gets a layer."""
        known = {id(v) for v in inputs}
        values = [keras.layers.Identity()(v) if id(v) in known else v for v in values]
        new = self._unnamed(values)
        results = {id(_operation(v)) for v in values}
        for operation in new:
            if id(operation) in results and name not in self.used:
                operation.name = self.free(name)
                self.named[id(operation)] = operation
            else:
                self._name_after(name, operation)
        return list(values)

    def _name_after(self, name: str, operation: Any) -> None:
        operation.name = self.free(f"{name}_{re.sub(r'_[0-9]+$', '', operation.name)}")
        self.named[id(operation)] = operation

    def _unnamed(self, values: Sequence[Any]) -> list[Any]:
        """The operations behind `values` that have no name of ours yet, each after what it reads."""
        found: dict[int, Any] = {}

        def visit(value: Any) -> None:
            operation = _operation(value)
            if id(operation) in self.named or id(operation) in found:
                return
            for source in _sources(value):
                visit(source)
            found[id(operation)] = operation

        for value in values:
            visit(value)
        return list(found.values())


def model_name(graph: Graph) -> str:
    """The name of a graph's model. It says which graph it is: a signature may have another than the main one."""
    return f"liteback_{graph.index}" if graph.index else "liteback"


def is_symbolic(value: Any) -> bool:
    """Whether a value is a tensor of the model to be, and not a number that is known already."""
    return isinstance(value, keras.KerasTensor)


def as_list(value: Any) -> list[Any]:
    """One value or several, as several."""
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _operation(value: Any) -> Any:
    return _first(value)._keras_history.operation


def _sources(value: Any) -> Sequence[Any]:
    """The tensors that the operation behind a value was called on."""
    history = _first(value)._keras_history
    return list(history.operation._inbound_nodes[history.node_index].input_tensors)


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, (list, tuple)) else value
