"""The largest summand, of each operator that adds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from host.compare_data import a_tensor
from liteback.comparison.summands import Summands
from liteback.ir import Graph, Node, Tensor

X = np.float32([[[[1, -20], [3, 4]]]])  # (1, 1, 2, 2): the channels reach to 3 and to 20


def constant(index: int, *values: float, shape: tuple[int, ...], dtype: type = np.float32) -> Tensor:
    data = np.asarray(values, dtype).reshape(shape)
    return replace(a_tensor(index, str(data.dtype)), shape=shape, data=data)


@pytest.mark.parametrize(
    ("op", "inputs", "weight", "largest"),
    [
        ("CONV_2D", (0, 1), constant(1, 5, -0.5, shape=(1, 1, 1, 2)), 15),
        ("CONV_2D", (0, 1, 2), constant(1, 5, -0.5, shape=(1, 1, 1, 2)), 99),
        ("CONV_2D", (0, 1), constant(1, -5, 0.5, shape=(2, 1, 1, 1)), 100),  # two groups: either of the channels
        ("CONV_2D", (0, 1), constant(1, 5, -0.5, shape=(1, 1, 1, 2), dtype=np.int8), 0),  # its rounding is another
        ("DEPTHWISE_CONV_2D", (0, 1), constant(1, 1, -7, 2, 0.5, shape=(1, 1, 1, 4)), 40),
        ("FULLY_CONNECTED", (0, 1, -1), constant(1, 0.5, 2, 1, -3, shape=(2, 2)), 60),
        ("FULLY_CONNECTED", (0, 1, -1), constant(1, 0.5, 2, 1, -3, shape=(1, 4)), 60),  # of what is flattened
        ("TRANSPOSE_CONV", (3, 1, 0), constant(1, 5, -0.5, shape=(1, 1, 1, 2)), 15),
        ("BATCH_MATMUL", (0, 1), constant(1, 5, 1, -0.5, 0, shape=(2, 2)), 100),
        ("MEAN", (0, 3), constant(1, 0, shape=(1,)), 20),
        ("RELU", (0,), constant(1, 0, shape=(1,)), 0),
    ],
)
def test_the_largest_summand(op: str, inputs: tuple[int, ...], weight: Tensor, largest: float) -> None:
    bias, sizes = constant(2, -99, 1, shape=(2,)), constant(3, 1, shape=(1,), dtype=np.int32)
    tensors = (a_tensor(0, "float32"), weight, bias, sizes, a_tensor(4, "float32"))
    summands = Summands(Graph(0, "main", tensors, (Node(0, op, inputs, (4,)),), (0,), (4,)))
    assert summands.largest(4, {0: X}) == largest


def test_weights_of_float16_count_as_what_they_are_made() -> None:
    half = constant(1, 5, -0.5, shape=(1, 1, 1, 2), dtype=np.float16)
    nodes = Node(0, "DEQUANTIZE", (1,), (2,)), Node(1, "CONV_2D", (0, 2), (3,))
    tensors = (a_tensor(0, "float32"), half, a_tensor(2, "float32"), a_tensor(3, "float32"))
    infinite = np.where(X == 3, np.inf, X)  # is no summand that others are lost beside
    assert Summands(Graph(0, "main", tensors, nodes, (0,), (3,))).largest(3, {0: X}) == 15
    assert Summands(Graph(0, "main", tensors, nodes, (0,), (3,))).largest(3, {0: infinite}) == 10
