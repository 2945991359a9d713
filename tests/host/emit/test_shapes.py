"""Shapes that are computed from shapes, where the batch is not known: for several batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from emit.case import rand
from liteback.reconstruction import reconstruction
from tflite_build import Op, Subgraph, Tensor, build_model

CAST = schema.CastOptionsT(inDataType=schema.TensorType.INT32, outDataType=schema.TensorType.FLOAT32)
KEEP = schema.ReducerOptionsT(keepDims=True)


def vector(*values: int) -> Tensor:
    return Tensor([len(values)], "int32", np.int32(values))


def model(
    shape: list[int],
    result: list[int],
    constants: list[Tensor],
    *ops: Op,
    dtype: str = "float32",
    between: Sequence[Tensor] = (),
) -> bytes:
    """Tensors: 0 is x, whose batch varies, 1 the result, then the constants, those `between`, then int32 vectors."""
    x, y = (
        Tensor([max(d, 1) for d in s], t, name=n, shape_signature=s)
        for s, t, n in ((shape, "float32", "x"), (result, dtype, "y"))
    )
    vectors = [Tensor([1], "int32", shape_signature=[-1]) for _ in ops[1 + len(between) :]]
    return build_model(Subgraph([x, y, *constants, *between, *vectors], ops, [0], [1]))


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
FILLED = model(
    [-1, 3], [-1, 3], [Tensor([], "float32", np.float32(2.5))], Op("SHAPE", [0], [3]), Op("FILL", [3, 2], [1])
)
TRUE = model(
    [-1, 3], [-1, 3], [Tensor([], "bool", np.bool_(True))], Op("SHAPE", [0], [3]), Op("FILL", [3, 2], [1]), dtype="bool"
)
ROW = Tensor([1, 4], "float32", np.float32([[1, 2, 3, 4]]))
TILED = model([-1, 1], [-1, 4], [ROW], Op("SHAPE", [0], [3]), Op("TILE", [2, 3], [1]))
SPREAD = model([-1, 2, 4], [-1, 2, 4], [ROW], Op("SHAPE", [0], [3]), Op("BROADCAST_TO", [2, 3], [1]))
ENLARGED = model(
    [-1, 3, 3, 1],
    [-1, 6, 6, 1],
    [vector(0), vector(1), vector(6, 6, 1), Tensor([1, 2, 2, 1], "float32", np.ones((1, 2, 2, 1), np.float32))],
    Op("SHAPE", [0], [6]),
    Op("SLICE", [6, 2, 3], [7]),
    Op("CONCATENATION", [7, 4], [8]),
    Op("TRANSPOSE_CONV", [8, 5, 0], [1], schema.TransposeConvOptionsT(strideH=2, strideW=2)),
)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(
    ("data", "shape", "wanted"),
    [
        pytest.param(ALL_ELEMENTS, (16, 16, 10), lambda x: x.reshape(-1), id="all elements"),
        pytest.param(FIRST_TWO_AXES, (2, 3, 5), lambda x: x.reshape(-1, 15), id="the first two axes"),
        pytest.param(FILLED, (3,), lambda x: np.full_like(x, 2.5), id="filled"),
        pytest.param(TRUE, (3,), lambda x: np.full(x.shape, True), id="filled with truth"),
        pytest.param(TILED, (1,), lambda x: np.tile(np.float32([1, 2, 3, 4]), x.shape), id="tiled"),
        pytest.param(SPREAD, (2, 4), lambda x: np.broadcast_to(np.float32([1, 2, 3, 4]), x.shape), id="broadcast"),
        pytest.param(ENLARGED, (3, 3, 1), lambda x: x.repeat(2, 1).repeat(2, 2), id="transposed convolution"),
        pytest.param(AS_NUMBERS, (3,), lambda x: np.float32(x.shape), id="as numbers"),
    ],
)
def test_arithmetic_of_shapes_holds_for_every_batch(
    data: bytes, shape: tuple[int, ...], wanted: Callable[[NDArray[Any]], NDArray[Any]], batch: int
) -> None:
    x = rand(batch, *shape)
    made = reconstruction(data)
    np.testing.assert_array_equal(np.asarray(made.model(x)), wanted(x))
    assert data is AS_NUMBERS or not made.own_layers, "stock Keras"


def test_an_axis_that_varies_is_no_batch_where_the_file_says_so() -> None:
    """A file of fixed shapes, in which an operator's result does not tell its extent: [2, 3] -> [1, 6]."""
    tensors = [Tensor([4, 3], name="x"), Tensor([2], "int32", name="end"), vector(0, 0), vector(1, 1)]
    tensors += [Tensor([2, 3]), vector(1, 6), Tensor([1, 6])]
    ops = [Op("STRIDED_SLICE", [0, 2, 1, 3], [4], schema.StridedSliceOptionsT()), Op("RESHAPE", [4, 5], [6])]
    made = reconstruction(build_model(Subgraph(tensors, ops, [0, 1], [6])))
    x = rand(4, 3)
    np.testing.assert_array_equal(np.asarray(made.model([x, np.int32([2, 3])])), x[:2].reshape(1, 6))


def test_a_batch_that_goes_behind_another_axis_keeps_the_model_stock() -> None:
    """Steps before samples, and back: what SHAPE gives is still told by all other extents."""
    data = model(
        [-1, 2, 3],
        [-1, 6],
        [vector(1, 0, 2), vector(0), vector(1), vector(6)],
        Op("TRANSPOSE", [0, 2], [6]),
        Op("TRANSPOSE", [6, 2], [7]),
        Op("SHAPE", [7], [8]),
        Op("SLICE", [8, 3, 4], [9]),
        Op("CONCATENATION", [9, 5], [10]),
        Op("RESHAPE", [7, 10], [1]),
        between=[Tensor([2, 1, 3], shape_signature=[2, -1, 3]), Tensor([1, 2, 3], shape_signature=[-1, 2, 3])],
    )
    emission = reconstruction(data)
    assert not emission.own_layers
    x = rand(3, 2, 3)
    np.testing.assert_array_equal(emission.model(x), x.reshape(3, 6))
