"""Sparse constants, as the schema's SparsityParameters store them.

A tensor of rank n with k blocked axes is stored as a tree of n + k levels, one axis (or block axis) each, in
`traversal_order`. A DENSE level has every child; a SPARSE_CSR level has those that `array_indices` names, the
children of parent p from `array_segments[p]` to `array_segments[p + 1]`. The leaves' values stand in order
(lite/schema/schema.fbs, v2.14.0; the format of TACO, arXiv:1804.10112).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


def positions(shape: tuple[int, ...], sparsity: Any) -> NDArray[np.int64]:
    """Where in the flat dense tensor each stored value belongs.

    shape: of the dense tensor. sparsity: the schema's SparsityParametersT.
    Raises: ValueError where the parameters contradict themselves or the shape.
    """
    rank, limit = len(shape), math.prod(shape)
    order, levels = _ints(sparsity.traversalOrder), sparsity.dimMetadata or []
    blocked = _ints(sparsity.blockMap)
    if sorted(order) != list(range(rank + len(blocked))) or len(levels) != len(order):
        raise ValueError(f"{len(levels)} levels in the order {order} for {rank} axes and {len(blocked)} blocks")
    if any(not 0 <= axis < rank for axis in blocked) or len(set(blocked)) != len(blocked):
        raise ValueError(f"the blocked axes {blocked} of {rank} axes")
    places = [np.zeros(1, np.int64) for _ in order]  # for each axis and block axis: the coordinate of every node
    sizes = [1] * len(order)
    for axis, level in zip(order, levels, strict=True):
        nodes = len(places[0])
        if level.format == schema.DimensionType.SPARSE_CSR:
            parent, child = _sparse(level, nodes)
        elif 0 <= level.denseSize * nodes <= limit:
            parent = np.repeat(np.arange(nodes), level.denseSize)
            child = np.tile(np.arange(level.denseSize), nodes)
            sizes[axis] = level.denseSize
        else:
            raise ValueError(f"a level of {level.denseSize} children for {nodes} nodes in {limit} elements")
        places = [p[parent] for p in places]
        places[axis] = child
    return _flat(places, sizes, shape, blocked)


def _sparse(level: Any, nodes: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each child of a SPARSE_CSR level the number of its parent, and its coordinate."""
    segments, indices = (
        np.asarray(_ints(getattr(part, "values", None)), np.int64) for part in (level.arraySegments, level.arrayIndices)
    )
    counts = np.diff(segments)
    if len(segments) != nodes + 1 or segments[0] != 0 or (counts < 0).any() or segments[-1] != len(indices):
        raise ValueError(f"{len(segments)} segments and {len(indices)} indices for {nodes} nodes")
    return np.repeat(np.arange(nodes), counts), indices


def _flat(
    places: list[NDArray[np.int64]], sizes: list[int], shape: tuple[int, ...], blocked: tuple[int, ...]
) -> NDArray[np.int64]:
    coordinates = places[: len(shape)]
    for block, axis in enumerate(blocked, start=len(shape)):
        coordinates[axis] = coordinates[axis] * sizes[block] + places[block]
    flat = np.zeros(len(places[0]), np.int64)
    for coordinate, extent in zip(coordinates, shape, strict=True):
        if ((coordinate < 0) | (coordinate >= extent)).any():
            raise ValueError(f"a coordinate beyond the extent {extent} of an axis of {list(shape)}")
        flat = flat * extent + coordinate
    if len(np.unique(flat)) != len(flat):
        raise ValueError("two values for one element")
    return flat


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in values) if values is not None else ()
