"""Constants of additions and products: those that the original network trained train again, the others do not."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from numpy.typing import NDArray

from emit.case import rand
from emit.networks import trained
from emit.test_control import agree
from liteback.export.patch import patch
from liteback.reconstruction import reconstruct, reconstruction
from liteback.session.board import Board
from tflite_build import Op, Subgraph, Tensor, build_model


def steps() -> keras.Model:
    """Dense on steps, for any batch, leaves its biases behind a reshape; one has units of two axes, one a single."""
    x = keras.Input((6, 4))
    y = layers.TimeDistributed(layers.Dense(8, activation="relu"))(x)
    y = layers.EinsumDense("abc,cde->abde", (None, 3, 5), bias_axes="de")(y)
    return keras.Model(x, layers.Dense(1)(y))


def transformer() -> keras.Model:
    x = keras.Input((6, 8))
    y = layers.LayerNormalization()(x)
    y = layers.Add()([x, layers.MultiHeadAttention(2, 4)(y, y)])
    z = layers.LayerNormalization()(y)
    return keras.Model(x, layers.Add()([y, layers.Dense(8)(layers.Dense(16, activation="gelu")(z))]))


def scaled_before() -> keras.Model:
    """A normalization before the activation, which no layer takes in; what it has learned are a scale and a shift."""
    x = keras.Input((6, 6, 3))
    y = layers.Conv2D(4, 3)(x)
    z = layers.BatchNormalization()(y)
    return keras.Model(x, layers.Add()([y, layers.ReLU()(z)]))


def groups() -> keras.Model:
    """Scales and shifts of groups of channels, and of a whole image, have several axes."""
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(6, 3, activation="relu")(layers.GroupNormalization(2)(x))
    y = layers.LayerNormalization(axis=[1, 2, 3])(y)
    return keras.Model(x, layers.GlobalAveragePooling2D()(y))


def cells() -> keras.Model:
    """Cells on top of each other, which stay a loop: it adds their biases itself."""
    x = keras.Input((5, 3), batch_size=1)
    stacked = layers.StackedRNNCells([layers.LSTMCell(4), layers.GRUCell(3, reset_after=False)])
    return keras.Model(x, layers.Dense(2)(layers.RNN(stacked)(x)))


def between_loops() -> keras.Model:
    x = keras.Input((5, 3), batch_size=1)
    y = layers.BatchNormalization()(layers.LSTM(4, return_sequences=True)(x))
    return keras.Model(x, layers.GRU(3)(layers.LayerNormalization()(y)))


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    f.__name__: f for f in (steps, transformer, scaled_before, groups, cells)
}
LOOPS = frozenset({"cells", "between_loops"})  # TensorFlow's calibration dies of one (2.19)


@cache
def converted(name: str, quantized: bool) -> tuple[keras.Model, bytes]:
    model = trained(NETWORKS[name])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x[None]] for x in samples(model))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")  # they come from the data set
        return model, bytes(converter.convert())


def samples(model: keras.Model) -> NDArray[np.float32]:
    return rand(model.inputs[0].shape[0] or 16, *model.inputs[0].shape[1:])


def size(model: keras.Model) -> int:
    return sum(math.prod(v.shape) for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "quantized"),
    [*((name, False) for name in NETWORKS), *((name, True) for name in NETWORKS if name not in LOOPS)],
)
def test_what_the_original_trained_trains_again(name: str, quantized: bool) -> None:
    original, data = converted(name, quantized)
    emission = reconstruction(data, "fakequant" if quantized else "float")
    model = emission.model
    assert size(model) == size(original)
    assert not emission.own_layers or quantized or name == "cells"  # which no layer of Keras' is
    assert patch(model, data).data == data
    x = samples(model)
    expected = np.asarray(original(x))
    np.testing.assert_allclose(model(x), expected, atol=np.ptp(expected) / 16 if quantized else 1e-5)  # of 8 bits
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x) - 3.0))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.path


@pytest.mark.parametrize("name", NETWORKS)
def test_they_go_back_into_the_file(name: str) -> None:
    _, data = converted(name, quantized=False)
    model = reconstruct(data)
    x = samples(model)
    model.compile("sgd", "mse")
    model.fit(x, np.asarray(model(x)) + 1, verbose=0)
    again = reconstruct(patch(model, data).data)
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


def added(constant: Tensor, op: str = "ADD", bias: bool = False, more: tuple[Op, ...] = ()) -> bytes:
    """x (1, 4) -> FULLY_CONNECTED -> RESHAPE (2, 2, 1) -> an operator with a constant."""
    tensors = [Tensor([1, 4]), Tensor([4, 4], data=rand(4, 4)), Tensor([1, 4]), Tensor([1, 2, 2])]
    tensors += [Tensor([1, 2, 2]), constant, Tensor([3], "int32", np.int32([1, 2, 2]))]
    tensors += [Tensor([4], data=rand(4)), Tensor([1, 2, 2])]
    kinds = {"ADD": schema.AddOptionsT, "MUL": schema.MulOptionsT}
    ops = [
        Op("FULLY_CONNECTED", [0, 1, 7 if bias else -1], [2], schema.FullyConnectedOptionsT()),
        Op("RESHAPE", [2, 6], [3], schema.ReshapeOptionsT()),
        Op(op, [3, 5], [4], kinds[op]()),
        *more,
    ]
    return build_model(Subgraph(tensors, ops, [0], [4]))


PAIR, TABLE = Tensor([2], data=rand(2, seed=1)), Tensor([2, 2], data=rand(2, 2, seed=1))
TRAINS = {
    "a shift": (added(PAIR), True),
    "a scale": (added(PAIR, "MUL"), True),
    "a scale of an axis before the last": (added(Tensor([2, 1], data=rand(2, 1, seed=1)), "MUL"), True),
    "a mask": (added(Tensor([2], data=np.float32([0, -1e9]))), False),
    "a bias behind a reshape": (added(TABLE), True),
    "beside a bias, a table": (added(TABLE, bias=True), False),
    "a scale of each element": (added(TABLE, "MUL"), False),
    "one value for all channels": (added(Tensor([2], data=np.float32([3, 3]))), False),
    "one value": (added(Tensor([], data=np.float32(3))), False),
    "also the exponent of something": (added(PAIR, more=(Op("POW", [3, 5], [8], schema.PowOptionsT()),)), False),
}


@pytest.mark.parametrize(("data", "trains"), TRAINS.values(), ids=TRAINS)
def test_only_a_bias_or_a_scale_or_shift_of_channels_is_one(data: bytes, trains: bool) -> None:
    """Of what is learned: a mean that is taken off the input is not."""
    paths = [v.path for v in reconstruct(data).trainable_variables if "dense" not in v.path]
    assert len(paths) == trains
    assert all(p in ("add_002_bias/embeddings", "mul_002_scale/embeddings") for p in paths)


@pytest.mark.parametrize(("cells", "trains"), [([8] * 24 + [16] * 8, False), (range(32), True)])
def test_the_strides_of_a_detectors_cells_do_not_train(cells: list[int], trains: bool) -> None:
    """Boxes of 32 cells of two grids, in cells, to pixels."""
    tensors = [Tensor([1, 4]), Tensor([128, 4], data=rand(128, 4)), Tensor([1, 128]), Tensor([1, 4, 32])]
    tensors += [Tensor([3], "int32", np.int32([1, 4, 32])), Tensor([1, 32], data=np.float32([cells]))]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], schema.FullyConnectedOptionsT()),
        Op("RESHAPE", [2, 4], [3], schema.ReshapeOptionsT()),
        Op("MUL", [3, 5], [6], schema.MulOptionsT()),
    ]
    model = reconstruct(build_model(Subgraph([*tensors, Tensor([1, 4, 32])], ops, [0], [6])))
    assert size(model) == 128 * 4 + 32 * trains


def normalized(*ops: Op) -> bytes:
    """x (1, 6, 4) less its mean, normalized over both axes by `ops`, #5 -> #8; then its scale and its shift."""
    x, statistic, table = Tensor([1, 6, 4]), Tensor([1, 1, 1]), Tensor([6, 4], data=rand(6, 4))
    tensors = [x, Tensor([2], "int32", np.int32([1, 2])), statistic, x, x, statistic, statistic, x, x, x, table]
    tensors += [Tensor([6, 4], data=rand(6, 4, seed=1)), x]
    mean = schema.ReducerOptionsT(keepDims=True)
    before = [
        Op("MEAN", [0, 1], [2], mean),
        Op("SUB", [0, 2], [3], schema.SubOptionsT()),
        Op("MUL", [3, 3], [4], schema.MulOptionsT()),
        Op("MEAN", [4, 1], [5], mean),
    ]
    after = [Op("MUL", [8, 10], [9], schema.MulOptionsT()), Op("ADD", [9, 11], [12], schema.AddOptionsT())]
    return build_model(Subgraph(tensors, [*before, *ops, *after], [0], [12]))


