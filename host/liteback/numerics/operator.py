"""An operator as its integer kernel sees it, and which function computes which operator on codes.

    @exact("CONV_2D", variants=ROUNDINGS)
    def conv_2d(op, x, w, b=None): ...

An exact kernel takes the `Operator` and the operator's inputs in the schema's order: a tensor of codes, a numpy array
of codes for a constant, None for an optional input that is not given. It returns codes, in the type of the file, equal
bit for bit to what the device's kernel gives. Where kernel sets differ, `op.variant` says which one is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import ABSENT, CODE_RANGE, Graph, Node, Tensor

Kernel = Callable[..., Any]


@dataclass(frozen=True)
class Operand:
    """A tensor of an operator, without its values.

    scales, zero_points: (C,), C = 1 per tensor, 0 where it is not quantized.
    """

    dtype: str
    shape: tuple[int, ...]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int = 0
    block_size: int = 0

    @classmethod
    def of(cls, tensor: Tensor) -> Operand:
        q = tensor.quantization
        if q is None:
            return cls(tensor.dtype, tensor.shape, np.zeros(0, np.float32), np.zeros(0, np.int64))
        return cls(tensor.dtype, tensor.shape, q.scale, q.zero_point, q.axis, q.block_size)

    @property
    def quantized(self) -> bool:
        return self.scales.size > 0 and self.dtype in (*CODE_RANGE, "int32", "int64")

    @property
    def per_channel(self) -> bool:
        return self.scales.size > 1

    @property
    def scale(self) -> np.float32:
        """Of the whole tensor, as the kernels have it: float32."""
        return np.float32(self.scales.ravel()[0])

    @property
    def zero_point(self) -> int:
        return int(self.zero_points.ravel()[0]) if self.zero_points.size else 0

    def along(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scales and zero points, shaped to broadcast against a tensor of `rank` dimensions."""
        shape = [1] * rank
        if self.per_channel:
            shape[self.axis] = -1
        zero_points = self.zero_points if self.zero_points.size else np.zeros(1, np.int64)
        return self.scales.reshape(shape), np.broadcast_to(zero_points, self.scales.shape).reshape(shape)

    @property
    def spread_scales(self) -> NDArray[np.float32]:
        """Scales of channels, or of blocks, shaped to broadcast against the tensor."""
        return self.scales.repeat(self.block_size, -1) if self.block_size else self.along(len(self.shape))[0]

    @property
    def range(self) -> tuple[int, int]:
        """The smallest and the largest code."""
        if self.dtype in CODE_RANGE:
            return CODE_RANGE[self.dtype]
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def reach(self) -> int:
        """max |code - zero_point|."""
        low, high = self.range
        return max(self.zero_point - low, high - self.zero_point)

    def alike(self, other: Operand) -> bool:
        """Whether a code means the same in both."""
        return self.scale == other.scale and self.zero_point == other.zero_point

    def to_json(self) -> dict[str, Any]:
        values: dict[str, Any] = {"dtype": self.dtype, "shape": list(self.shape)}
        if self.scales.size:
            values |= {"scale": self.scales.tolist(), "zero_point": self.zero_points.tolist(), "axis": self.axis}
        return values | ({"block_size": self.block_size} if self.block_size else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Operand:
        scales = np.asarray(values.get("scale", ()), np.float32)
        zero_points = np.asarray(values.get("zero_point", ()), np.int64)
        shape, axis = tuple(values["shape"]), int(values.get("axis", 0))
        return cls(values["dtype"], shape, scales, zero_points, axis, int(values.get("block_size", 0)))


@dataclass(frozen=True)
class Operator:
    """A node and its tensors. activation: the schema's name of the fused one. variant: which kernel set's way."""

    op: str
    inputs: tuple[Operand | None, ...]
    outputs: tuple[Operand, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "NONE"
    intermediates: tuple[Operand, ...] = ()
    variant: str = ""

    @classmethod
    def of(cls, node: Node, graph: Graph) -> Operator:
        """The operator of a node, in no variant yet."""
        inputs = tuple(None if t == ABSENT else Operand.of(graph.tensors[t]) for t in node.inputs)
        outputs = tuple(Operand.of(graph.tensors[t]) for t in node.outputs)
        inner = tuple(Operand.of(graph.tensors[t]) for t in node.intermediates)
        return cls(node.op, inputs, outputs, dict(node.options), node.activation, inner)

    @property
    def on_codes(self) -> bool:
        """Whether it reads or writes codes of real numbers."""
        return any(o is not None and o.quantized and o.dtype in CODE_RANGE for o in (*self.inputs, *self.outputs))

    @property
    def kind(self) -> str:
        """The class of operators that one kernel set computes alike: `CONV_2D/int8`, `SOFTMAX/int8_int16`."""
        data = self.inputs[DATA.get(self.op, 0)] if len(self.inputs) > DATA.get(self.op, 0) else None
        dtype = (data or self.out).dtype
        widened = self.op in WIDENING and self.out.dtype == "int16" != dtype
        return f"{self.op}/{dtype}_int16" if widened else f"{self.op}/{dtype}"

    @property
    def out(self) -> Operand:
        return self.outputs[0]

    def input(self, position: int) -> Operand:
        """Raises: NotImplementedError where it is not given."""
        operand = self.inputs[position] if position < len(self.inputs) else None
        if operand is None:
            raise NotImplementedError(f"an exact kernel needs its input {position}")
        return operand

    def in_variant(self, variant: str) -> Operator:
        return replace(self, variant=variant)

    @property
    def clamp(self) -> tuple[int, int]:
        """The range of the result's codes that the fused activation leaves.

        Source: CalculateActivationRangeQuantized (tensorflow/lite/kernels/kernel_util.cc, v2.14.0).
        """
        low, high = self.out.range
        bottom, top = ACTIVATION_RANGES.get(self.activation, (None, None))  # kernels ignore any other
        if bottom is not None:
            low = max(low, self.code_of(bottom))
        if top is not None:
            high = min(high, self.code_of(top))
        return low, high

    def code_of(self, real: float) -> int:
        """The result's code of a real number: a float32 division, halves rounded away from zero."""
        ratio = float(np.float32(real) / self.out.scale)
        return self.out.zero_point + int(np.copysign(np.floor(abs(ratio) + 0.5), ratio))

    def to_json(self) -> dict[str, Any]:
        return {
            "op": self.op,
            "inputs": [None if o is None else o.to_json() for o in self.inputs],
            "outputs": [o.to_json() for o in self.outputs],
            "options": dict(self.options),
            "activation": self.activation,
            "intermediates": [o.to_json() for o in self.intermediates],
            "variant": self.variant,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Operator:
        return cls(
            values["op"],
            tuple(None if o is None else Operand.from_json(o) for o in values["inputs"]),
            tuple(map(Operand.from_json, values["outputs"])),
            {k: tuple(v) if isinstance(v, list) else v for k, v in values["options"].items()},
            values["activation"],
            tuple(map(Operand.from_json, values["intermediates"])),
            values["variant"],
        )


_OUTPUT_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "TRANSPOSE_CONV": 0}  # of a convolution's weights
DATA = {"TRANSPOSE_CONV": 2, "EMBEDDING_LOOKUP": 1}  # where an operator's data stands, if not first
WIDENING = {"QUANTIZE", "SOFTMAX"}  # have kernels of their own for int16 results

ACTIVATION_RANGES: Mapping[str, tuple[float | None, float | None]] = {
    "NONE": (None, None),
    "RELU": (0.0, None),
    "RELU6": (0.0, 6.0),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


@dataclass(frozen=True)
class Registered:
    """A kernel and, for each type of its first input ("" for any other), its variants, the reference's first."""

    fn: Kernel
    variants: Mapping[str, tuple[str, ...]]

    def variants_of(self, kind: str) -> tuple[str, ...]:
        """Of a class of operators; none where the kernel does not take their data: real values, unless declared."""
        whole = kind.partition("/")[2]
        dtype = whole.partition("_")[0]
        known = self.variants.get(whole) or self.variants.get(dtype)
        return known or (() if dtype == "float32" else self.variants[""])


EXACT: dict[str, Registered] = {}

# What moves values, compares or orders them, or holds them: codes pass through the operators of real values.
MOVING = frozenset(
    {
        "RESHAPE",
        "TRANSPOSE",
        "SLICE",
        "STRIDED_SLICE",
        "GATHER",
        "GATHER_ND",
        "PACK",
        "UNPACK",
        "SPLIT",
        "SPLIT_V",
        "SQUEEZE",
        "EXPAND_DIMS",
        "TILE",
        "REVERSE_V2",
    }
    | {
        "REVERSE_SEQUENCE",
        "BATCH_TO_SPACE_ND",
        "SPACE_TO_DEPTH",
        "DEPTH_TO_SPACE",
        "BROADCAST_TO",
        "MIRROR_PAD",
        "RESIZE_NEAREST_NEIGHBOR",
    }
    | {"SELECT", "SELECT_V2", "SCATTER_ND", "DYNAMIC_UPDATE_SLICE", "ARG_MAX", "ARG_MIN"}
    | {"TOPK_V2", "SHAPE", "RANK", "ZEROS_LIKE", "BITCAST", "VAR_HANDLE", "READ_VARIABLE"}
    | {"ASSIGN_VARIABLE", "CALL_ONCE", "IF", "WHILE", "CALL"}
    | {"STABLEHLO_CASE", "STABLEHLO_GATHER", "STABLEHLO_PAD", "STABLEHLO_SCATTER"}
    | {"DENSIFY", "FILL", "MATRIX_DIAG", "MATRIX_SET_DIAG", "ONE_HOT", "SPARSE_TO_DENSE", "UNIQUE", "WHERE"}
)


def exact(*ops: str, variants: Iterable[str] = ("plain",), **by_dtype: Iterable[str]) -> Callable[[Kernel], Kernel]:
    """Register the exact kernel of operators, and the ways in which kernel sets are known to compute them.

    by_dtype: other variants, where the first input is of that type: `float32=("single",)`.

    Raises:
        ValueError: one is registered already.
    """
    table = {"": tuple(variants), **{dtype: tuple(names) for dtype, names in by_dtype.items()}}

    def register(fn: Kernel) -> Kernel:
        for op in ops:
            if op in EXACT:
                raise ValueError(f"{op} is registered twice: {EXACT[op].fn.__qualname__} and {fn.__qualname__}")
            EXACT[op] = Registered(fn, table)
        return fn

    return register


def variants_of(kind: str) -> tuple[str, ...]:
    """The variants worth trying for a class of operators (`CONV_2D/int8`), the reference's first.

    Empty for what has no exact kernel: it moves values, computes with floats, or is not supported.
    """
    from liteback.numerics import kernels  # noqa: F401  (fills EXACT; loads TensorFlow)

    op = kind.partition("/")[0]
    return EXACT[op].variants_of(kind) if op in EXACT else ()


def is_moving(op: Operator) -> bool:
    """Whether an operator on codes is that of real values: it only moves them."""
    return op.op in MOVING


def unread_scales(op: Operator) -> str:
    """What is wrong with the scales of a convolution's weights; empty where there is one, or one for each output.

    A kernel reads one for each output, whatever axis the file says they are of. Where there are fewer, tflite-runtime
    2.14 reads what lies behind them, and later runtimes refuse the file.
    Source: Prepare (tensorflow/lite/kernels/conv.cc, v2.14.0 and v2.21.0).
    """
    weights = op.inputs[1] if op.op in _OUTPUT_AXES else None
    if weights is None or not weights.per_channel:
        return ""
    found, outputs = weights.scales.size, weights.shape[_OUTPUT_AXES[op.op]]
    if found == outputs:
        return ""
    own = f"its weights have {found} scales, along axis {weights.axis}"
    return f"{own}; a kernel reads one for each of {outputs} outputs"


def compute(op: Operator, inputs: Sequence[Any]) -> Any:
    """Run the exact kernel of an operator.

    Raises:
        NotImplementedError: there is none for these arguments.
    """
    if reason := unread_scales(op):
        raise NotImplementedError(reason)
    return EXACT[op.op].fn(op, *inputs)
