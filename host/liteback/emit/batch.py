"""A batch that is not known yet, in the arithmetic of shapes.

A file made from a Keras model computes shapes at run time: SHAPE -> STRIDED_SLICE -> PACK -> RESHAPE. To fold such a
chain while the batch is free, SHAPE gives the extent BATCH for it: a number that shape arithmetic carries along and
RESHAPE knows again. Where any other operator meets it, the batch cannot be freed.

Where a batch that varies is not the first axis all the way (a network that takes its steps apart), that number still
serves: it stands for the first extent of whatever tensor SHAPE was asked about, and a RESHAPE needs to be told all
extents but one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from liteback.emit.names import is_symbolic
from liteback.ir import Graph, Node

BATCH = 999_983  # a prime that no extent of a real tensor is a multiple of

SHAPE_ARITHMETIC = frozenset(
    {"CAST", "CONCATENATION", "EXPAND_DIMS", "GATHER", "IDENTITY", "MUL", "PACK", "REDUCE_PROD", "RESHAPE", "SLICE"}
    | {"SPLIT", "SPLIT_V", "SQUEEZE", "STRIDED_SLICE", "UNPACK"}
)
# What repeats a value so that there is one for each sample.
REPEATING = frozenset({"FILL", "BROADCAST_TO", "TILE"})
# What takes a shape with the batch in it, beside a tensor of the model.
SHAPED = REPEATING | {"RESHAPE", "TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"}


class UnknownBatch(Exception):
    """The batch cannot be freed: something needs its number, or it does not stay the first axis."""


def holds_batch(value: Any) -> bool:
    """Whether a known array holds the extent of the free batch, or a multiple of it."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu" or value.size > 64:
        return False
    return bool(np.any((value != 0) & (value % BATCH == 0)))


def check_arithmetic(op: str, inputs: Sequence[Any]) -> None:
    """Let only operators that do shape arithmetic, and the one that uses its result, have the extent of the batch.

    Raises:
        UnknownBatch: an input holds the free batch, and this operator needs the number.
    """
    allowed = SHAPED if any(map(is_symbolic, inputs)) else SHAPE_ARITHMETIC | REPEATING
    if op not in allowed and any(map(holds_batch, inputs)):
        raise UnknownBatch


def for_each_sample(source: Any, extents: Sequence[int], value: Any) -> Any:
    """value, which broadcasts to (1, *extents), as (batch, *extents). source: the tensor whose batch it is.

    Raises:
        UnknownBatch: value is the batch itself, or the source is not known.
    """
    dtype = str(value.dtype)
    if source is None or "string" in (source.dtype, dtype) or dtype == "object" or holds_batch(value):
        raise UnknownBatch
    nothing = ops.sum(ops.zeros_like(source), axis=tuple(range(1, len(source.shape))))
    nothing = ops.cast(ops.reshape(nothing, (-1, *[1] * len(extents))), dtype)
    nothing = ops.tile(nothing, (1, *extents))
    return ops.logical_or(nothing, value) if dtype == "bool" else ops.subtract(value, nothing)


def leads(extents: Any) -> bool:
    """Whether the first of some extents is the free batch.

    Raises:
        UnknownBatch: another one is.
    """
    extents = np.ravel(extents)
    if holds_batch(extents[1:]) or (holds_batch(extents[:1]) and extents[0] != BATCH):
        raise UnknownBatch
    return holds_batch(extents[:1])


def without_batch(target: Any, per_sample: int | None) -> list[int]:
    """A target shape with -1 for the free batch, or a multiple of it.

    per_sample: how many elements a sample has, if that is known. It solves the extent that the target itself leaves
    open beside the batch.

    Raises:
        UnknownBatch: there is more than one extent that is not known.
    """
    extents = [int(d) for d in np.ravel(target)]
    batches = [d // BATCH for d in extents if d and d % BATCH == 0]
    if not batches:
        return extents
    if len(batches) > 1 or batches[0] % BATCH == 0:
        raise UnknownBatch
    if -1 in extents:
        rest = math.prod(d for d in extents if d > 0) // BATCH
        if not per_sample or per_sample % rest:
            raise UnknownBatch
        extents[extents.index(-1)] = per_sample // rest
    return [-1 if d and d % BATCH == 0 else d for d in extents]


def batch_source(node: Node, graph: Graph, env: Mapping[int, Any]) -> Any:
    """The tensor whose SHAPE a node's inputs were calculated from; None where there is not one.

    env: a tensor's index -> its KerasTensor, or its value where that is known.
    """
    producers, found, todo = graph.producers(), {}, list(node.inputs)
    while todo:
        index = todo.pop()
        producer = producers.get(index)
        if producer is None or is_symbolic(env.get(index)):
            continue
        if producer.op == "SHAPE":
            found[producer.inputs[0]] = env.get(producer.inputs[0])
        else:
            todo += producer.inputs
    return next(iter(found.values())) if len(found) == 1 else None
