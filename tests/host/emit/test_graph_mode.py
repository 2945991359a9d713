"""What TensorFlow makes of several operators when it optimizes a graph, as `predict` and `fit` run one."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from emit.case import rand
from liteback.reconstruction import reconstruct
from tflite_build import Op, Subgraph, Tensor, build_model


@pytest.mark.parametrize("stride", [1, 2])
def test_a_pad_that_is_added_to_a_convolution(stride: int) -> None:
    """The shortcut of BlazeFace's blocks; see `_convolution` in emit/ops/conv.py."""
    side = 8 // stride
    tensors = [
        Tensor([1, 8, 8, 4], name="x"),
        Tensor([6, 1, 1, 4], data=rand(6, 1, 1, 4, seed=1)),
        Tensor([6], data=rand(6, seed=2)),
        Tensor([1, side, side, 6]),
        Tensor([4, 2], "int32", np.array([[0, 0], [0, 0], [0, 0], [0, 2]], np.int32)),
        Tensor([1, side, side, 4]),
        Tensor([1, side, side, 6]),
        Tensor([1, side, side, 6]),
    ]
    conv = schema.Conv2DOptionsT(padding=schema.Padding.VALID, strideH=stride, strideW=stride)
    pool = schema.Pool2DOptionsT(
        padding=schema.Padding.VALID, strideH=stride, strideW=stride, filterHeight=stride, filterWidth=stride
    )
    ops = [
        Op("CONV_2D", [0, 1, 2], [3], conv),
        Op("MAX_POOL_2D", [0], [5], pool),
        Op("PAD", [5, 4], [6]),
        Op("ADD", [3, 6], [7], schema.AddOptionsT()),
    ]
    model = reconstruct(build_model(Subgraph(tensors, ops, [0], [7])))
    x = rand(1, 8, 8, 4, seed=3)
    np.testing.assert_allclose(model.predict(x, verbose=0), model(x), rtol=1e-6, atol=1e-6)
