"""A batch that is not known yet, in the arithmetic of shapes.

A file made from a Keras model computes shapes at run time: SHAPE -> STRIDED_SLICE -> PACK -> RESHAPE. To fold such a
chain while the batch is free, SHAPE gives the extent BATCH for it: a number that shape arithmetic carries along and
RESHAPE knows again. Where any other operator meets it, the batch cannot be freed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .names import is_symbolic

BATCH = 999_983  # a prime that no extent of a real tensor is a multiple of

SHAPE_ARITHMETIC = frozenset(
    {
        "STRIDED_SLICE",
        "SLICE",
        "GATHER",
        "PACK",
        "CONCATENATION",
        "RESHAPE",
        "CAST",
        "MUL",
        "REDUCE_PROD",
        "SQUEEZE",
    }
    | {"EXPAND_DIMS", "UNPACK", "SPLIT", "SPLIT_V", "IDENTITY"}
)


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
    allowed = {"RESHAPE"} if any(map(is_symbolic, inputs)) else SHAPE_ARITHMETIC
    if op not in allowed and any(map(holds_batch, inputs)):
        raise UnknownBatch


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
