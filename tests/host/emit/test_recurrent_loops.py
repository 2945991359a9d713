"""Keras' recurrent layers, which its converter turns into loops: they come back as themselves."""

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
from numpy.typing import NDArray

from emit.case import rand
from emit.networks import trained
from liteback.comparison.compare import compare
from liteback.emit.recurrent_loop import recurrence
from liteback.export.patch import patch
from liteback.inputs import random_inputs
from liteback.ir import Graph
from liteback.lift import lift
from liteback.passes.idle_state import idle_state
from liteback.reconstruction import reconstruct, reconstruction
from liteback.session.board import Board
from liteback.session.capture import capture
from liteback.twin import KerasTwin

STEPS, FEATURES = 7, 4


def stack(*parts: Any, batch: int = 1, steps: int | None = STEPS) -> keras.Model:
    x = keras.Input(batch_shape=(batch, steps, FEATURES))
    return keras.Model(x, keras.Sequential(parts)(x))


def with_states() -> keras.Model:
    x, h, c = (keras.Input(batch_shape=(1, *s)) for s in ((STEPS, FEATURES), (5,), (5,)))
    return keras.Model([x, h, c], layers.LSTM(5, return_state=True, return_sequences=True)(x, initial_state=[h, c]))


def encoder_decoder() -> keras.Model:
    """Of the one sequence only what it leaves in the states is read; the other's results pass with time first."""
    x, y = (keras.Input(batch_shape=(1, STEPS, FEATURES)) for _ in range(2))
    _, *states = layers.LSTM(5, return_state=True)(x)
    steps = layers.LSTM(5, return_sequences=True)(y, initial_state=states)
    return keras.Model([x, y], layers.Dense(2)(layers.Softmax()(layers.Activation("tanh")(steps))))


def read_line() -> keras.Model:
    """Columns of an image as the steps of a sequence, whose last step alone is read."""
    x = keras.Input(batch_shape=(1, 6, 8, 1))
    columns = layers.Reshape((6, 24))(layers.Conv2D(3, 3, padding="same")(x))
    return keras.Model(x, layers.Dense(2)(layers.GRU(5, return_sequences=True)(columns)))


def video() -> keras.Model:
    """Layers for each image of a sequence: the file takes the images apart and packs what comes of them."""
    x = keras.Input(batch_shape=(1, 3, 4, 4, 1))
    y = layers.TimeDistributed(layers.Conv2D(2, 3, activation="relu"))(x)
    y = layers.LSTM(4, return_sequences=True)(layers.TimeDistributed(layers.Flatten())(y))
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2, activation="softmax"))(y))


def one_number_a_step() -> keras.Model:
    x = keras.Input(batch_shape=(1, 3, FEATURES))
    y = layers.TimeDistributed(layers.Dense(1))(layers.LSTM(4, return_sequences=True)(x))
    return keras.Model(x, layers.Dense(2)(layers.TimeDistributed(layers.Reshape(()))(y)))