@pytest.mark.parametrize(
    "ops",
    [
        (Op("SQRT", [5], [6]), Op("DIV", [3, 6], [8], schema.DivOptionsT())),
        (Op("RSQRT", [5], [6]), Op("MUL", [3, 6], [8], schema.MulOptionsT())),
    ],
    ids=["divided by a root", "by a factor"],
)
def test_a_normalization_as_pytorch_writes_it_trains(ops: tuple[Op, ...]) -> None:
    data = normalized(*ops)
    model = reconstruct(data)
    assert size(model) == 2 * 6 * 4
    assert patch(model, data).data == data


def test_a_root_that_divides_nothing_is_no_normalization() -> None:
    """A spectrum, from which the mean of the training data is taken."""
    x, mean = Tensor([1, 4]), Tensor([4], data=rand(4))
    ops = [Op("MUL", [0, 0], [1], schema.MulOptionsT()), Op("SQRT", [1], [2])]
    ops.append(Op("SUB", [2, 3], [4], schema.SubOptionsT()))
    assert reconstruct(build_model(Subgraph([x, x, x, mean, x], ops, [0], [4]))).trainable_variables == []


def test_what_is_computed_at_once_stays_a_number() -> None:
    """Rows of a table that are always the same, and what is added to them: the batch is free all the same."""
    tensors = [Tensor([1, 2, 4]), Tensor([9, 4], data=rand(9, 4)), Tensor([2], "int32", np.int32([3, 5]))]
    tensors += [Tensor([2, 4]), Tensor([4], data=rand(4)), Tensor([2, 4]), Tensor([1, 2, 4])]
    ops = [Op("GATHER", [1, 2], [3], schema.GatherOptionsT(axis=0)), Op("ADD", [3, 4], [5], schema.AddOptionsT())]
    ops.append(Op("MUL", [0, 5], [6], schema.MulOptionsT()))
    model = reconstruct(build_model(Subgraph(tensors, ops, [0], [6])))
    assert model.inputs[0].shape[0] is None
    assert model.trainable_variables == []


