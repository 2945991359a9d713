"""A layer for the operators that stock Keras has no equal of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.registry import Emitter, kernel_of
from liteback.emit.variables import assign
from liteback.emit.weight import Weight

TENSOR, ABSENT = "tensor", "absent"
LARGE = 64  # elements; a constant beyond that is kept with the weights, not in the configuration


@dataclass(frozen=True)
class OutputSpec:
    """What the file says of a result, as far as a kernel may ask (`out`)."""

    shape: tuple[int, ...]
    dtype: str


def dense(inputs: Any) -> Any:
    """KerasTensors as what our layers get; Keras takes a product with a constant for sparse (ops.multiply)."""
    if isinstance(inputs, (list, tuple)):
        return [keras.KerasTensor(t.shape, t.dtype) for t in inputs]
    return keras.KerasTensor(inputs.shape, inputs.dtype)


class ConstantsLayer(keras.layers.Layer):
    """An operator some of whose inputs are constants of the file.

    arguments: for each input of the operator `tensor`, `absent`, {"value": ..., "dtype": ...} for a small constant, or
    {"weight": shape, "dtype": ..., "trainable": ...}.
    """

    def __init__(self, arguments: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)  # float64 stays float64
        self.arguments = list(arguments)
        for position, argument in enumerate(self.arguments):
            if isinstance(argument, dict) and "weight" in argument:
                self._add_constant(position, argument)

    def assign(self, inputs: Sequence[Any]) -> None:
        """Put the operator's constants into the variables that hold them."""
        for position, value in enumerate(inputs):
            if self.constant(position) is not None:
                assign(self.constant(position), np.asarray(value))

    def _add_constant(self, position: int, argument: dict[str, Any]) -> None:
        variable = self.add_weight(
            shape=argument["weight"],
            dtype=argument["dtype"],
            initializer="zeros",
            trainable=argument["trainable"],
            name=f"input_{position}",
        )
        setattr(self, f"input_{position}", variable)

    def constant(self, position: int) -> Any:
        """The variable that holds an input of the operator, or None."""
        return getattr(self, f"input_{position}", None)

    def compute_output_spec(self, inputs: Any) -> Any:
        return super().compute_output_spec(dense(inputs))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "arguments": self.arguments}


@keras.saving.register_keras_serializable(package="liteback")
class OpLayer(ConstantsLayer):
    """One operator of TensorFlow Lite, computed by the TensorFlow function registered for it.

    op: the schema's name. options: the schema's options. arguments: see `ConstantsLayer`. outputs: shape and dtype of
    each result in the file. extents: of each result, what holds in every run, None for what may vary; nothing where
    the file does not tell.
    """

    def __init__(
        self,
        op: str,
        options: dict[str, Any],
        arguments: Sequence[Any],
        outputs: Sequence[Sequence[Any]],
        extents: Sequence[Sequence[int | None]] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(arguments, **kwargs)
        self.op, self.options, self.outputs = op, dict(options), [list(o) for o in outputs]
        self.extents = [list(e) for e in extents]

    @classmethod
    def of(
        cls,
        op: str,
        options: dict[str, Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        name: str,
        extents: Sequence[Sequence[int | None]] = (),
    ) -> OpLayer:
        """The layer of a node. inputs: KerasTensors, Weights, numpy arrays or None; outputs: tensors of the IR."""
        layer = cls(
            op,
            {k: _storable(v) for k, v in options.items() if k in _kernel(op).keywords},
            [describe(value) for value in inputs],
            [(list(t.shape), t.dtype) for t in outputs],
            extents,
            name=name,
        )
        layer.assign(inputs)
        return layer

    def call(self, inputs: Any) -> Any:
        tensors = iter(inputs if isinstance(inputs, (list, tuple)) else [inputs])
        values = [self._value(i, argument, tensors) for i, argument in enumerate(self.arguments)]
        kernel = _kernel(self.op)
        options = {name: _option(value) for name, value in self.options.items()}
        specs = [OutputSpec(tuple(shape), dtype) for shape, dtype in self.outputs]
        if "out" in kernel.keywords:
            options["out"] = specs[0] if len(specs) == 1 else specs
        results = kernel.fn(*values, **options)
        listed = results if isinstance(results, (list, tuple)) else [results]
        for result, spec in zip(listed, specs, strict=True):
            if result.shape.rank is None:  # Keras must know it; TensorFlow cannot tell, but the file can
                result.set_shape([None] * len(spec.shape))
        for result, extents in zip(listed, self.extents, strict=False):
            if result.shape.rank == len(extents):
                result.set_shape(extents)
        return results

    def _value(self, position: int, argument: Any, tensors: Any) -> Any:
        if argument == TENSOR:
            return next(tensors)
        if argument == ABSENT:
            return None
        if "weight" in argument:
            return tf.convert_to_tensor(self.constant(position))
        return array_of(argument)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "op": self.op, "options": self.options, **self._shapes()}

    def _shapes(self) -> dict[str, Any]:
        known = any(d is not None for extents in self.extents for d in extents)
        return {"outputs": self.outputs, **({"extents": self.extents} if known else {})}


def _kernel(op: str) -> Emitter:
    kernel = kernel_of(op)
    if kernel is None:
        raise NotImplementedError(f"nothing computes {op}; register a custom operator before a model is loaded")
    return kernel


def describe(value: Any) -> Any:
    """How an input of the operator is written into the configuration."""
    if value is None:
        return ABSENT
    if isinstance(value, Weight):
        return {"weight": list(value.shape), "dtype": str(value.dtype), "trainable": True}
    if not isinstance(value, np.ndarray):
        return TENSOR
    if value.size > LARGE and value.dtype.kind in "fiu":
        return {"weight": list(value.shape), "dtype": str(value.dtype), "trainable": False}
    if value.dtype == object:
        return {
            "value": [v.decode("latin-1") for v in value.ravel()],
            "dtype": "string",
            "shape": list(value.shape),
        }
    if value.dtype.kind == "c":
        parts = np.stack([value.real, value.imag]).astype(np.float64)
        return {"value": parts.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    return {"value": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}


def array_of(argument: dict[str, Any]) -> NDArray[Any]:
    """A small constant, as `describe` wrote it into the configuration."""
    if argument["dtype"] == "string":
        return np.array([v.encode("latin-1") for v in argument["value"]], object).reshape(argument["shape"])
    if argument["dtype"].startswith("complex"):
        real, imaginary = np.array(argument["value"], np.float64)
        return np.asarray(real + 1j * imaginary, argument["dtype"]).reshape(argument["shape"])
    return np.array(argument["value"], argument["dtype"]).reshape(argument["shape"])


def _storable(value: Any) -> Any:
    return {"hex": value.hex()} if isinstance(value, bytes) else value


def _option(value: Any) -> Any:
    """JSON has lists and texts only; the schema's vectors are tuples, a custom operator's options may be bytes."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    return tuple(value) if isinstance(value, list) else value


def beside(anchor: Any, known: NDArray[Any]) -> Any:
    """A known array as what stock operations make of a tensor of the model; None where they cannot, or it is large."""
    if known.dtype.kind not in "fiu" or anchor.dtype == "string" or known.size > LARGE:
        return None
    nothing = keras.ops.cast(keras.ops.sum(keras.ops.zeros_like(anchor)), str(known.dtype))
    return keras.ops.add(nothing, known)