MODELS: dict[str, tuple[Callable[[], keras.Model], list[str]]] = {
    "lstm": (lambda: stack(layers.LSTM(6), layers.Dense(3)), ["LSTM", "Dense"]),
    "lstm-one-unit": (lambda: stack(layers.LSTM(1)), ["LSTM"]),
    "lstm-stack": (
        lambda: stack(*(layers.LSTM(n, return_sequences=True) for n in (6, 5)), layers.Dense(3)),
        ["LSTM", "LSTM", "Dense"],
    ),
    "lstm-hard": (
        lambda: stack(layers.LSTM(5, "relu", "hard_sigmoid", use_bias=False)),
        ["LSTM"],
    ),
    "lstm-states": (with_states, ["LSTM"]),
    "encoder-decoder": (
        encoder_decoder,
        ["LSTM", "LSTM", "Swapaxes", "Activation", "Swapaxes", "Softmax", "Dense"],
    ),
    "lstm-batch-2": (lambda: stack(layers.LSTM(6), batch=2), ["LSTM"]),
    "lstm-any-length": (lambda: stack(layers.LSTM(6, return_sequences=True), batch=2, steps=None), ["LSTM"]),
    "lstm-backwards": (lambda: stack(layers.LSTM(6, go_backwards=True, return_sequences=True)), ["Flip", "LSTM"]),
    "lstm-both-ways": (
        lambda: stack(layers.Bidirectional(layers.LSTM(4)), layers.Dense(3)),
        ["Flip", "LSTM", "LSTM", "Concatenate", "Dense"],
    ),
    "lstm-masked": (
        lambda: stack(layers.Masking(), layers.LSTM(6, return_sequences=True), layers.Dense(3), layers.LSTM(4)),
        [
            *("NotEqual", "Any", "Any", "Reshape", "Where"),
            *("Squeeze", "LSTM", "Swapaxes", "Dense", "Swapaxes", "Squeeze", "LSTM"),
        ],
    ),
    "gru-masked": (
        lambda: stack(layers.Masking(), layers.GRU(6)),
        ["NotEqual", "Any", "Any", "Reshape", "Where", "Squeeze", "GRU"],
    ),
    "both-ways-masked": (  # whose results of masked steps are zeros
        lambda: stack(
            layers.Masking(),
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(2),
        ),
        [
            *("NotEqual", "Any", "Any", "Reshape", "Where", "Flip", "Flip", "Squeeze", "Squeeze"),
            *("LSTM", "LSTM", "Flip", "Concatenate", "Squeeze", "GRU", "Dense"),
        ],
    ),
    "lstm-dropout": (
        lambda: stack(layers.LSTM(5, dropout=0.1, recurrent_dropout=0.1), layers.Dense(3)),
        ["LSTM", "Dense"],
    ),
    "gru-dropout": (lambda: stack(layers.GRU(5, recurrent_dropout=0.1, return_sequences=True)), ["GRU"]),
    "gru-dropout-reset-before": (lambda: stack(layers.GRU(5, recurrent_dropout=0.1, reset_after=False)), ["GRU"]),
    "gru": (lambda: stack(layers.GRU(6), layers.Dense(3)), ["GRU", "Dense"]),
    "gru-reset-before": (lambda: stack(layers.GRU(6, reset_after=False, activation="elu")), ["GRU"]),
    "gru-image": (read_line, ["Conv2D", "Reshape", "GRU", "Dense"]),
    "one-number-a-step": (
        one_number_a_step,
        [
            *("LSTM", "GetItem", "GetItem", "GetItem", "Dense", "Stack", "GetItem", "GetItem", "GetItem"),
            *("Reshape", "Reshape", "Reshape", "Stack", "Dense"),
        ],
    ),
    "video": (
        video,
        [
            *("GetItem", "GetItem", "GetItem", "Conv2D", "Stack", "GetItem", "GetItem", "GetItem"),
            *("Reshape", "Reshape", "Reshape", "Stack", "LSTM", "GetItem", "GetItem", "GetItem"),
            *("Dense", "Softmax", "Softmax", "Softmax", "Stack"),
        ],
    ),
    "rnn": (lambda: stack(layers.SimpleRNN(6, activation="relu", return_sequences=True)), ["SimpleRNN"]),
}
FIXED_BATCH = {"lstm-batch-2", "lstm-any-length"}  # the file's own


@cache
def converted(name: str) -> tuple[keras.Model, bytes]:
    model = trained(MODELS[name][0])
    return model, tf.lite.TFLiteConverter.from_keras_model(model).convert()


def samples(model: Any, batch: int) -> list[NDArray[np.float32]]:
    extents = [[STEPS if d is None else d for d in x.shape[1:]] for x in model.inputs]
    given = [rand(batch, *e, seed=11 + k) for k, e in enumerate(extents)]
    given[0][:, (2, -1)] = 0  # steps that a mask leaves out
    return given


def run(model: Any, inputs: list[Any]) -> list[NDArray[Any]]:
    results = model(inputs[0] if len(inputs) == 1 else inputs)
    return [np.asarray(r) for r in (results if isinstance(results, (list, tuple)) else [results])]


@pytest.mark.parametrize("name", MODELS)
def test_a_loop_is_the_layer_that_it_was(name: str) -> None:
    original, data = converted(name)
    emission = reconstruction(data, signature="serving_default")  # inputs and outputs in the order they had
    assert not emission.own_layers
    assert [type(op).__name__ for op in emission.model.operations if not isinstance(op, keras.layers.InputLayer)] == (
        MODELS[name][1]
    )
    found = sorted((w.numpy() for w in emission.model.trainable_weights), key=lambda w: (w.size, w.sum()))
    lost = sorted((w.numpy() for w in original.trainable_weights), key=lambda w: (w.size, w.sum()))
    for ours, theirs in zip(found, lost, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    batch = 2 if name in FIXED_BATCH else 5
    assert emission.model.inputs[0].shape[0] == (2 if name in FIXED_BATCH else None)
    inputs = samples(emission.model, batch)
    one_by_one = [run(original, [x[k : k + 1] for x in inputs]) for k in range(batch)] if batch == 5 else None
    expected = map(np.concatenate, zip(*one_by_one, strict=True)) if one_by_one else run(original, inputs)
    for result, wanted in zip(run(emission.model, inputs), expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=1e-6)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - {"lstm-any-length"}))
