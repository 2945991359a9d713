"""Weights in codes, activations that are quantized at run time."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tflite_build as build
from emit.case import Case, const, ints, rand
from emit.cases.matmul import weight_codes
from liteback.emit.build import emit
from liteback.emit.hybrid import DynamicQuant, quantize_rows
from liteback.lift import lift
from liteback.numerics.affine import dequantize
from liteback.numerics.kernels.hybrid import NEON_SCALES_FIRST, ORDERS, SSE_SCALES_FIRST
from liteback.numerics.kernels.xnnpack import XNNPACK
from liteback.numerics.operator import Operator, compute, variants_of
from liteback.numerics.profile import KernelProfile
from liteback.packing import pack
from liteback.session.board import Board, RunOptions
from tflite_build import Op, Subgraph, Tensor, build_model, schema


@pytest.mark.parametrize("asymmetric", [True, False])
def test_each_row_has_the_grid_of_its_own_values(asymmetric: bool) -> None:
    x = rand(4, 50, low=-1, high=3)
    x[1] *= 100
    x[2] = 0
    real = np.asarray(quantize_rows(tf.constant(x), asymmetric))
    for row, quantized in zip(x, real, strict=True):
        step = (np.ptp([*row, 0]) / 255) if asymmetric else np.abs(row).max() / 127
        np.testing.assert_allclose(quantized, row, atol=step * 0.501)
        codes = quantized / (step or 1)
        np.testing.assert_allclose(codes, np.round(codes), atol=1e-3)


def test_the_gradient_passes_straight_through() -> None:
    x = tf.constant(rand(2, 5))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(DynamicQuant(True)(x) * 3)
    np.testing.assert_array_equal(tape.gradient(y, x), np.full((2, 5), 3, np.float32))


def test_only_fakequant_quantizes_activations() -> None:
    case = Case("FULLY_CONNECTED", [rand(1, 6), weight_codes(4, 6), const(rand(4))], {"keep_num_dims": False})
    model = lift(case.model([(1, 4)]))
    assert not emit(model, "float").own_layers
    assert emit(model, "fakequant").own_layers == ("dense_000_dynamic_quant",)


def test_a_model_with_dynamic_quantization_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    case = Case("FULLY_CONNECTED", [rand(1, 6), weight_codes(4, 6), const(rand(4))], {"keep_num_dims": False})
    model = emit(lift(case.model([(1, 4)])), "fakequant").model
    model.save(tmp_path / "m.keras")
    np.testing.assert_array_equal(keras.models.load_model(tmp_path / "m.keras")(rand(1, 6)), model(rand(1, 6)))


def test_blocks_of_a_row_have_scales_of_their_own(shared_models: Path) -> None:
    graph = lift((shared_models / "networks" / "qwen_fc_blockwise_quantized.tflite").read_bytes()).main
    weights, scales = graph.tensors[1], graph.tensors[3]
    assert weights.quantization is not None
    assert weights.quantization.block_size == 32
    assert weights.data is not None
    assert scales.data is not None
    real = dequantize(weights.data, weights.quantization)
    for row, column in ((0, 0), (5, 31), (5, 32), (1023, 1023)):
        assert real[row, column] == np.float32(weights.data[row, column]) * np.float32(scales.data[row, column // 32])


ROWS = rand(3, 96, low=-1, high=5)
BIAS = rand(5, seed=3)


def in_blocks() -> bytes:
    """x (3, 96) -> a dense layer of 5 units, each with three blocks of 4-bit weights that have scales of their own."""
    scales = rand(15, low=0.01, high=0.1, seed=1).astype(np.float16)
    weights = pack(ints(5, 96, low=-8, high=8, dtype="int8", seed=2), 4)
    tensors = [Tensor([3, 96]), Tensor([5, 96], "int4", weights, blocks=(32, 2)), Tensor([5, 3], "float16", scales)]
    dense = Op(
        "FULLY_CONNECTED",
        [0, 1, 3],
        [4],
        schema.FullyConnectedOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU),
        version=13,
    )
    return build_model(Subgraph([*tensors, Tensor([5], data=BIAS), Tensor([3, 5])], [dense], [0], [4]))


@pytest.mark.parametrize("variant", variants_of("FULLY_CONNECTED/float32"))
def test_blocks_of_a_row_are_computed_by_a_kernel_or_refused_by_name(variant: str) -> None:
    """So that a calibration, which tries all, goes on to the next."""
    graph = lift(in_blocks()).main
    node, feeds = graph.nodes[-1], [tf.constant(ROWS), *(graph.tensors[t].data for t in graph.nodes[-1].inputs[1:])]
    operator = Operator.of(node, graph).in_variant(variant)
    if variant in (*ORDERS, NEON_SCALES_FIRST):
        with pytest.raises(NotImplementedError, match="block by block"):
            compute(operator, feeds)
    elif variant not in (SSE_SCALES_FIRST, XNNPACK):  # 2.14 has 0 for the scales
        np.testing.assert_array_equal(compute(operator, feeds), np.maximum(np.broadcast_to(BIAS, (3, 5)), 0))


@pytest.mark.parametrize("kernels", ["builtin", "default"])
def test_blocks_of_a_row_are_summed_as_litert_does(kernels: str, board: Board) -> None:
    graph = lift(in_blocks()).main
    options = RunOptions(runtime="ai_edge_litert", kernels=kernels)
    with board.open(board.put_model(in_blocks()), options, tensors=list(graph.outputs)) as session:
        expected = session.invoke(0, {graph.inputs[0]: ROWS}).tensors[graph.outputs[0]]
    profile = KernelProfile.named(f"ai_edge_litert-2.3-{'builtin' if kernels == 'builtin' else 'xnnpack'}-x86_64")
    found = emit(lift(in_blocks()), "exact", profile=profile).model(ROWS)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("recorded", [(), 0.5])
def test_a_bias_has_the_scale_that_its_kernel_uses(recorded: object) -> None:
    w, b = ints(4, 6, dtype="int8"), ints(4, low=-500, high=500)
    tensors = [
        build.Tensor((1, 6), "int8", scale=0.25, zero_point=0),
        build.Tensor(w.shape, "int8", w, scale=0.5, zero_point=0),
        build.Tensor(b.shape, "int32", b, scale=recorded, zero_point=() if recorded == () else 0),
        build.Tensor((1, 4), "int8", scale=2.0, zero_point=0),
    ]
    data = build.build_model(build.Subgraph(tensors, [build.Op("FULLY_CONNECTED", [0, 1, 2], [3])], [0], [3]))
    layer = emit(lift(data)).model.get_layer("dense_000")
    np.testing.assert_allclose(layer.bias, b * 0.125)
