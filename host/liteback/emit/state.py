"""What lasts from one call of a model to the next: resource variables and variable tensors.

A graph reads and writes its variables in order; a Keras model has no order but that of its data. So each value is
carried through the graph like any other tensor, from one `Memory` layer that reads all of them at the start to the
same layer's second call, which stores them beside the outputs:

    x ----+--> Memory --> value --> ... --> new value --+
          |                                             v
          +--------------> ... --> outputs --------> Memory --> outputs
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.errors import UsageError
from liteback.ir import Graph, Node, Tensor, numpy_dtype


@dataclass(frozen=True)
class Handle:
    """What a resource tensor holds, or the place of a variable tensor: a kind and a name within it."""

    kind: str  # variable, table, tensor
    name: str


@dataclass
class States:
    """The variables and tables of a model while it is built.

    initial: variable -> what it holds after a reset. current: variable -> its value at this point of the graph.
    tables: hash table -> its keys and values.
    """

    initial: dict[Handle, NDArray[Any]] = field(default_factory=dict)
    current: dict[Handle, Any] = field(default_factory=dict)
    tables: dict[Handle, tuple[NDArray[Any], NDArray[Any]]] = field(default_factory=dict)

    def copy(self) -> States:
        return States(dict(self.initial), dict(self.current), dict(self.tables))

    def read(self, handle: Handle) -> Any:
        """A variable's value at this point. Raises: NotImplementedError, where nothing has assigned it."""
        if handle not in self.current:
            raise NotImplementedError(f"nothing has been assigned to the variable {handle.name!r} when it is read")
        return self.current[handle]

    def write(self, handle: Handle, value: Any) -> None:
        """From here on the variable has this value. Raises: NotImplementedError, where its shape is another."""
        start = self.initial.get(handle)
        if start is not None and tuple(value.shape) != start.shape:
            raise NotImplementedError(
                f"the variable {handle.name!r} changes its shape from {start.shape} to {tuple(value.shape)}"
            )
        self.current[handle] = value

    def spread(self, value: Any) -> Sequence[Any]:
        """A table as its keys and its values; anything else as it is."""
        return self.tables[value] if isinstance(value, Handle) and value in self.tables else [value]


@keras.saving.register_keras_serializable(package="liteback")
class Memory(keras.layers.Layer):
    """All of a model's variables. Called on a tensor it gives their values; with `values` it stores those.

    names, shapes, dtypes: of the variables, in order. The second call returns what it is called on, after the values
    are stored.
    """

    def __init__(self, names: Sequence[str], shapes: Sequence[Any], dtypes: Sequence[str], **kwargs: Any) -> None:
        super().__init__(autocast=False, **{"trainable": False, **kwargs})
        self.names, self.shapes, self.dtypes = list(names), [list(s) for s in shapes], list(dtypes)
        self.held = [self._variable(*spec) for spec in zip(self.names, self.shapes, self.dtypes, strict=True)]
        self.start = [
            self._variable(f"{name}_initial", shape, dtype)
            for name, shape, dtype in zip(self.names, self.shapes, self.dtypes, strict=True)
        ]

    @classmethod
    def of(cls, initial: dict[Handle, NDArray[Any]], name: str) -> Memory:
        """The memory that holds these variables at their initial values."""
        arrays = initial.values()
        memory = cls([h.name for h in initial], [a.shape for a in arrays], [str(a.dtype) for a in arrays], name=name)
        for variable, value in zip(memory.start, arrays, strict=True):
            variable.assign(value)
        memory.reset_state()
        return memory

    def _variable(self, name: str, shape: Sequence[int], dtype: str) -> Any:
        clean = "".join(c if c.isalnum() else "_" for c in name)
        return self.add_weight(shape=tuple(shape), dtype=dtype, initializer="zeros", trainable=False, name=clean)

    def call(self, inputs: Any, values: Any = None) -> Any:
        if values is None:
            return [tf.identity(tf.convert_to_tensor(variable)) for variable in self.held]
        for variable, value in zip(self.held, values, strict=True):
            variable.assign(value)
        return inputs

    def share(self, known: dict[str, Any]) -> None:
        """Hold what other memories hold under the same names.

        known: name -> variable, to which this one's are added.
        """
        held = [known.setdefault(name, own) for name, own in zip(self.names, self.held, strict=True)]
        self.__dict__["held"] = held  # not as an attribute of a layer: it would be one more variable of this one

    def reset_state(self) -> None:
        """Put every variable back to its initial value."""
        for variable, value in zip(self.held, self.start, strict=True):
            variable.assign(value)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "names": self.names, "shapes": self.shapes, "dtypes": self.dtypes}


