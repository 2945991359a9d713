"""The one intermediate representation: what a .tflite file says, in plain frozen values.

A `Model` holds `Graph`s (the file's subgraphs), a graph holds `Node`s and `Tensor`s. One operator of the file is one
node. Identity is the index in the file: a tensor is (subgraph, tensor index); names are for people, they may be
missing or doubled. Passes take a graph and return a graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ABSENT = -1  # an optional input that is not given


@dataclass(frozen=True)
class Quantization:
    """real = scale * (code - zero_point), per tensor, per slice of `axis`, or per block.

    scale: (C,) float32. zero_point: (C,) int64. C is 1, or the tensor's extent along `axis`. With block_size B, both
    are (..., K / B) for a tensor of (..., K): B consecutive elements share a scale.
    """

    scale: NDArray[np.float32]
    zero_point: NDArray[np.int64]
    axis: int = 0
    block_size: int = 0

    @property
    def per_channel(self) -> bool:
        return self.scale.size > 1

    def transpose(self, perm: tuple[int, ...]) -> Quantization:
        """That of the tensor with its axes in this order; not per block."""
        return replace(self, axis=perm.index(self.axis)) if self.per_channel else self

    def along(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Scale and zero point, shaped to broadcast against a tensor of `rank` dimensions."""
        if self.block_size:
            return self.scale.repeat(self.block_size, -1), self.zero_point.repeat(self.block_size, -1)
        shape = [1] * rank
        if self.per_channel:
            shape[self.axis] = -1
            return self.scale.reshape(shape), self.zero_point.reshape(shape)
        return self.scale.reshape(shape), self.zero_point.reshape(shape)


class Step(NamedTuple):
    """One of the moves that take a constant from the file's layout to another."""

    kind: str  # transpose, reshape, part
    argument: tuple[int, ...]
    before: tuple[int, ...]  # the shape


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    dtype: numpy's name, or "string", "resource", "variant", "int4", "int2", "uint4". shape: as the file has it (1 where
    it is not known). shape_signature: the same with -1 for what may vary. data: the constant's codes, or None for what
    is computed at run time.
    """

    index: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    quantization: Quantization | None = None
    data: NDArray[Any] | None = field(default=None, repr=False)
    is_variable: bool = False
    stored_in: int | None = None  # a folded constant: the tensor of the file that holds its codes
    is_sparse: bool = False  # the file stores it without its zeros; `data` has them
    home: tuple[int, int] | None = None  # of what was a variable: the constant (subgraph, tensor) that it starts as
    steps: tuple[Step, ...] = ()  # from that constant's layout to this one

    @property
    def is_constant(self) -> bool:
        return self.data is not None

    @property
    def is_quantized(self) -> bool:
        """Codes of a real number: an integer type with a scale. int32 is a bias or an accumulator."""
        return self.quantization is not None and self.dtype in QUANTIZED_TYPES

    @property
    def nbytes(self) -> int:
        """What it takes in memory, as far as its shape is known."""
        return math.prod(self.shape) * itemsize(self.dtype)


# An element takes less than a byte of the file, which begins with the low bits.
PACKED_BITS = {"int4": 4, "int2": 2, "uint4": 4}
QUANTIZED_TYPES = (*PACKED_BITS, "int8", "uint8", "int16", "int32", "int64")
CODE_RANGE = {
    "int2": (-2, 1),
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-32768, 32767),
}


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy type that holds a tensor's codes in memory (int4 and int2 are held in int8, uint4 in uint8)."""
    packed = {name: "int8" if name.startswith("int") else "uint8" for name in PACKED_BITS}
    held = {**packed, "string": "object", "resource": "int32", "variant": "int32"}
    return np.dtype(held.get(dtype, dtype))


def itemsize(dtype: str) -> int:
    """Bytes an element takes in memory; for the types numpy has no name for, what their own name says."""
    if dtype == "string":
        return 1  # of its buffer: the length is in the values
    try:
        return numpy_dtype(dtype).itemsize
    except TypeError:
        bits = "".join(c for c in dtype.partition("_")[0] if c.isdigit())
        return max(1, int(bits or 8) // 8)


@dataclass(frozen=True)
class Node:
    """An operator of the file.

    op: the schema's name (`CONV_2D`), or `CUSTOM:name`. inputs: tensor indices, ABSENT for an optional one that is not
    given. options: the schema's option names in snake_case. activation: the schema's name of the fused activation.
    intermediates: tensors that hold no data but the quantization of what the operator computes inside.
    """

    index: int
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    activation: str = "NONE"
    version: int = 1
    intermediates: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The layer's name: `conv2d_012`. Stable: the operator and its number in the file."""
        word = self.op.partition(":")[2] or SHORT_NAMES.get(self.op, self.op.lower())
        return f"{''.join(c if c.isalnum() else '_' for c in word)}_{self.index:03d}"


# Keras spells these words so; people who read model.summary() know them.
SHORT_NAMES = {
    "CONV_2D": "conv2d",
    "DEPTHWISE_CONV_2D": "depthwise_conv2d",
    "FULLY_CONNECTED": "dense",
    "TRANSPOSE_CONV": "conv2d_transpose",
    "AVERAGE_POOL_2D": "average_pooling2d",
    "MAX_POOL_2D": "max_pooling2d",
    "CONCATENATION": "concatenate",
}


@dataclass(frozen=True)
class Graph:
    """A subgraph of the file. Nodes are in the file's order of execution.

    input_names, output_names: those of a signature; without one, the tensors have names of their own.
    """

    index: int
    name: str
    tensors: tuple[Tensor, ...]
    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: tuple[str, ...] = ()
    output_names: tuple[str, ...] = ()

    def producers(self) -> dict[int, Node]:
        """Tensor index -> the node that computes it."""
        return {t: node for node in self.nodes for t in node.outputs}

    def consumers(self) -> dict[int, tuple[Node, ...]]:
        """Tensor index -> the nodes that read it, in order."""
        table: dict[int, list[Node]] = {}
        for node in self.nodes:
            for t in dict.fromkeys(node.inputs):
                table.setdefault(t, []).append(node)
        return {t: tuple(nodes) for t, nodes in table.items()}

    def home(self, index: int) -> tuple[int, int]:
        """The constant of the file that a tensor is: its subgraph and index there."""
        own = None if index == ABSENT else self.tensors[index].home
        return own or (self.index, index)

    def replace_nodes(self, nodes: tuple[Node, ...]) -> Graph:
        return replace(self, nodes=nodes)

    def label(self, index: int) -> str:
        """How a message names a tensor: its number and, where it has one, its name."""
        if index == ABSENT:
            return "(none)"
        name = self.tensors[index].name
        return f"#{index} {name}" if name else f"#{index}"


@dataclass(frozen=True)
class Signature:
    """A named entry point: names of inputs and outputs -> tensor indices of one subgraph."""

    key: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class Model:
    """A .tflite file."""

    sha256: str
    size: int
    version: int
    description: str
    graphs: tuple[Graph, ...]
    signatures: tuple[Signature, ...]
    metadata: tuple[str, ...]  # names of the metadata buffers

    @property
    def main(self) -> Graph:
        return self.graphs[0]
