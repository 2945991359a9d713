"""One operator, its inputs and options, as a .tflite file: the data of the emitter tests.

Case("CONV_2D", [rand(1, 8, 8, 3), const(rand(4, 3, 3, 3)), const(rand(4))], {"padding": "SAME", ...})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

import tflite_build as build
from liteback.ir import PACKED_BITS
from liteback.lift import ENUM_OPTIONS, options_class, snake
from liteback.packing import pack


@dataclass(frozen=True)
class Arg:
    """An input of the operator: an array (of codes, where scale is given), constant or fed; None: not given.

    variable: a variable tensor, of which the array is but the shape and type. varies: the axes whose extent the file
    leaves open. dtype: in the file, where it is a narrower one than the array's.
    """

    array: NDArray[Any] | None
    constant: bool = False
    scale: Sequence[float] | float = ()
    zero_point: Sequence[int] | int = ()
    axis: int = 0
    variable: bool = False
    varies: Sequence[int] = ()
    dtype: str = ""

    def stored(self) -> tuple[str, Any]:
        """The type in the file, and the data, as they lie there; None where it is fed."""
        dtype = self.dtype or ("string" if self.array.dtype == object else str(self.array.dtype))
        data: Any = self.array if self.constant else None
        return dtype, data if data is None or dtype not in PACKED_BITS else pack(data, PACKED_BITS[dtype])


@dataclass(frozen=True)
class Out:
    """A result: the interpreter says its shape. varies: the axes whose extent the file leaves open.

    shape: where a kernel asks the file for it.
    """

    dtype: str = "float32"
    scale: Sequence[float] | float = ()
    zero_point: Sequence[int] | int = ()
    varies: Sequence[int] = ()
    shape: Sequence[int] = ()


@dataclass(frozen=True)
class Limitation:
    """A known gap: why the case cannot agree. A limitation that no longer holds fails the test."""

    reason: str


@dataclass(frozen=True)
class Case:
    """options: the schema's own names in snake_case, enums by name. tolerance: of the range, or LSB when quantized.

    expected: what TensorFlow 2.21's interpreter gives, where the board's runtime is older and crashes, or
    reads memory that is not its own.
    intermediates: the scales of what the operator computes inside.
    newer: the board's older runtime has no kernel for it: ai_edge_litert 2.3 is asked.
    regions: for each further subgraph its one operator, of two numbers; "" for one that gives the second of them.
    """

    op: str
    inputs: Sequence[Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[Out] = (Out(),)
    name: str = ""
    version: int = 1
    tolerance: float | None = None
    limitation: Limitation | None = None
    expected: Sequence[NDArray[Any]] = ()
    intermediates: Sequence[Out] = ()
    newer: bool = False
    regions: Sequence[str] = ()

    def __str__(self) -> str:
        return f"{self.op}-{self.name}" if self.name else self.op

    @property
    def args(self) -> list[Arg]:
        return [a if isinstance(a, Arg) else Arg(None if a is None else np.asarray(a)) for a in self.inputs]

    @property
    def quantized(self) -> bool:
        return any(a.scale != () for a in self.args) or any(o.scale != () for o in self.outputs)

    def model(self, shapes: Sequence[Sequence[int]] | None = None) -> bytes:
        """The file; the outputs have the given shapes, or none (the interpreter finds them)."""
        tensors, indices, fed = [], [], []
        for arg in self.args:
            if arg.array is None:
                indices.append(-1)
                continue
            indices.append(len(tensors))
            if not (arg.constant or arg.variable):
                fed.append(len(tensors))
            dtype, data = arg.stored()
            name = f"in{len(tensors)}"
            signature = _signature(arg.array.shape, arg.varies)
            tensors.append(
                build.Tensor(
                    arg.array.shape, dtype, data, name, arg.scale, arg.zero_point, arg.axis, arg.variable, signature
                )
            )
        first = len(tensors)
        for k, out in enumerate(self.outputs):
            shape = shapes[k] if shapes is not None else out.shape
            signature = _signature(shape, out.varies) if shapes is not None else None
            tensors.append(
                build.Tensor(shape, out.dtype, None, f"out{k}", out.scale, out.zero_point, shape_signature=signature)
            )
        outputs = list(range(first, len(tensors)))
        inner = [len(tensors) + k for k in range(len(self.intermediates))]
        tensors += [build.Tensor((0,), o.dtype, None, "", o.scale, o.zero_point) for o in self.intermediates]
        op = build.Op(self.op, indices, outputs, self.schema_options(), self.version, inner)
        return build.build_model(build.Subgraph(tensors, [op], fed, outputs), *map(self._region, self.regions))

    def _region(self, op: str) -> build.Subgraph:
        numbers = [build.Tensor((), self.outputs[0].dtype)] * 3
        nodes = [build.Op(op, [0, 1], [2])] if op else []
        return build.Subgraph(numbers, nodes, [0, 1], [2 if op else 1], "region")

    def feeds(self) -> dict[int, NDArray[Any]]:
        """Tensor index -> what the interpreter is fed."""
        given = [a for a in self.args if a.array is not None]
        return {i: a.array for i, a in enumerate(given) if not (a.constant or a.variable) and a.array is not None}

    def schema_options(self) -> Any:
        if self.op.startswith("CUSTOM:"):
            return _flexbuffer(self.options)
        cls = options_class(self.op)
        if cls is None:
            return None
        options, fields = cls(), {}
        for name in vars(options):
            fields[snake(name)] = name
        for name, value in self.options.items():
            enum = {v: k for k, v in ENUM_OPTIONS.get(name, {}).items()}
            if name == "fused_activation_function":
                enum = {k: v for k, v in vars(schema.ActivationFunctionType).items() if isinstance(v, int)}
            setattr(options, fields[name], enum.get(value, value) if isinstance(value, str) else value)
        return options


def _flexbuffer(options: Mapping[str, Any]) -> bytes:
    """A map; a tuple is a typed vector in it, as converters write numbers of one kind."""
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in options.items():
            builder.Key(name)
            if isinstance(value, tuple):
                builder.TypedVectorFromElements(value)
            else:
                builder.Add(value)
    return bytes(builder.Finish())


def _signature(shape: Sequence[int], varies: Sequence[int]) -> Sequence[int] | None:
    return [-1 if axis in varies else extent for axis, extent in enumerate(shape)] if varies else None


def rand(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> NDArray[np.float32]:
    """Reproducible floats."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def ints(*shape: int, low: int = -10, high: int = 10, dtype: str = "int32", seed: int = 0) -> NDArray[Any]:
    """Reproducible integers of [low, high)."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def const(value: Any, dtype: str | None = None) -> Arg:
    """A constant input."""
    return Arg(np.asarray(value, dtype), constant=True)


def varying(value: Any, *axes: int) -> Arg:
    """An input of which the file leaves the extent along `axes` open."""
    return Arg(np.asarray(value), varies=axes)


def variable(*shape: int, dtype: str = "float32", scale: Any = (), zero_point: Any = ()) -> Arg:
    """A variable tensor: the operator's state."""
    return Arg(np.zeros(shape, dtype), scale=scale, zero_point=zero_point, variable=True)


def codes(*shape: int, dtype: str = "int8", scale: float = 0.05, zero_point: int = 0, seed: int = 0) -> Arg:
    """A quantized input of random codes over the whole range."""
    info = np.iinfo(dtype)
    array = np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)
    return Arg(array, scale=scale, zero_point=zero_point)


def fixed(arg: Arg) -> Arg:
    """The same input as a constant of the file."""
    return replace(arg, constant=True)
