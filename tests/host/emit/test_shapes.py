"""Shapes that are computed from shapes, where the batch is not known: for several batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from liteback.reconstruction import reconstruct
from tflite_build import Op, Subgraph, Tensor, build_model

from .case import rand

CAST = schema.CastOptionsT(inDataType=schema.TensorType.INT32, outDataType=schema.TensorType.FLOAT32)
KEEP = schema.ReducerOptionsT(keepDims=True)


def vector(*values: int) -> Tensor:
    return Tensor([len(values)], "int32", np.int32(values))


def model(shape: list[int], result: list[int], constants: list[Tensor], *ops: Op) -> bytes:
    """Tensors: 0 is x, whose batch varies, 1 the result, then the constants, then int32 vectors of unknown extent."""
    x, y = (Tensor([max(d, 1) for d in s], name=n, shape_signature=s) for s, n in ((shape, "x"), (result, "y")))
    between = [Tensor([1], "int32", shape_signature=[-1]) for _ in ops[1:]]
    return build_model(Subgraph([x, y, *constants, *between], ops, [0], [1]))


# The product of all four extents is beyond int32 for the number that stands for the batch.
ALL_ELEMENTS = model(
    [-1, 16, 16, 10],
    [-1],
    [vector(0)],
    Op("SHAPE", [0], [3]),
    Op("REDUCE_PROD", [3, 2], [4], KEEP),
    Op("RESHAPE", [0, 4], [1]),
)
FIRST_TWO_AXES = model(
    [-1, 2, 3, 5],
    [-1, 15],
    [vector(0), vector(2), vector(-1)],
    Op("SHAPE", [0], [5]),
    Op("SLICE", [5, 2, 3], [6]),
    Op("REDUCE_PROD", [6, 2], [7], KEEP),
    Op("CONCATENATION", [7, 4], [8]),
    Op("RESHAPE", [0, 8], [1]),
)
AS_NUMBERS = model([-1, 3], [2], [], Op("SHAPE", [0], [2]), Op("CAST", [2], [1], CAST))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("data", "shape", "wanted"),
    [
        pytest.param(ALL_ELEMENTS, (16, 16, 10), lambda x: x.reshape(-1), id="all elements"),
        pytest.param(FIRST_TWO_AXES, (2, 3, 5), lambda x: x.reshape(-1, 15), id="the first two axes"),
        pytest.param(AS_NUMBERS, (3,), lambda x: np.float32(x.shape), id="as numbers"),
    ],
)
def test_arithmetic_of_shapes_holds_for_every_batch(
    data: bytes, shape: tuple[int, ...], wanted: Callable[[NDArray[Any]], NDArray[Any]], batch: int
) -> None:
    x = rand(batch, *shape)
    np.testing.assert_array_equal(np.asarray(reconstruct(data)(x)), wanted(x))
