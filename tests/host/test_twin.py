"""A model finds the file that it was reconstructed from, whichever signature it was reconstructed by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from liteback.comparison.compare import compare
from liteback.emit.emission import Numerics
from liteback.errors import UsageError
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.reconstruction import reconstruct, reconstruction
from liteback.report import junit
from liteback.saving import save
from liteback.session.board import Board
from liteback.twin import KerasTwin, OutputsOnly
from tflite_build import Op, Signature, Subgraph, Tensor, build_model


def difference(takes: Mapping[str, int], gives: Mapping[str, int]) -> bytes:
    """y = x - z in the main graph, whose signature `served` has these names; n = |x|; `other` is of another graph."""
    x, z, y, n = (Tensor([1, 4], "int8", name=name, scale=0.5) for name in "xzyn")
    operators = [Op("SUB", [0, 1], [2], schema.SubOptionsT()), Op("ABS", [0], [3], schema.AbsOptionsT())]
    other = Subgraph([x, n], [Op("RELU", [0], [1])], [0], [1])
    signatures = [Signature("other", {"x": 0}, {"n": 1}, 1), Signature("served", takes, gives)]
    return build_model(Subgraph([x, z, y, n], operators, [0, 1], [2, 3]), other, signatures=signatures)


@pytest.mark.parametrize("numerics", ["float", "fakequant"])
@pytest.mark.parametrize(
    ("takes", "gives"),
    [
        ({"image": 0, "mask": 1}, {"out": 2, "size": 3}),
        ({"mask": 1, "image": 0}, {"out": 2}),  # what the signature does not give, the model has not
        ({"z": 1, "x": 0}, {"y": 2, "n": 3}),  # the file's own names in another order
    ],
)
def test_a_signature_of_the_main_graph_is_matched_by_tensor(
    takes: dict[str, int], gives: dict[str, int], numerics: Numerics
) -> None:
    data = difference(takes, gives)
    twin = KerasTwin.match(reconstruct(data, numerics, "served"), lift(data), "model")
    codes = {0: np.int8([[8, 6, 4, 2]]), 1: np.int8([[1, 2, 3, 4]])}
    np.testing.assert_array_equal(twin.cumulative(codes)[2], [[3.5, 2, 0.5, -1]])
    np.testing.assert_array_equal(twin.isolated(codes)[2], [[3.5, 2, 0.5, -1]])
    assert (3 in twin.cumulative(codes)) == (3 in gives.values())


def test_a_saved_model_of_a_signature_is_matched_by_its_names(tmp_path: Path) -> None:
    data = difference({"mask": 1, "image": 0}, {"out": 2})
    save(reconstruction(data, signature="served"), tmp_path / "saved")
    twin = OutputsOnly(tmp_path / "saved", lift(data))
    codes = {0: np.int8([[8, 6, 4, 2]]), 1: np.int8([[1, 2, 3, 4]])}
    np.testing.assert_array_equal(twin.cumulative(codes)[2], [[3.5, 2, 0.5, -1]])


def test_a_loop_that_came_back_as_a_layer_is_shown_by_its_name(board: Board, tmp_path: Path) -> None:
    x = keras.Input(batch_shape=(1, 5, 3))
    rest = keras.layers.Dense(2)(keras.layers.LSTM(4)(x))
    data = tf.lite.TFLiteConverter.from_keras_model(keras.Model(x, rest)).convert()
    model, emission = lift(data), reconstruction(data)
    recording = board.capture(data, random_inputs(model.main, 1, 0), tmp_path / "recording")
    found = compare(model.main, recording, KerasTwin.of(emission))
    (loop,) = (row for row in found.rows if row.op == "WHILE")
    assert (loop.node, loop.layer) == ("while_001", "lstm_001")
    assert emission.model.get_layer(loop.layer)
    assert all(row.layer == row.node for row in found.rows if row is not loop)
    assert "lstm_001" in junit(found)
    assert "while_001" not in junit(found)


def test_a_model_of_another_graph_is_told_so() -> None:
    data = difference({"image": 0, "mask": 1}, {"out": 2})
    with pytest.raises(UsageError, match="Received: mine, reconstructed from the signature 'other', another graph"):
        KerasTwin.match(reconstruct(data, signature="other"), lift(data), "mine")


def test_a_model_of_another_file_is_no_reconstruction() -> None:
    data = difference({"image": 0, "mask": 1}, {"out": 2})
    other = build_model(Subgraph([Tensor([1, 4]), Tensor([1, 4])], [Op("ABS", [0], [1])], [0], [1]))
    with pytest.raises(UsageError, match=r"no reconstruction of this \.tflite file"):
        KerasTwin.match(reconstruct(other), lift(data), "mine")