def test_what_is_taken_off_an_input_does_not_train() -> None:
    tensors = [Tensor([1, 3]), Tensor([3], data=rand(3)), Tensor([1, 3]), Tensor([2, 3], data=rand(2, 3))]
    ops = [Op("SUB", [0, 1], [2], schema.SubOptionsT())]
    ops += [Op("FULLY_CONNECTED", [2, 3, -1], [4], schema.FullyConnectedOptionsT())]
    model = reconstruct(build_model(Subgraph([*tensors, Tensor([1, 2])], ops, [0], [4])))
    assert [v.path for v in model.trainable_variables] == ["dense_001/kernel"]


def rounded() -> bytes:
    """x (1, 4) W + b; a QUANTIZE puts W, a constant of real numbers, on a grid for each row."""
    grid = Tensor([3, 4], "int8", scale=[0.05, 0.04, 0.03], zero_point=[0, 0, 0])
    tensors = [Tensor([1, 4]), Tensor([3, 4], data=rand(3, 4)), grid, Tensor([3, 4]), Tensor([3], data=rand(3, seed=1))]
    ops = [
        Op("QUANTIZE", [1], [2], schema.QuantizeOptionsT(), version=3),
        Op("DEQUANTIZE", [2], [3], schema.DequantizeOptionsT(), version=5),
        Op("FULLY_CONNECTED", [0, 3, 4], [5], schema.FullyConnectedOptionsT()),
    ]
    return build_model(Subgraph([*tensors, Tensor([1, 3])], ops, [0], [5]))


