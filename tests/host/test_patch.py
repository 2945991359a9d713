"""Weights that were trained go back into the file, which then computes what the model does."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from emit.case import ints, rand
from emit.test_control import agree
from numpy.typing import NDArray

from liteback.emit.emission import Numerics
from liteback.errors import UsageError
from liteback.export.patch import patch
from liteback.lift import lift
from liteback.reconstruction import reconstruct, reconstruction
from liteback.session.board import Board
from tflite_build import Op, Signature, Subgraph, Tensor, build_model


def two_layers(*weights: Tensor, bias: NDArray[Any]) -> bytes:
    """x (1, 4) -> FULLY_CONNECTED -> FULLY_CONNECTED, both with the one bias."""
    tensors = [Tensor([1, 4], name="x"), Tensor([1, 4]), Tensor([1, 4]), Tensor(bias.shape, data=bias), *weights]
    options = schema.FullyConnectedOptionsT()
    ops = [Op("FULLY_CONNECTED", [0, 4, 3], [1], options), Op("FULLY_CONNECTED", [1, 5, 3], [2], options)]
    return build_model(Subgraph(tensors, ops, [0], [2]))


def kernels(dtype: str, **quantization: Any) -> list[Tensor]:
    """Two different ones."""
    values = [rand(4, 4, seed=s) if dtype == "float32" else ints(4, 4, dtype=dtype, seed=s) for s in (1, 2)]
    return [Tensor([4, 4], dtype, v, **quantization) for v in values]


def one_layer_twice() -> bytes:
    """The same layer on two tensors of int8: one kernel, and the bias in the scale of each input."""
    bias, scales, step = rand(4, seed=5), (0.02, 0.1, 0.3), 0.01
    activations = [Tensor([1, 4], "int8", name=n, scale=s, zero_point=0) for n, s in zip("xyz", scales, strict=True)]
    biases = [Tensor([4], "int32", np.int32(np.round(bias / (s * step))), scale=s * step, zero_point=0) for s in scales]
    kernel = Tensor([4, 4], "int8", ints(4, 4, low=-99, high=99, dtype="int8"), scale=step, zero_point=0)
    options = schema.FullyConnectedOptionsT()
    ops = [Op("FULLY_CONNECTED", [i, 3, 4 + i], [i + 1], options, 4) for i in (0, 1)]
    return build_model(Subgraph([*activations, kernel, *biases[:2]], ops, [0], [2]))


def one_bias_in_two_scales() -> bytes:
    """The same layer on two tensors of int8: one kernel, and one bias, whose codes are other numbers to each."""
    activations = [
        Tensor([1, 4], "int8", name=n, scale=s, zero_point=0) for n, s in (("x", 0.02), ("y", 0.1), ("z", 1))
    ]
    kernel = Tensor([4, 4], "int8", ints(4, 4, low=-99, high=99, dtype="int8"), scale=0.01, zero_point=0)
    bias = Tensor([4], "int32", np.int32([900, -2000, 400, 3000]), scale=0.02 * 0.01, zero_point=0)
    options = schema.FullyConnectedOptionsT()
    ops = [Op("FULLY_CONNECTED", [i, 3, 4], [i + 1], options, 4) for i in (0, 1)]
    return build_model(Subgraph([*activations, kernel, bias], ops, [0], [2]))


def bias_without_scale() -> bytes:
    """An int8 layer whose int32 bias has codes alone; the kernel knows their scale."""
    tensors = [
        Tensor([1, 4], "int8", name="x", scale=0.05),
        Tensor([4, 4], "int8", ints(4, 4, low=-99, high=99, dtype="int8"), scale=0.01),
        Tensor([4, 1], "int32", np.int32([[1000], [-2000], [300], [0]])),
        Tensor([1, 4], "int8", scale=0.2),
    ]
    options = schema.FullyConnectedOptionsT()
    return build_model(Subgraph(tensors, [Op("FULLY_CONNECTED", [0, 1, 2], [3], options, 4)], [0], [3]))


def sparse_layer(twice: bool = False) -> bytes:
    """A float16 kernel of which the file stores two elements of each row; it becomes dense as the model is loaded."""
    stored = rand(4, 2, seed=6).astype(np.float16)
    row = schema.DimensionMetadataT(
        format=schema.DimensionType.SPARSE_CSR,
        arraySegmentsType=schema.SparseIndexVector.Uint8Vector,
        arraySegments=schema.Uint8VectorT(values=np.arange(0, 10, 2, dtype=np.uint8)),
        arrayIndicesType=schema.SparseIndexVector.Uint8Vector,
        arrayIndices=schema.Uint8VectorT(values=np.array([0, 1, 1, 2, 2, 3, 0, 3], np.uint8)),
    )
    rows = schema.DimensionMetadataT(format=schema.DimensionType.DENSE, denseSize=4)
    sparsity = schema.SparsityParametersT(traversalOrder=[0, 1], dimMetadata=[rows, row])
    kernel = Tensor([4, 4], "float16", stored.tobytes(), sparsity=sparsity)
    tensors = [Tensor([1, 4], name="x"), Tensor([1, 4]), kernel, Tensor([4, 4], "float16"), Tensor([4, 4])]
    options = schema.FullyConnectedOptionsT()
    ops = [Op("DENSIFY", [2], [3]), Op("DEQUANTIZE", [3], [4]), Op("FULLY_CONNECTED", [0, 4, -1], [1], options)]
    if twice:  # and its result by the kernel as it lies in the file
        tensors.append(Tensor([1, 4]))
        ops.append(Op("BATCH_MATMUL", [1, 4], [5], schema.BatchMatMulOptionsT()))
    return build_model(Subgraph(tensors, ops, [0], [5 if twice else 1]))


TANH = schema.ActivationFunctionType.TANH
ZEROS = np.zeros(4, np.float32)
FILES: dict[str, tuple[bytes, Numerics, float]] = {  # with what a new weight is rounded by
    "zeros that both layers have": (two_layers(*kernels("float32"), bias=ZEROS), "float", 0),
    "a bias that is a column": (two_layers(*kernels("float32"), bias=rand(4, 1, seed=7)), "float", 0),
    "a bias without a scale": (bias_without_scale(), "fakequant", 0.01),
    "one layer, two biases": (one_layer_twice(), "fakequant", 0.01),
    "one layer, a bias in two scales": (one_bias_in_two_scales(), "fakequant", 0.01),
    "sparse float16": (sparse_layer(), "float", 2**-11),
    "sparse float16 in two places": (sparse_layer(twice=True), "float", 2**-11),
    "hybrid int8": (two_layers(*kernels("int8", scale=0.02, zero_point=0), bias=ZEROS), "fakequant", 0.01),
    "hybrid uint8": (two_layers(*kernels("uint8", scale=0.02, zero_point=7), bias=ZEROS), "fakequant", 0.01),
}


def test_a_weight_that_moves_less_than_half_a_step_changes_nothing() -> None:
    data = two_layers(*kernels("int8", scale=0.02, zero_point=0), bias=ZEROS)
    model = reconstruct(data, "float")
    kernel = model.get_layer("dense_000").kernel
    kernel.assign(np.asarray(kernel) + np.float32(0.004))
    patched = patch(model, data)
    assert patched.data == data
    assert [(c.moved, c.changed) for c in patched.changes] == [(16, 0)]
    assert patched.changed == ()


@pytest.mark.parametrize(("data", "numerics", "rounding"), FILES.values(), ids=FILES)
def test_trained_weights_go_back_into_the_file(data: bytes, numerics: Numerics, rounding: float) -> None:
    model = reconstruct(data, numerics)
    assert patch(model, data).data == data, "nothing was trained"
    model.compile("sgd", loss="mse")
    model.fit(rand(8, 4, seed=3), rand(8, 4, seed=4), epochs=3, verbose=0)
    patched = patch(model, data)
    assert patched.changes
    assert len(patched.data) == len(data)
    again = reconstruct(patched.data, numerics)
    for new, trained in zip(again.weights, model.weights, strict=True):
        np.testing.assert_allclose(np.asarray(new), np.asarray(trained), atol=rounding * (1 + 1e-4))


def test_what_a_sparse_constant_has_no_room_for_is_refused() -> None:
    data = sparse_layer()
    model = reconstruct(data)
    model.set_weights([np.ones(v.shape, np.float32) for v in model.weights])
    with pytest.raises(UsageError, match="stores its weights sparse, 8 of 16, and the model has 8 others"):
        patch(model, data)


def test_what_float16_cannot_hold_is_clipped_and_counted() -> None:
    tensors = [Tensor([1, 4]), Tensor([4, 4], "float16", rand(4, 4)), Tensor([4, 4]), Tensor([1, 4])]
    ops = [Op("DEQUANTIZE", [1], [2]), Op("FULLY_CONNECTED", [0, 2], [3], schema.FullyConnectedOptionsT())]
    data = build_model(Subgraph(tensors, ops, [0], [3]))
    model = reconstruct(data)
    kernel = model.weights[0]
    kernel.assign(np.float32([[1e5, -7e4, 65519, 65504]] * 4))
    patched = patch(model, data)
    assert [(c.changed, c.clipped) for c in patched.changes] == [(16, 8)]
    np.testing.assert_array_equal(reconstruct(patched.data).weights[0], [[65504, -65504, 65504, 65504]] * 4)


def table_that_embeds_and_scores() -> bytes:
    """ids (1, 3) -> the rows of a table -> their product with every row."""
    tensors = [
        Tensor([1, 3], "int32", name="ids"),
        Tensor([9, 4], data=rand(9, 4)),
        Tensor([1, 3, 4]),
        Tensor([1, 3, 9]),
    ]
    options = schema.FullyConnectedOptionsT(keepNumDims=True)
    ops = [
        Op("GATHER", [1, 0], [2], schema.GatherOptionsT(axis=0)),
        Op("FULLY_CONNECTED", [2, 1], [3], options),
    ]
    return build_model(Subgraph(tensors, ops, [0], [3]))


def unrolled_steps() -> bytes:
    """h = x W + b, then h = h W + b, where the first bias is fused and the second is not, as converters write it."""
    tensors = [Tensor([1, 4]) for _ in range(4)]
    tensors += [Tensor([4, 4], data=rand(4, 4, seed=1)), Tensor([4], data=rand(4, seed=2))]
    options = schema.FullyConnectedOptionsT()
    ops = [
        Op("FULLY_CONNECTED", [0, 4, 5], [1], options),
        Op("FULLY_CONNECTED", [1, 4], [2], options),
        Op("ADD", [2, 5], [3], schema.AddOptionsT()),
    ]
    return build_model(Subgraph(tensors, ops, [0], [3]))


def filter_of_two_strides() -> bytes:
    """x (1, 4, 4, 1) -> CONV_2D, and its result -> CONV_2D with the same filter, which strides."""
    tensors = [Tensor([1, 4, 4, 1]), Tensor([1, 2, 2, 1], data=rand(1, 2, 2, 1)), Tensor([1, 4, 4, 1])]
    tensors.append(Tensor([1, 2, 2, 1]))
    unit = {"dilationHFactor": 1, "dilationWFactor": 1}
    options = [schema.Conv2DOptionsT(strideH=s, strideW=s, **unit) for s in (1, 2)]
    ops = [Op("CONV_2D", [0, 1], [2], options[0]), Op("CONV_2D", [2, 1], [3], options[1])]
    return build_model(Subgraph(tensors, ops, [0], [3]))


def two_branches(outputs: list[int], signatures: tuple[Signature, ...] = ()) -> bytes:
    """x (1, 4) -> a FULLY_CONNECTED of 3 units, tensor 2, and one of 2, tensor 4."""
    tensors = [Tensor([1, 4], name="x"), Tensor([3, 4], data=rand(3, 4)), Tensor([1, 3])]
    tensors += [Tensor([2, 4], data=rand(2, 4)), Tensor([1, 2])]
    ops = [Op("FULLY_CONNECTED", [0, k, -1], [k + 1], schema.FullyConnectedOptionsT()) for k in (1, 3)]
    return build_model(Subgraph(tensors, ops, [0], outputs), signatures=signatures)


SIGNATURES = (Signature("both", {"x": 0}, {"a": 2, "b": 4}), Signature("a", {"x": 0}, {"y": 2}))
SIGNATURES += (Signature("b", {"x": 0}, {"y": 4}),)


@pytest.mark.parametrize(
    ("data", "signature", "layers"),
    [
        (two_branches([2]), None, ["dense_000"]),
        (two_branches([2, 4], SIGNATURES), "a", ["dense_000"]),
        (two_branches([2, 4], SIGNATURES), "b", ["dense_001"]),
        (two_branches([2, 4], SIGNATURES), "both", ["dense_000", "dense_001"]),
        (two_branches([2], SIGNATURES), "b", ["dense_001"]),
    ],
)
def test_what_no_output_needs_keeps_its_weights(data: bytes, signature: str | None, layers: list[str]) -> None:
    model = reconstruct(data, signature=signature)
    assert patch(model, data).data == data
    model.set_weights([2 * w for w in model.get_weights()])
    patched = patch(model, data)
    assert [c.layer for c in patched.changes] == layers
    for new, trained in zip(reconstruct(patched.data, signature=signature).weights, model.weights, strict=True):
        np.testing.assert_array_equal(new, trained)


def test_a_model_without_a_layer_that_its_outputs_need_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no reconstruction of this \.tflite file: dense_001 is missing"):
        patch(reconstruct(two_branches([2])), two_branches([2, 4]))


def sharing(data: bytes, one: tuple[int, int], other: tuple[int, int]) -> bytes:
    """The file with the bytes of one constant for another, too. A constant: its subgraph and tensor."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    tensors = [model.subgraphs[graph].tensors[index] for graph, index in (one, other)]
    tensors[1].buffer = tensors[0].buffer
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def two_kernels_of_one_copy() -> bytes:
    """x (1, 4) -> FULLY_CONNECTED -> FULLY_CONNECTED, by constants that differ in their numbers alone: 4 and 5."""
    return sharing(two_layers(*kernels("float32"), bias=ZEROS), (0, 4), (0, 5))


