"""Say what a graph of batch one does along first axes such that a batch can be there.

Given:    %y (4, 9, 8) = RESHAPE(%x (1, 4, 9, 8), [4, 9, 8])
          %m (9) = MEAN(%x (1, 9, 8), axes 0 and 2)
Result:   %y (4, 9, 8) = RESHAPE(%x, [-1, 9, 8])
          %m (9) = RESHAPE(MEAN(RESHAPE(%x, [-1, 1, 9, 8]), axes 1 and 3), [-1])

For one sample nothing changes. For N, every first axis is N times as long, sample after sample, if what works along it
is given an axis of its own for the samples, and what takes space apart keeps the parts of a sample together. Converters
of PyTorch's networks drop the axis of the batch, or join it to that of attention heads or windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import Graph, Node, Tensor

# Two operands by numpy's rules of broadcasting, which count axes from the last.
BROADCASTING = frozenset(
    {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "POW", "ATAN2", "FLOOR_DIV", "FLOOR_MOD"}
    | {"EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR"}
    | {"SELECT_V2", "BATCH_MATMUL"}
)
# Which input says the axes.
AXES = dict.fromkeys(("SUM", "MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ALL", "REDUCE_ANY"), (1,))
AXES |= {"CUMSUM": (1,), "REVERSE_V2": (1,), "ARG_MAX": (1,), "ARG_MIN": (1,), "SPLIT": (0,), "SPLIT_V": (2,)}
AXIS = frozenset({"CONCATENATION", "PACK", "UNPACK", "GATHER"})  # an option
# Inputs with an entry for each axis, and that of the axis of samples.
ENTRIES: Mapping[str, Mapping[int, Any]] = {
    "TRANSPOSE": {1: 0},
    "SLICE": {1: 0, 2: -1},
    "STRIDED_SLICE": {1: 0, 2: 0, 3: 1},
    "PAD": {1: (0, 0)},
    "PADV2": {1: (0, 0)},
    "MIRROR_PAD": {1: (0, 0)},
    "TILE": {1: 1},
}
BLOCKS = frozenset({"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"})
LIFTED = "lifted"  # an option of an operator that has an axis more than in the file, where axes may decide its kernel
MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def per_sample(graph: Graph) -> Graph:
    """The same with operators that give each sample its own results. graph: of one sample, its shapes known."""
    writer = _Writer(graph, list(graph.tensors))
    varies = set(graph.inputs)
    for node in graph.nodes:
        moving = [i for i, t in enumerate(node.inputs) if t in varies]
        varies.update(node.outputs if moving else ())
        if not moving:
            writer.nodes.append(node)
        elif node.op == "RESHAPE" or (node.op in ("SQUEEZE", "EXPAND_DIMS") and _moves_first_axis(node, graph)):
            writer.reshape(node.index, node.inputs[moving[0]], node.outputs[0])
        elif node.op == "BROADCAST_TO":
            writer.tile(node)
        elif node.op in BLOCKS and moving == [0] and all(graph.tensors[t].data is not None for t in node.inputs[1:]):
            writer.blocks(node)
        elif node.op == "GATHER_ND" and moving == [0] and _has_places(graph.tensors[node.inputs[1]]):
            writer.gather(node)
        elif works_on_first_axis(node, graph, moving):
            writer.lift(node, moving)
        else:
            writer.nodes.append(writer.whole(node))
    return replace(graph, tensors=tuple(writer.tensors), nodes=tuple(writer.nodes))


def _has_places(indices: Tensor) -> bool:
    """Whether the indices of elements are known, and name any axis."""
    return indices.data is not None and indices.data.ndim > 0 and indices.data.shape[-1] > 0


def _moves_first_axis(node: Node, graph: Graph) -> bool:
    """Whether an axis comes or goes at the place of the first."""
    rank = len(graph.tensors[node.inputs[0]].shape)
    if node.op == "SQUEEZE":
        return 0 in [a % rank for a in node.options["squeeze_dims"] or (0,)]
    axis = graph.tensors[node.inputs[1]].data
    return axis is not None and 0 in np.ravel(axis) % (rank + 1)


def works_on_first_axis(node: Node, graph: Graph, moving: Sequence[int]) -> bool:
    """Whether an operator does not do the same with each element of the first axis, and `lift` knows it."""
    shape, result = (graph.tensors[t].shape for t in (node.inputs[moving[0]], node.outputs[0]))
    if node.op in BROADCASTING:
        return _broadcasts_first_axis(node, graph, moving)
    if node.op in AXIS:
        axis = int(node.options["axis"]) % len(result if node.op == "PACK" else shape)
        return axis == 0 and len(moving) == (1 if node.op == "GATHER" else len(node.inputs)) and moving[0] == 0
    known = [graph.tensors[node.inputs[i]].data for i in (*ENTRIES.get(node.op, ()), *AXES.get(node.op, ()))]
    if not shape or any(data is None for data in known):
        return False
    if node.op in AXES:
        return 0 in np.ravel(known[0]) % len(shape)
    if node.op in ("SLICE", "STRIDED_SLICE"):
        drops = any(node.options.get(mask, 0) & 1 for mask in ("new_axis_mask", "shrink_axis_mask"))
        return shape[0] != 1 or drops or (node.op == "STRIDED_SLICE" and np.ravel(known[2])[:1] != 1)
    return node.op in ENTRIES and bool(np.any(np.asarray(known[0])[0] != ENTRIES[node.op][1]))


def _broadcasts_first_axis(node: Node, graph: Graph, moving: Sequence[int]) -> bool:
    """Whether operands meet there that are not as long as each other, or of which one is a constant."""
    result = graph.tensors[node.outputs[0]].shape
    if node.op == "BATCH_MATMUL" and len(result) == 2 and (moving != [0] or node.options["adj_x"]):
        return True  # it is no batch
    for i, shape in enumerate(graph.tensors[t].shape for t in node.inputs):
        along = len(shape) == len(result)
        if (not along or shape[:1] != result[:1]) if i in moving else (along and shape[:1] != (1,)):
            return True
    return False


@dataclass
class _Writer:
    graph: Graph
    tensors: list[Tensor]
    nodes: list[Node] = field(default_factory=list)

    def reshape(self, index: int | None, source: int, target: int) -> None:
        """index: the number of the file's operator that it is, None for one that the file does not have."""
        shape = (-1, *self.tensors[target].shape[1:])
        self.nodes.append(Node(self.number(index), "RESHAPE", (source,), (target,), {"new_shape": shape}))

    def number(self, index: int | None) -> int:
        """A node's: the file's operators keep theirs, also where a pass has left some of them out."""
        return 1 + max(node.index for node in self.graph.nodes) + len(self.nodes) if index is None else index

    def lift(self, node: Node, moving: Sequence[int]) -> None:
        """The same with an axis for the samples before the others."""
        rank = max(len(self.tensors[t].shape) for t in (*node.inputs, *node.outputs) if t >= 0)
        inputs = list(node.inputs)
        for i in moving:
            x = self.tensors[node.inputs[i]]
            ones = (1,) * (rank - len(x.shape) if node.op in BROADCASTING else 0)
            inputs[i] = self.tensor(x, (1, *ones, *x.shape))
            self.reshape(None, x.index, inputs[i])
        for i in AXES.get(node.op, ()):
            axes = np.asarray(self.tensors[inputs[i]].data) % len(self.tensors[node.inputs[moving[0]]].shape)
            inputs[i] = self.constant(inputs[i], np.asarray(axes + 1))  # of a single axis NumPy makes a plain number
        for i, entry in ENTRIES.get(node.op, {}).items():
            entries = np.asarray(self.tensors[inputs[i]].data) + (node.op == "TRANSPOSE")
            inputs[i] = self.constant(inputs[i], np.concatenate([np.asarray([entry], entries.dtype), entries]))
        results = [self.tensor(self.tensors[t], (1, *self.tensors[t].shape)) for t in node.outputs]
        options = _lifted_options(node)
        self.nodes.append(replace(node, inputs=tuple(inputs), outputs=tuple(results), options=options))
        for source, target in zip(results, node.outputs, strict=True):
            self.reshape(None, source, target)

    def tile(self, node: Node) -> None:
        """What is broadcast to a shape: repeated along axes that it has."""
        x, y = self.tensors[node.inputs[0]], self.tensors[node.outputs[0]]
        shape = (1, *(1,) * (len(y.shape) - len(x.shape)), *x.shape)
        source, result = self.tensor(x, shape), self.tensor(y, (1, *y.shape))
        multiples = [new // old for new, old in zip((1, *y.shape), shape, strict=True)]
        inputs = (source, self.constant(node.inputs[1], np.array(multiples, np.int32)))
        self.reshape(None, x.index, source)
        self.nodes.append(replace(node, op="TILE", inputs=inputs, outputs=(result,), options={}))
        self.reshape(None, result, y.index)

    def gather(self, node: Node) -> None:
        """What constant indices pick from the one sample, from each: by their places among all of its elements."""
        x, y = self.tensors[node.inputs[0]], self.tensors[node.outputs[0]]
        indices = np.asarray(self.tensors[node.inputs[1]].data)
        within, rest = x.shape[: indices.shape[-1]], x.shape[indices.shape[-1] :]
        strides = np.cumprod((1, *within[:0:-1]))[::-1]
        source, result = self.tensor(x, (1, math.prod(within), *rest)), self.tensor(y, (1, *y.shape))
        places = self.constant(node.inputs[1], (indices @ strides).astype(indices.dtype))
        self.reshape(None, x.index, source)
        options = {"axis": 1, "batch_dims": 0}
        self.nodes.append(replace(node, op="GATHER", inputs=(source, places), outputs=(result,), options=options))
        self.reshape(None, result, y.index)

    def blocks(self, node: Node) -> None:
        """What takes space apart into the batch, or puts it together: the parts of each sample stay side by side."""
        x, y = (self.tensors[t] for t in (node.inputs[0], node.outputs[0]))
        counts, edges = (np.asarray(self.tensors[t].data) for t in node.inputs[1:])
        whole, part = (x, y) if node.op == "SPACE_TO_BATCH_ND" else (y, x)
        rank = counts.size
        small, rest = part.shape[1 : 1 + rank], part.shape[1 + rank :]
        mixed = [d for pair in zip(small, counts.tolist(), strict=True) for d in pair]
        even = [a * b for a, b in zip(mixed[::2], mixed[1::2], strict=True)]
        within = self.tensor(whole, (1, *mixed, *rest))
        before = self.tensor(whole, (1, *mixed[1::2], *small, *rest))
        padded = self.tensor(whole, (1, *even, *rest)) if edges.any() else whole.index
        last = range(2 * rank + 1, 2 * rank + 1 + len(rest))
        order = np.array([0, *range(2, 2 * rank + 1, 2), *range(1, 2 * rank, 2), *last], np.int32)
        unmoved = np.zeros((len(rest), 2), edges.dtype)
        edges = np.concatenate([np.zeros((1, 2), edges.dtype), edges, unmoved])
        if whole is x:
            if padded != x.index:
                self.move("PAD", x.index, padded, edges)
            self.reshape(None, padded, within)
            self.move("TRANSPOSE", within, before, order)
            self.reshape(node.index, before, y.index)
        else:
            self.reshape(None, x.index, before)
            self.move("TRANSPOSE", before, within, np.argsort(order))
            self.reshape(None if padded != y.index else node.index, within, padded)
            if padded != y.index:
                self.move("SLICE", padded, y.index, edges[:, 0], np.array([-1, *y.shape[1:]]), index=node.index)

    def move(self, op: str, source: int, target: int, *constants: NDArray[Any], index: int | None = None) -> None:
        """An operator that moves values as constants say; index: as `reshape` takes it."""
        inputs = []
        for data in constants:
            inputs.append(len(self.tensors))
            shape = tuple(data.shape)
            self.tensors.append(Tensor(inputs[-1], "", "int32", shape, shape, data=data.astype(np.int32)))
        self.nodes.append(Node(self.number(index), op, (source, *inputs), (target,)))

    def whole(self, node: Node) -> Node:
        """A slice that takes the one sample: it takes all there are."""
        if self.tensors[node.outputs[0]].shape[:1] != (1,):
            return node
        if node.op == "SLICE" and self.tensors[node.inputs[2]].data is not None:
            size = np.array(self.tensors[node.inputs[2]].data)
            size[0] = -1
            return replace(node, inputs=(*node.inputs[:2], self.constant(node.inputs[2], size)))
        if node.op == "STRIDED_SLICE" and not node.options["ellipsis_mask"] & 1:
            masks = {name: int(node.options[name]) | 1 for name in ("begin_mask", "end_mask")}
            return replace(node, options={**node.options, **masks})
        return node

    def tensor(self, like: Tensor, shape: tuple[int, ...]) -> int:
        self.tensors.append(replace(like, index=len(self.tensors), name="", shape=shape, shape_signature=shape))
        return len(self.tensors) - 1

    def constant(self, like: int, data: NDArray[Any]) -> int:
        index = self.tensor(self.tensors[like], data.shape)
        self.tensors[index] = replace(self.tensors[index], data=data)
        return index


def _lifted_options(node: Node) -> Mapping[str, Any]:
    options = {**node.options, LIFTED: True}
    if node.op in AXIS:
        return {**options, "axis": 1}
    if node.op == "STRIDED_SLICE":
        masks = {name: int(node.options[name]) << 1 | (name in ("begin_mask", "end_mask")) for name in MASKS}
        return {**options, **masks}
    return options
