"""Subgraphs that stand in place of a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import liteback
from emit.case import rand
from liteback.errors import UnsupportedModel, UsageError
from liteback.export.patch import patch
from liteback.lift import lift
from liteback.reconstruction import reconstruct, reconstruction
from tflite_build import Op, Subgraph, Tensor, build_model

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


def handed(kernel: Tensor) -> bytes:
    """x W + b if the sum of x is positive, else x W^T - b: the branches share what they are handed."""
    kernel_inside = Tensor([UNITS, UNITS], kernel.dtype, scale=kernel.scale)
    bias, turned = Tensor([UNITS], data=rand(UNITS, seed=3)), Tensor([2], "int32", np.array([1, 0], np.int32))
    one, every, over = Tensor([1]), Tensor([1], "int32", np.array([1], np.int32)), Tensor([1], "bool")
    dense = schema.FullyConnectedOptionsT()
    options = schema.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2)
    return build_model(
        Subgraph(
            [ROW, every, one, Tensor([1], data=np.zeros(1, np.float32)), over, kernel, bias, ROW],
            [
                Op("SUM", [0, 1], [2], schema.ReducerOptionsT()),
                Op("GREATER", [2, 3], [4]),
                Op("IF", [4, 0, 5, 6], [7], options),
            ],
            [0],
            [7],
        ),
        Subgraph(
            [ROW, kernel_inside, Tensor([UNITS]), ROW], [Op("FULLY_CONNECTED", [0, 1, 2], [3], dense)], [0, 1, 2], [3]
        ),
        Subgraph(
            [ROW, kernel_inside, Tensor([UNITS]), turned, kernel_inside, ROW, ROW],
            [
                Op("TRANSPOSE", [1, 3], [4]),
                Op("FULLY_CONNECTED", [0, 4, -1], [5], dense),
                Op("SUB", [5, 2], [6], schema.SubOptionsT()),
            ],
            [0, 1, 2],
            [6],
        ),
    )


CODES = np.arange(-8, 8, dtype=np.int8).reshape(UNITS, UNITS)


@pytest.mark.parametrize(
    "kernel",
    [Tensor([UNITS, UNITS], data=rand(UNITS, UNITS)), Tensor([UNITS, UNITS], "int8", CODES, scale=0.25)],
    ids=["float", "hybrid"],
)
def test_weights_that_branches_are_handed_are_one_variable_and_go_back(kernel: Tensor, tmp_path: Path) -> None:
    data = handed(kernel)
    model = reconstruct(data)
    weights, bias = (lift(data).main.tensors[t].data for t in (5, 6))
    weights = weights * np.float32(kernel.scale or 1)
    assert [v.path for v in model.trainable_variables] == [f"if_002_weight_{k}/embeddings" for k in (1, 2)]
    for x, expected in [(row := abs(rand(1, UNITS)), row @ weights.T + bias), (-row, -row @ weights - bias)]:
        np.testing.assert_allclose(model(x), expected, rtol=1e-5)
    assert patch(model, data).data == data
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + 0.5)
    again = reconstruct(patch(model, data).data)
    model.save(tmp_path / "model.keras")
    for x in (row, -row):
        np.testing.assert_allclose(again(x), model(x), rtol=1e-5)
        np.testing.assert_array_equal(liteback.load_model(tmp_path / "model.keras")(x), model(x))


def test_a_constant_behind_a_transpose_is_a_layers_kernel() -> None:
    half = Tensor([3, UNITS], "float16", rand(3, UNITS).astype(np.float16))
    turned = Tensor([2], "int32", np.array([1, 0], np.int32))
    graph = Subgraph(
        [Tensor([1, 3]), half, Tensor([3, UNITS]), turned, Tensor([UNITS, 3]), ROW],
        [
            Op("DEQUANTIZE", [1], [2]),
            Op("TRANSPOSE", [2, 3], [4]),
            Op("FULLY_CONNECTED", [0, 4, -1], [5], schema.FullyConnectedOptionsT()),
        ],
        [0],
        [5],
    )
    data, x = build_model(graph), rand(2, 3)
    model = reconstruct(data)
    (layer,) = [x for x in model.layers if x.weights]
    assert isinstance(layer, keras.layers.Dense)
    np.testing.assert_allclose(model(x), x @ np.asarray(half.data, np.float32), rtol=1e-5)
    assert patch(model, data).data == data
    layer.set_weights([layer.get_weights()[0] + 0.5])
    np.testing.assert_allclose(reconstruct(patch(model, data).data)(x), model(x), rtol=1e-2)