def test_layers_of_one_copy_go_back_only_with_the_same_values() -> None:
    data = two_kernels_of_one_copy()
    model = reconstruct(data)
    first, second = (model.get_layer(name).kernel for name in ("dense_000", "dense_001"))
    first.assign(first + 1)
    with pytest.raises(UsageError, match=r"one copy of .* constant #4 of dense_000; constant #5 of dense_001"):
        patch(model, data)
    second.assign(first)
    again = reconstruct(patch(model, data).data)
    for new, trained in zip(again.weights, model.weights, strict=True):
        np.testing.assert_array_equal(new, trained)


def test_a_number_that_lies_where_a_weight_does_stays_what_it_is() -> None:
    tensors = [Tensor([1, 4]), Tensor([4], data=rand(4)), Tensor([1, 4]), Tensor([4], data=rand(4)), Tensor([1, 4])]
    tensors.append(Tensor([4, 4], data=rand(4, 4)))
    ops = [Op("POW", [0, 1], [2]), Op("FULLY_CONNECTED", [2, 5, 3], [4], schema.FullyConnectedOptionsT())]
    data = sharing(build_model(Subgraph(tensors, ops, [0], [4])), (0, 1), (0, 3))
    model = reconstruct(data)
    layer = model.get_layer("dense_001")
    layer.kernel.assign(layer.kernel + 1)
    assert [c.tensor for c in patch(model, data).changed] == [5]
    layer.bias.assign(layer.bias + 1)
    with pytest.raises(UsageError, match="constant #3 of dense_001; constant #1 of pow_000, which does not train it"):
        patch(model, data)


