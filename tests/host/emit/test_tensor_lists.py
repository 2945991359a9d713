"""Loops that write to TensorFlow's lists of tensors, as the converter makes them of networks for any batch.

It asks for `SELECT_TF_OPS` then. No runtime here has those operators: the original network is the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from emit.case import rand
from emit.networks import trained
from liteback.emit.build import emit
from liteback.errors import UnsupportedModel
from liteback.export.patch import patch
from liteback.inspection import inspect
from liteback.ir import Node
from liteback.lift import lift
from liteback.passes.tensor_lists import tensor_lists
from liteback.reconstruction import reconstruct, reconstruction

STEPS, FEATURES = 6, 3


def stack(*parts: Any, steps: int | None = STEPS) -> keras.Model:
    return keras.Sequential([keras.Input((steps, FEATURES)), *parts])


MODELS: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "lstm": (lambda: stack(layers.LSTM(4), layers.Dense(2)), ["LSTM", "Dense"]),
    "lstm-steps": (
        lambda: stack(layers.LSTM(4, return_sequences=True), layers.Dense(2)),
        ["LSTM", "Reshape", "ZerosLike", "Dense", "Sum", "Reshape", "Embedding", "Add"],
    ),
    "gru": (lambda: stack(layers.GRU(4)), ["GRU"]),
    "rnn-backwards": (
        lambda: stack(layers.SimpleRNN(4, return_sequences=True, go_backwards=True)),
        ["Flip", "SimpleRNN"],
    ),
    "both-ways": (
        lambda: stack(layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)),
        ["Flip", "LSTM", "LSTM", "Concatenate", "Dense"],
    ),
    "any-length": (
        lambda: stack(layers.LSTM(4, return_sequences=True), layers.GRU(5), steps=None),
        ["LSTM", "GRU"],
    ),
    "both-ways-any-length": (
        lambda: stack(layers.Bidirectional(layers.GRU(4, return_sequences=True)), steps=None),
        ["Flip", "GRU", "GRU", "Flip", "Concatenate"],
    ),
    "masked": (
        lambda: stack(layers.Masking(), layers.LSTM(4)),
        ["NotEqual", "Any", "Any", "Reshape", "Where", "Squeeze", "LSTM"],
    ),
    # No layer of Keras that `recurrence` knows: a loop, for any batch all the same.
    "stacked-cells": (lambda: stack(layers.RNN(layers.StackedRNNCells([layers.LSTMCell(n) for n in (4, 2)]))), []),
}


def with_lists(converter: Any) -> bytes:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    converter._experimental_lower_tensor_list_ops = False
    data = bytes(converter.convert())
    assert b"FlexTensorListReserve" in data
    return data


@cache
def converted(name: str) -> tuple[keras.Model, bytes]:
    model = trained(MODELS[name][0])
    return model, with_lists(tf.lite.TFLiteConverter.from_keras_model(model))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("numerics", ["float", "fakequant", "exact"])
def test_a_list_is_the_tensor_that_it_holds(name: str, numerics: Any, tmp_path: Path) -> None:
    original, data = converted(name)
    emission = reconstruction(data, numerics)
    if MODELS[name][1] and numerics != "exact":
        kinds = [type(op).__name__ for op in emission.model.operations]
        assert kinds == ["InputLayer", *MODELS[name][1]]
    x = rand(5, STEPS, FEATURES, seed=1)
    x[:, (2, -1)] = 0  # steps that a mask leaves out
    emission.model.save(tmp_path / "model.keras")
    for model in (emission.model, keras.saving.load_model(tmp_path / "model.keras")):
        assert model.inputs[0].shape[0] is None
        np.testing.assert_allclose(model(x), original(x), atol=1e-6)


def test_trained_weights_go_back() -> None:
    original, data = converted("lstm-steps")
    model = reconstruct(data)
    assert patch(model, data).data == data
    x = rand(8, STEPS, FEATURES)
    model.compile("sgd", "mse")
    model.fit(x, rand(8, STEPS, 2, seed=1), verbose=0)
    again = reconstruct(patch(model, data).data)
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)
    assert np.abs(np.asarray(again(x)) - original(x)).max() > 1e-4


def test_a_loop_whose_weights_are_computed_stays_a_loop() -> None:
    """It has what it begins with, and its layout: nothing that a layer would not need is left out."""
    original, data = converted("masked")
    source = lift(data)
    main, cond, body = source.graphs
    (kernel,) = (n.inputs[1] for n in body.nodes if n.op == "FULLY_CONNECTED" and n.inputs[0] not in body.inputs)
    copy = replace(body.tensors[kernel], index=len(body.tensors), data=None)
    absolute = Node(len(body.nodes), "ABS", (kernel,), (copy.index,))
    nodes = tuple(replace(n, inputs=tuple(copy.index if t == kernel else t for t in n.inputs)) for n in body.nodes)
    body = replace(body, tensors=(*body.tensors, copy), nodes=(absolute, *nodes))
    emission = emit(replace(source, graphs=(main, cond, body)))
    assert emission.own_layers
    cell = original.layers[-1]
    cell.set_weights([np.abs(cell.get_weights()[0]), *cell.get_weights()[1:]])
    x = rand(5, STEPS, FEATURES, seed=1)
    np.testing.assert_allclose(emission.model(x), original(x), atol=1e-6)
    converted.cache_clear()  # the original is no longer what was converted


def test_a_list_that_is_read() -> None:
    """tf.while_loop over a list of rows: the running sum of their squares."""

    def squares(x: Any) -> Any:
        rows, sums = tf.TensorArray(tf.float32, 4).unstack(x), tf.TensorArray(tf.float32, 4, element_shape=[3])
        total = tf.zeros([3])
        for k in tf.range(4):
            total += rows.read(k) ** 2
            sums = sums.write(k, total)
        return sums.stack()

    wrapped = tf.function(squares, input_signature=[tf.TensorSpec([4, 3], tf.float32)])
    data = with_lists(tf.lite.TFLiteConverter.from_concrete_functions([wrapped.get_concrete_function()], wrapped))
    x = rand(4, 3)
    np.testing.assert_allclose(reconstruct(data)(x), squares(tf.constant(x)), atol=1e-6)


def test_what_is_used_in_another_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(converted("lstm")[1])
    assert not inspect(tmp_path / "model.tflite").unsupported
    source = lift(converted("lstm")[1])
    main, *rest = source.graphs
    (stacked,) = (n for n in main.nodes if n.op.endswith("TensorListStack"))
    length = replace(stacked, op="CUSTOM:FlexTensorListLength")
    changed = main.replace_nodes(tuple(length if n is stacked else n for n in main.nodes))
    assert tensor_lists([changed, *rest]) == (changed, *rest)
    with pytest.raises(UnsupportedModel, match=r"FlexTensorListReserve(.|\n)*FlexTensorListSetItem"):
        emit(replace(source, graphs=(changed, *rest)))