@pytest.mark.parametrize("numerics", ["float", "fakequant"])
def test_every_layer_agrees_with_the_board(name: str, numerics: Any, board: Board, tmp_path: Path) -> None:
    """Tensors with time first are read, and put back for a layer's isolated error, as the file has them."""
    data = converted(name)[1]
    source, emission = lift(data), reconstruction(data, numerics)
    recording = capture(board, source, data, random_inputs(source.main, 2), tmp_path)
    result = compare(source.main, recording, KerasTwin.of(emission))
    compared = {row.tensor.index for row in result.rows if row.cumulative is not None and row.isolated is not None}
    graph = idle_state(source.graphs)[0]  # without the seeds of dropout, which count for nothing
    read = {t for node in graph.nodes for t in node.inputs} | set(graph.outputs)
    assert compared >= {t for node in graph.nodes for t in node.outputs if t in read}
    assert all(row.isolated is None or row.isolated.max_abs_over_range <= 1e-5 for row in result.rows)


@pytest.mark.parametrize("name", ["lstm-stack", "gru", "gru-reset-before", "rnn", "lstm-dropout", "gru-dropout"])
def test_trained_weights_go_back_into_the_loop(name: str, board: Board) -> None:
    data = converted(name)[1]
    model = reconstruct(data)
    assert patch(model, data).data == data
    for layer in model.layers:
        layer.set_weights([w + 0.1 * rand(*w.shape, seed=7) for w in layer.get_weights()])
    patched = patch(model, data).data
    inputs, graph = samples(model, 1), lift(patched).main
    with board.open(board.put_model(patched), tensors=list(graph.outputs)) as session:
        device = session.invoke(0, dict(zip(graph.inputs, inputs, strict=True))).tensors
    for result, tensor in zip(run(model, inputs), graph.outputs, strict=True):
        np.testing.assert_allclose(result, device[tensor], atol=1e-6)


def altered(graph: Graph, old: Any, new: Any) -> Graph:
    """The graph with another number in every constant that holds `old` alone."""
    same = [
        t.data is not None and t.data.dtype == np.asarray(old).dtype and np.all(t.data == old) for t in graph.tensors
    ]
    assert any(same)
    tensors = (replace(t, data=np.full_like(t.data, new)) if s else t for t, s in zip(graph.tensors, same, strict=True))
    return replace(graph, tensors=tuple(tensors))


def with_op(graph: Graph, old: str, new: str, count: int) -> Graph:
    places = [k for k, n in enumerate(graph.nodes) if n.op == old][:count]
    assert len(places) == count
    return graph.replace_nodes(tuple(replace(n, op=new) if k in places else n for k, n in enumerate(graph.nodes)))


STRANGERS: dict[str, Callable[[Graph, Graph, Graph], tuple[Graph, Graph, Graph]]] = {
    "leaves out the last step": lambda main, cond, body: (main, altered(cond, np.int32(STEPS), STEPS - 1), body),
    "starts at the second step": lambda main, cond, body: (altered(main, np.int32(0), 1), cond, body),
    "takes every other step": lambda main, cond, body: (main, cond, altered(body, np.int32(1), 2)),
    "one gate is a tanh": lambda main, cond, body: (main, cond, with_op(body, "LOGISTIC", "TANH", 1)),
    "gates are subtracted": lambda main, cond, body: (main, cond, with_op(body, "MUL", "SUB", 1)),
    "runs while either holds": lambda main, cond, body: (main, with_op(cond, "LOGICAL_AND", "LOGICAL_OR", 1), body),
    "one result fewer": lambda main, cond, body: (main, cond, replace(body, outputs=body.outputs[:-1])),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_loop_that_does_something_else_is_no_layer(name: str) -> None:
    graphs = lift(converted("lstm")[1]).graphs
    (loop,) = (n for n in graphs[0].nodes if n.op == "WHILE")
    assert recurrence(graphs, graphs[0], loop) is not None
    changed = STRANGERS[name](*graphs)
    assert recurrence(changed, changed[0], loop) is None