def test_a_kernel_that_is_rounded_in_each_run_trains(board: Board) -> None:
    data, x = rounded(), [(rand(1, 4, seed=2),)]
    emission = reconstruction(data)
    assert size(emission.model) == 15
    assert emission.own_layers == ()
    agree(emission.model, board, data, x)
    assert patch(emission.model, data).data == data
    kernel = emission.model.trainable_weights[0]
    kernel.assign(-kernel.numpy())  # what is on the grid stays there
    patched = patch(emission.model, data).data
    assert patched != data
    agree(emission.model, board, patched, x)


def masked() -> bytes:
    """x (N, 4) -> x + 0: zeros like what a step of weights makes of x, as a masked recurrent layer begins."""
    row = Tensor([1, 4], shape_signature=[-1, 4])
    tensors = [row, Tensor([4, 4], data=rand(4, 4)), *[row] * 5]
    ops = [
        Op("FULLY_CONNECTED", [0, 1, -1], [2], schema.FullyConnectedOptionsT()),
        Op("LOGISTIC", [2], [3]),
        Op("MUL", [3, 0], [4], schema.MulOptionsT()),
        Op("ZEROS_LIKE", [4], [5], schema.ZerosLikeOptionsT()),
        Op("ADD", [5, 0], [6], schema.AddOptionsT()),
    ]
    return build_model(Subgraph(tensors, ops, [0], [6]))


def test_what_is_computed_for_its_shape_alone_is_left_out(board: Board) -> None:
    model, x = reconstruct(masked()), rand(3, 4)
    assert model.weights == []
    np.testing.assert_array_equal(model(x), x)
    agree(model, board, masked(), [(x[:1],)])
    assert patch(model, masked()).data == masked()


def sharing_a_bias() -> bytes:
    """x (1, 4) V + b, then W + b: a converter keeps equal constants once."""
    tensors = [Tensor([1, 4]), Tensor([4, 4], data=rand(4, 4)), Tensor([4, 4], data=rand(4, 4, seed=1))]
    tensors += [Tensor([4], data=rand(4, seed=2)), Tensor([1, 4]), Tensor([1, 4])]
    relu = schema.ActivationFunctionType.RELU
    ops = [
        Op("FULLY_CONNECTED", [0, 1, 3], [4], schema.FullyConnectedOptionsT(fusedActivationFunction=relu)),
        Op("FULLY_CONNECTED", [4, 2, 3], [5], schema.FullyConnectedOptionsT()),
    ]
    return build_model(Subgraph(tensors, ops, [0], [5]))


def test_layers_that_share_a_bias_stay_layers(board: Board) -> None:
    data, x = sharing_a_bias(), [(rand(1, 4, seed=3),)]
    model = reconstruct(data)
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)] == ["dense_000", "dense_001"]
    assert size(model) == 36
    agree(model, board, data, x)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() / 2)
    agree(model, board, patch(model, data).data, x)


def test_a_constant_before_what_it_multiplies_is_a_dense_layer() -> None:
    """As networks that mix positions have it."""
    tensors = [Tensor([1, 5, 3]), Tensor([4, 5], data=rand(4, 5)), Tensor([1, 4, 3])]
    data = build_model(Subgraph(tensors, [Op("BATCH_MATMUL", [1, 0], [2], schema.BatchMatMulOptionsT())], [0], [2]))
    model, x = reconstruct(data), rand(2, 5, 3, seed=1)
    assert [v.path for v in model.trainable_variables] == ["batch_matmul_000/kernel"]
    np.testing.assert_allclose(model(x), rand(4, 5) @ x, atol=1e-6)
    assert patch(model, data).data == data
