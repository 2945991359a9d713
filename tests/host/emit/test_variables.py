"""Files that train on the device: their weights are variables, which the graph that infers only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from emit.case import rand
from emit.test_control import agree, run
from liteback.export.patch import patch
from liteback.inspection import inspect
from liteback.reconstruction import reconstruct, reconstruction, signature_reconstructions
from liteback.saving import save
from liteback.session.board import Board
from tflite_build import Op, Signature, Subgraph, Tensor, build_model

RESOURCE = Tensor([], "resource")
KERNEL, WEIGHTS, BIAS = rand(3, 3, 1, 4, seed=1), rand(8, 4, seed=2), np.full(4, 0.1, np.float32)
STARTS = (KERNEL, WEIGHTS, BIAS)


def handle(index: int, name: str) -> Op:
    return Op("VAR_HANDLE", [], [index], schema.VarHandleOptionsT(sharedName=name))


def read(index: int, out: int) -> Op:
    return Op("READ_VARIABLE", [index], [out], schema.ReadVariableOptionsT())


def assign(index: int, value: int) -> Op:
    return Op("ASSIGN_VARIABLE", [index, value], [], schema.AssignVariableOptionsT())


def start() -> Subgraph:
    """What CALL_ONCE runs: each variable gets the constant that it starts as."""
    tensors = [t for value in STARTS for t in (RESOURCE, Tensor(value.shape, data=value))]
    ops = [op for k in range(len(STARTS)) for op in (handle(2 * k, str(k)), assign(2 * k, 2 * k + 1))]
    return Subgraph(tensors, ops, [], [], "start")


ONCE = Op("CALL_ONCE", [], [], schema.CallOnceOptionsT(initSubgraphIndex=1))


def inferring() -> Subgraph:
    """x (1, 4, 4, 1) -> a convolution, its kernel turned in each run; a mean; a product and a bias; (1, 4) twice."""
    conv = schema.Conv2DOptionsT(
        strideH=1, strideW=1, padding=schema.Padding.VALID, dilationHFactor=1, dilationWFactor=1
    )
    known = [
        Tensor([4], "int32", np.int32([3, 0, 1, 2])),
        Tensor([4], data=rand(4)),
        Tensor([2], "int32", np.int32([1, 8])),
    ]
    tensors = [Tensor([1, 4, 4, 1], name="x"), RESOURCE, RESOURCE, RESOURCE, *(Tensor(s.shape) for s in STARTS), *known]
    shapes = ([4, 3, 3, 1], [1, 2, 2, 4], [1, 2, 2, 2], [1, 8], [1, 4], [1, 4], [1, 4], [4, 8], [1, 8])
    tensors += [Tensor(shape) for shape in shapes]
    ops = [
        ONCE,
        *(op for k in range(3) for op in (handle(1 + k, str(k)), read(1 + k, 4 + k))),
        Op("TRANSPOSE", [4, 7], [10], schema.TransposeOptionsT()),
        Op("CONV_2D", [0, 10, 8], [11], conv),
        Op("SLICE", [11, len(tensors), len(tensors) + 1], [12], schema.SliceOptionsT()),
        Op("RESHAPE", [12, 9], [13], schema.ReshapeOptionsT(newShape=[1, 8])),
        Op("BATCH_MATMUL", [13, 5], [14], schema.BatchMatMulOptionsT()),
        Op("ADD", [14, 6], [15], schema.AddOptionsT()),
        Op("TANH", [15], [16], None),
        Op("TRANSPOSE", [5, len(tensors) + 2], [17], schema.TransposeOptionsT()),
        Op("BATCH_MATMUL", [16, 17], [18], schema.BatchMatMulOptionsT()),
    ]
    ends = [Tensor([4], "int32", np.zeros(4, np.int32)), Tensor([4], "int32", np.int32([1, 2, 2, 2]))]
    return Subgraph([*tensors, *ends, Tensor([2], "int32", np.int32([1, 0]))], ops, [0], [16, 18], "infer")


def training() -> Subgraph:
    """bias = y, which it gives back."""
    ops = [ONCE, handle(0, "2"), assign(0, 1), Op("NEG", [1], [2], schema.NegOptionsT())]
    return Subgraph([RESOURCE, Tensor([4], name="y"), Tensor([4])], ops, [1], [2], "train")


def trainable() -> bytes:
    signatures = [Signature("infer", {"x": 0}, {"y": 16, "z": 18}), Signature("train", {"y": 1}, {"z": 2}, subgraph=2)]
    return build_model(inferring(), start(), training(), signatures=signatures)


def samples(count: int) -> list[NDArray[Any]]:
    return [rand(1, 4, 4, 1, seed=k) for k in range(count)]


def test_what_is_only_read_trains_and_leaves_the_batch_free(board: Board) -> None:
    emission = reconstruction(trainable())
    model = emission.model
    assert model.inputs[0].shape == (None, 4, 4, 1)
    # The kernel, which is turned, and its bias, a constant; the product's weights, once, though they serve twice.
    assert sorted(w.shape.num_elements() for w in model.trainable_weights) == [4, 4, 32, 36]
    assert model.non_trainable_weights == []
    assert emission.own_layers == ()
    agree(model, board, trainable(), [(x,) for x in samples(2)])
    together = run(model, np.concatenate(samples(3)))
    alone = [run(model, x) for x in samples(3)]
    for k, value in enumerate(together):
        np.testing.assert_allclose(value, np.concatenate([a[k] for a in alone]), atol=1e-6)


def test_its_weights_go_back_to_where_the_file_starts_from(board: Board) -> None:
    data = trainable()
    model = reconstruct(data)
    assert patch(model, data).data == data
    for k, weight in enumerate(model.trainable_weights):
        weight.assign(weight + rand(*weight.shape, seed=k))
    patched = patch(model, data)
    assert sorted(c.elements for c in patched.changed) == [4, 4, 32, 36]
    agree(model, board, patched.data, [(x,) for x in samples(2)])
    (bias,) = (w for w in reconstruct(patched.data).trainable_weights if "bias" in w.path and "add" in w.path)
    np.testing.assert_array_equal(
        np.ravel(bias), np.ravel(next(w for w in model.trainable_weights if w.path == bias.path))
    )


def test_a_variable_that_another_signature_assigns_stays_one(tmp_path: Path) -> None:
    found, _ = signature_reconstructions(trainable())
    save(found["serving_default"], tmp_path / "model", found)
    loaded = tf.saved_model.load(tmp_path / "model")
    (x,) = samples(1)
    loaded.signatures["train"](y=BIAS * 30)
    model = reconstruct(trainable())
    next(w for w in model.trainable_weights if "add" in w.path).assign([BIAS * 30])
    np.testing.assert_allclose(loaded.signatures["infer"](x=x)["y"], run(model, x)[0], atol=1e-6)


def test_inspect_says_of_its_weights_what_they_are() -> None:
    assert inspect(trainable()).quantization == "float32"


@pytest.mark.parametrize("numerics", ["fakequant", "exact"])
def test_other_numerics_read_it_alike(numerics: Any) -> None:
    (x,) = samples(1)
    model = reconstruct(trainable(), numerics)
    np.testing.assert_allclose(run(model, x)[1], run(reconstruct(trainable()), x)[1], atol=1e-6)