def reset_state(model: Any) -> None:
    """Put every variable of a reconstructed model back to its initial value, as a freshly loaded interpreter has it.

    model: a keras.Model that `reconstruct` built, or one loaded from its .keras file.

    Raises:
        UsageError: it is no Keras model.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(f"State is what a keras.Model keeps. Received: {type(model).__name__}.")
    for layer in model.layers:
        if isinstance(layer, Memory):
            layer.reset_state()


def variables_of(graph: Graph) -> dict[int, Handle]:
    """Tensor index -> the variable: of the handles that the graph makes, and of its variable tensors that last."""
    made = {
        node.outputs[0]: Handle("variable", f"{node.options['container']}/{node.options['shared_name']}".strip("/"))
        for node in graph.nodes
        if node.op == "VAR_HANDLE"
    }
    lasting = {
        t: tensor_handle(graph, t)
        for node in graph.nodes
        if _streams(node, graph)
        for t in node.inputs
        if t >= 0 and graph.tensors[t].is_variable
    }
    return {**made, **lasting}


def tensor_handle(graph: Graph, index: int) -> Handle:
    return Handle("tensor", f"{graph.index}_{index}_{graph.tensors[index].name}".rstrip("_"))


def _streams(node: Node, graph: Graph) -> bool:
    """Whether a node's state is to last from call to call.

    A recurrent layer over a whole sequence begins each sequence anew: so it was trained, and so a board runs it that
    resets between samples. One that is called step by step continues.
    """
    if "SEQUENCE" not in node.op:
        return True
    x = graph.tensors[node.inputs[0]]
    return len(x.shape) < 2 or x.shape_signature[0 if node.options.get("time_major") else 1] == 1


def undefined(graphs: Iterable[Graph], known: Iterable[Handle], codes: bool = False) -> dict[Handle, NDArray[Any]]:
    """Zeros for the variables that the graphs use and no CALL_ONCE defines, by the tensors read and assigned.

    codes: in the types of the file, not in those of real values.
    """
    found: dict[Handle, NDArray[Any]] = {}
    skip = set(known)
    for graph in graphs:
        handles = variables_of(graph)
        for node in graph.nodes:
            for t, value in _uses(node, handles):
                handle, tensor = handles[t], graph.tensors[value]
                if handle not in skip and not (handle in found and found[handle].size):
                    found[handle] = zeros(tensor, codes)
    return found


def zeros(tensor: Tensor, codes: bool) -> NDArray[Any]:
    """What a variable tensor holds after a reset: 0, as a real value or as a code.

    Source: ResetVariableTensor (tensorflow/lite/core/subgraph.cc, v2.14.0): the zero point for int8, else zero bytes.
    """
    if not codes:
        return np.zeros(tensor.shape, real_dtype(tensor))
    q = tensor.quantization
    zero = int(q.zero_point.ravel()[0]) if q is not None and q.zero_point.size and tensor.dtype == "int8" else 0
    return np.full(tensor.shape, zero, numpy_dtype(tensor.dtype))


def _uses(node: Node, handles: dict[int, Handle]) -> list[tuple[int, int]]:
    """The variables a node uses, each with a tensor of its shape."""
    if node.op == "READ_VARIABLE" and node.inputs[0] in handles:
        return [(node.inputs[0], node.outputs[0])]
    if node.op == "ASSIGN_VARIABLE" and node.inputs[0] in handles:
        return [(node.inputs[0], node.inputs[1])]
    return [(t, t) for t in node.inputs if t in handles and handles[t].kind == "tensor"]


def real_dtype(tensor: Tensor) -> Any:
    """The type a tensor's values have in the model: real values stand for codes."""
    return np.dtype("float32") if tensor.is_quantized else numpy_dtype(tensor.dtype)
