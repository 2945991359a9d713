"""Subgraphs that stand in place of a call."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteback.errors import UnsupportedModel, UsageError
from liteback.export.patch import patch
from liteback.lift import lift
from liteback.reconstruction import reconstruct, reconstruction
from tflite_build import Op, Subgraph, Tensor, build_model

from .case import rand

UNITS = 4
ROW = Tensor([1, UNITS])


def twice(op: str, options: Any) -> bytes:
    """The subgraph 1, x W + b, called two times."""
    inner = Subgraph(
        [ROW, Tensor([UNITS, UNITS], data=rand(UNITS, UNITS)), Tensor([UNITS], data=rand(UNITS)), ROW],
        [Op("FULLY_CONNECTED", [0, 1, 2], [3], schema.FullyConnectedOptionsT())],
        [0],
        [3],
    )
    return build_model(
        Subgraph([ROW, ROW, ROW], [Op(op, [0], [1], options), Op(op, [1], [2], options)], [0], [2]), inner
    )


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("CALL", schema.CallOptionsT(subgraph=1)),
        ("STABLEHLO_COMPOSITE", schema.StableHLOCompositeOptionsT(name="x.y", decompositionSubgraphIndex=1)),
    ],
)
def test_a_called_subgraph_is_laid_out_in_place(op: str, options: Any) -> None:
    """tflite-runtime 2.14 has no kernel for either: the expected values are two matrix products."""
    emission = reconstruction(twice(op, options))
    weights, bias = (t.data for t in lift(twice(op, options)).graphs[1].tensors[1:3])
    x = rand(1, UNITS)
    once = x @ weights.T + bias
    np.testing.assert_allclose(emission.model(x), once @ weights.T + bias, rtol=1e-5)
    assert {b.weight.graph for b in emission.bindings} == {1}
    assert len(emission.model.trainable_weights) == 2  # one constant of the file is one variable


def test_weights_that_a_called_subgraph_is_handed_train_and_go_back() -> None:
    composite = schema.StableHLOCompositeOptionsT(name="x.linear", decompositionSubgraphIndex=1)
    scale, bias = (Tensor([UNITS], data=rand(UNITS, seed=k)) for k in (2, 3))
    main = Subgraph(
        [ROW, Tensor([UNITS, UNITS], data=rand(UNITS, UNITS)), bias, scale, ROW],
        [Op("STABLEHLO_COMPOSITE", [0, 1, 2, 3], [4], composite)],
        [0],
        [4],
    )
    body = Subgraph(
        [ROW, Tensor([UNITS, UNITS]), Tensor([UNITS]), Tensor([UNITS]), ROW, ROW],
        [
            Op("FULLY_CONNECTED", [0, 1, 2], [4], schema.FullyConnectedOptionsT()),
            Op("MUL", [4, 3], [5], schema.MulOptionsT()),
        ],
        [0, 1, 2, 3],
        [5],
        name="linear",
    )
    data, x = build_model(main, body), rand(3, UNITS, seed=4)
    model = reconstruct(data)
    assert [v.path.rpartition("/")[2] for v in model.trainable_variables] == ["kernel", "bias", "embeddings"]
    assert patch(model, data).data == data
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + 0.5)
    np.testing.assert_array_equal(reconstruct(patch(model, data).data)(x), model(x))


def test_a_subgraph_that_runs_itself_is_refused() -> None:
    data = build_model(Subgraph([ROW, ROW], [Op("CALL", [0], [1], schema.CallOptionsT(subgraph=0))], [0], [1]))
    with pytest.raises(UnsupportedModel, match="runs itself"):
        reconstruct(data)


def test_a_subgraph_that_does_not_exist_is_refused() -> None:
    data = build_model(Subgraph([ROW, ROW], [Op("CALL", [0], [1], schema.CallOptionsT(subgraph=7))], [0], [1]))
    with pytest.raises(UnsupportedModel, match="subgraph 7 does not exist"):
        reconstruct(data)


def test_a_global_setting_of_keras_is_refused_by_name() -> None:
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(UsageError, match="channels_first"):
            reconstruct(twice("CALL", schema.CallOptionsT(subgraph=1)))
    finally:
        keras.config.set_image_data_format("channels_last")