def test_a_copy_that_another_signature_also_reads_is_written() -> None:
    options = schema.FullyConnectedOptionsT()
    tensors = [Tensor([1, 4]), Tensor([4, 4], data=rand(4, 4)), Tensor([1, 4])]
    graph = Subgraph(tensors, [Op("FULLY_CONNECTED", [0, 1], [2], options)], [0], [2])
    signatures = [Signature(key, {"x": 0}, {"y": 2}, subgraph=k) for k, key in enumerate(("encode", "decode"))]
    data = sharing(build_model(graph, graph, signatures=signatures), (0, 1), (1, 1))
    model = reconstruct(data, signature="encode")
    model.set_weights([2 * w for w in model.get_weights()])
    patched = patch(model, data)
    for key in ("encode", "decode"):
        np.testing.assert_array_equal(reconstruct(patched.data, signature=key).weights[0], model.weights[0])


def lstm_of_zeros(peepholes: bool = False) -> bytes:
    """x (1, 5, 3) -> an LSTM of 4 units, whose gates have one constant of zeros as their biases."""
    weights = [*(rand(4, 3, seed=k) for k in range(4)), *(rand(4, 4, seed=k) for k in range(4, 8))]
    weights += [rand(4, seed=k) for k in range(8, 11)]
    tensors = [Tensor([1, 5, 3]), *(Tensor(w.shape, data=w) for w in weights), Tensor([4], data=ZEROS)]
    tensors += [Tensor([1, 4], variable=True), Tensor([1, 4], variable=True), Tensor([1, 5, 4])]
    diagonal = [9, 10, 11] if peepholes else [-1] * 3
    inputs = [*range(9), *diagonal, *[12] * 4, -1, -1, 13, 14, *[-1] * 4]
    options = schema.UnidirectionalSequenceLSTMOptionsT(fusedActivationFunction=TANH, cellClip=10.0)
    return build_model(Subgraph(tensors, [Op("UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, [15], options)], [0], [15]))


def both_ways_of_zeros(lstm: bool) -> bytes:
    """x (1, 5, 3) -> a bidirectional layer of 2 units each way, all biases of which are one constant of zeros."""
    tensors = [Tensor([1, 5, 3]), Tensor([2], data=np.zeros(2)), Tensor([1, 5, 4])]
    tensors += [Tensor([1, 2], variable=True) for _ in range(4)]
    inputs, gates = [0], 4 if lstm else 1
    for state in (3, 4):
        inputs += range(len(tensors), len(tensors) + 2 * gates)
        tensors += [Tensor([2, n], data=rand(2, n, seed=n * state + k)) for n in (3, 2) for k in range(gates)]
        inputs += [-1, -1, -1, 1, 1, 1, 1, -1, -1] if lstm else [1, state]
    if lstm:
        lstm_options = schema.BidirectionalSequenceLSTMOptionsT(TANH, mergeOutputs=True, timeMajor=False)
        op = Op("BIDIRECTIONAL_SEQUENCE_LSTM", [*inputs, 3, 4, 5, 6, *[-1] * 9], [2], lstm_options)
    else:
        options = schema.BidirectionalSequenceRNNOptionsT(fusedActivationFunction=TANH, mergeOutputs=True)
        op = Op("BIDIRECTIONAL_SEQUENCE_RNN", [*inputs, *[-1] * 3], [2], options)
    return build_model(Subgraph(tensors, [op], [0], [2]))


RECURRENT = {
    "LSTM": (lstm_of_zeros(), 8),
    "LSTM with peepholes": (lstm_of_zeros(peepholes=True), 11),
    "LSTM both ways": (both_ways_of_zeros(lstm=True), 16),
    "RNN both ways": (both_ways_of_zeros(lstm=False), 4),
}


@pytest.mark.parametrize(("data", "constants"), RECURRENT.values(), ids=RECURRENT)
def test_a_recurrent_layer_without_a_bias_goes_back(data: bytes, constants: int, board: Board) -> None:
    x = rand(1, 5, 3, seed=12)
    model = reconstruct(data)
    agree(model, board, data, [[x]])
    model.compile("sgd", loss="mse")
    model.fit(x, np.ones((1, 5, 4), np.float32), epochs=3, verbose=0)
    patched = patch(model, data)
    assert len(patched.changed) == constants
    agree(model, board, patched.data, [[x]])


TIED = {
    "filter": (filter_of_two_strides(), rand(1, 4, 4, 1, seed=4), 1),
    "table": (table_that_embeds_and_scores(), np.int32([[1, 4, 7]]), 1),
    "steps": (unrolled_steps(), rand(1, 4, seed=3), 2),
}


def test_codes_of_zero_may_stand_for_another_bias() -> None:
    kernels = [rand(4, 4, seed=k) for k in (1, 2)]
    tensors = [Tensor([1, 4]) for _ in range(4)] + [Tensor([4, 4], data=k) for k in kernels]
    tensors.append(Tensor([4], "int8", np.zeros(4, np.int8), scale=0.5, zero_point=10))
    options = schema.FullyConnectedOptionsT()
    ops = [Op("FULLY_CONNECTED", [k, 4 + k, 3], [k + 1], options) for k in (0, 1)]
    data = build_model(Subgraph(tensors, [Op("DEQUANTIZE", [6], [3]), *ops], [0], [2]))
    x = rand(1, 4)
    np.testing.assert_allclose(reconstruct(data)(x), (x @ kernels[0].T - 5) @ kernels[1].T - 5, rtol=1e-5)


def test_a_bias_is_another_number_in_another_scale() -> None:
    data = one_bias_in_two_scales()
    model = reconstruct(data)
    kernel, bias = (lift(data).main.tensors[t].data for t in (3, 4))
    assert kernel is not None
    assert bias is not None
    assert len(model.trainable_variables) == 2
    x = np.float32([[0.5, -1, 2, 0.1]])
    expected = (x @ kernel.T * 0.01 + bias * 0.02 * 0.01) @ kernel.T * 0.01 + bias * 0.1 * 0.01
    np.testing.assert_allclose(model(x), expected, rtol=1e-5)


@pytest.mark.parametrize(("data", "x", "count"), TIED.values(), ids=TIED)
def test_a_constant_in_several_places_is_one_variable(data: bytes, x: NDArray[Any], count: int) -> None:
    emission = reconstruction(data)
    model = emission.model
    assert not emission.own_layers
    assert len(model.trainable_variables) == count
    assert patch(model, data).data == data
    model.compile("sgd", loss="mse")
    model.fit(x, np.zeros(model(x).shape), epochs=3, verbose=0)
    patched = patch(model, data)
    assert len(patched.changes) == count
    np.testing.assert_allclose(reconstruct(patched.data)(x), model(x), atol=1e-6)
