"""What `inspect` says of a file, and what a SavedModel leaves out for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from cli.running import document, liteback

from liteback.errors import UnsupportedModel
from liteback.inspection import inspect
from liteback.reconstruction import reconstruct, signature_reconstructions
from tflite_build import Op, Signature, Subgraph, Tensor, build_model


def upsampling() -> bytes:
    """A TRANSPOSE_CONV, whose first input says the shape of its result."""
    tensors = [
        Tensor([4], "int32", np.int32([1, 4, 4, 2])),
        Tensor([2, 2, 2, 3], "int8", np.ones((2, 2, 2, 3), np.int8), scale=0.1, zero_point=0),
        Tensor([1, 2, 2, 3], "int8", scale=0.1, zero_point=0),
        Tensor([1, 4, 4, 2], "int8", scale=0.1, zero_point=0),
    ]
    options = schema.TransposeConvOptionsT(strideH=2, strideW=2, padding=schema.Padding.VALID)
    return build_model(Subgraph(tensors, [Op("TRANSPOSE_CONV", [0, 1, 2], [3], options)], [2], [3]))


def restoring() -> bytes:
    """Three signatures: one computes, one restores from a disk, one takes nothing."""
    x, text = Tensor([1, 4]), Tensor([], "string")
    graphs = [
        Subgraph([x, x], [Op("NEG", [0], [1], schema.NegOptionsT())], [0], [1]),
        Subgraph([text, x], [Op("CUSTOM:FlexRestore", [0], [1], b"")], [0], [1]),
        Subgraph([Tensor([1, 4], data=np.ones((1, 4), np.float32)), x], [Op("NEG", [0], [1])], [], [1]),
    ]
    signatures = [
        Signature("infer", {"x": 0}, {"y": 1}),
        Signature("restore", {"path": 0}, {"y": 1}, subgraph=1),
        Signature("one", {}, {"y": 1}, subgraph=2),
    ]
    return build_model(*graphs, signatures=signatures)


def test_what_a_layer_multiplies_says_how_the_file_is_quantized() -> None:
    assert inspect(upsampling()).quantization == "full int8 per-tensor"


def test_blocks_that_have_scales_of_their_own_are_no_channels(shared_models: Path) -> None:
    found = inspect((shared_models / "networks" / "qwen_fc_blockwise_quantized.tflite").read_bytes())
    assert found.quantization == "dynamic-range int4 in blocks of 32"
    assert found.to_json()["graphs"][0]["tensors"][1]["quantization"]["block_size"] == 32


def test_activations_of_float16_say_so() -> None:
    x, weights = Tensor([1, 4], "float16"), Tensor([2, 4], "float16", np.ones((2, 4), np.float16))
    dense = Op("FULLY_CONNECTED", [0, 1, -1], [2], schema.FullyConnectedOptionsT())
    data = build_model(Subgraph([x, weights, Tensor([1, 2], "float16")], [dense], [0], [2]))
    assert inspect(data).quantization == "float16"


def test_a_signature_that_cannot_come_back_is_no_fault_of_the_main_graph() -> None:
    found = inspect(restoring())
    assert found.unsupported == ()
    assert found.to_json()["reconstructs"] is True
    assert {key: [p.op for p in problems] for key, problems in found.refused.items()} == {
        "restore": ["CUSTOM:FlexRestore"]
    }


def test_a_variable_that_nothing_assigns_stands_in_the_way() -> None:
    """As in a file that was converted without its weights: a runtime reads what nobody wrote."""
    handle = schema.VarHandleOptionsT(container="", sharedName="kernel")
    tensors = [Tensor([], "resource"), Tensor([2, 4]), Tensor([1, 4]), Tensor([1, 2])]
    ops = [
        Op("VAR_HANDLE", [], [0], handle),
        Op("READ_VARIABLE", [0], [1], schema.ReadVariableOptionsT()),
        Op("FULLY_CONNECTED", [2, 1, -1], [3], schema.FullyConnectedOptionsT()),
    ]
    data = build_model(Subgraph(tensors, ops, [2], [3]))
    assert [p.reason for p in inspect(data).unsupported] == [
        "the file never assigns the variable 'kernel': its values are not in it"
    ]
    with pytest.raises(UnsupportedModel, match="never assigns the variable 'kernel'"):
        reconstruct(data)


def test_a_saved_model_leaves_it_out(tmp_path: Path) -> None:
    made, refused = signature_reconstructions(restoring())
    assert made.keys() == {"infer", "serving_default"}
    assert refused.keys() == {"restore", "one"}
    (tmp_path / "model.tflite").write_bytes(restoring())
    said = document("reconstruct", tmp_path / "model.tflite", "-o", tmp_path / "saved")
    assert said["signatures"].keys() == made.keys()
    assert said["refused"]["restore"][0]["op"] == "CUSTOM:FlexRestore"
    serve = tf.saved_model.load(tmp_path / "saved").signatures["infer"]
    np.testing.assert_array_equal(serve(x=tf.ones((1, 4)))["y"], -np.ones((1, 4)))


def test_a_capture_sees_the_main_graph_and_free_extents_may_be_larger(tmp_path: Path) -> None:
    """Of several signatures it is said which one is the main graph's; of free extents, that they count as 1."""
    (tmp_path / "model.tflite").write_bytes(restoring())
    text = " ".join(liteback("inspect", tmp_path / "model.tflite").stdout.split())
    assert "signature infer: x -> y; the main graph, which `capture` measures signature restore: path -> y sign" in text
    assert "takes 16 bytes a sample reconstructs" in text
    for free, says in (
        ([-1, 1, 4], "a sample reconstructs"),
        ([-1, -1, 4], "a sample; more, where free extents (-1),"),
    ):
        x = Tensor([1, 1, 4], shape_signature=free)
        data = build_model(Subgraph([x, x], [Op("NEG", [0], [1], schema.NegOptionsT())], [0], [1]))
        (tmp_path / "free.tflite").write_bytes(data)
        assert says in " ".join(liteback("inspect", tmp_path / "free.tflite").stdout.split())
        assert inspect(data).to_json()["free_extents"] == (free[1] == -1)


@pytest.mark.parametrize(("command", "says"), [("inspect", "not restore"), ("reconstruct", "leaves out restore")])
def test_the_commands_say_so(command: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(restoring())
    output = ["-o", tmp_path / "saved"] if command == "reconstruct" else []
    done = liteback(command, tmp_path / "model.tflite", *output)
    assert done.returncode == 0
    assert says in done.stdout
