"""A batch that is not known yet, in the arithmetic of shapes.

A file made from a Keras model computes shapes at run time: SHAPE -> STRIDED_SLICE -> PACK -> RESHAPE. To fold such a
chain while the batch is free, SHAPE gives the extent BATCH for it: a number that shape arithmetic carries along and
RESHAPE knows again. Where any other operator meets it, the batch cannot be freed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

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


def shape_arithmetic(op: str, value: Any) -> Any:
    """Let a known input pass into an operator that does shape arithmetic.

    Raises:
        UnknownBatch: it holds the free batch, and this operator needs the number.
    """
    if holds_batch(value) and op not in SHAPE_ARITHMETIC:
        raise UnknownBatch
    return value


def without_batch(target: Any) -> list[int]:
    """A target shape with -1 for the free batch."""
    return [-1 if d and int(d) % BATCH == 0 else int(d) for d in np.ravel(target)]
