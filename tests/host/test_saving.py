"""Files of each format, and what is said while they are written."""

from __future__ import annotations

import resource
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from tensorflow.core.protobuf import saved_model_pb2

from liteback.errors import UsageError
from liteback.lift import lift
from liteback.reconstruction import reconstruction, signature_reconstructions
from liteback.saving import check_output, save
from liteback.twin import OutputsOnly, load_model
from tflite_build import Op, Signature, Subgraph, Tensor, build_model


def dense() -> bytes:
    tensors = [Tensor([1, 4], name="x"), Tensor([2, 4], data=np.eye(2, 4, dtype=np.float32)), Tensor([1, 2], name="y")]
    return build_model(
        Subgraph(tensors, [Op("FULLY_CONNECTED", [0, 1], [2], schema.FullyConnectedOptionsT())], [0], [2])
    )


@pytest.mark.parametrize("ending", [".keras", ".h5", ".hdf5"])
def test_a_file_loads_with_keras_and_is_written_in_silence(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    path = tmp_path / f"model{ending}"
    save(reconstruction(dense()), path)
    assert [record.getMessage() for record in caplog.records] == []
    assert [str(warning.message) for warning in recwarn] == []
    model = keras.models.load_model(path, compile=False)
    np.testing.assert_array_equal(model(np.float32([[1, 2, 3, 4]])), [[1, 2]])


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "own.keras")
    with pytest.raises(UsageError, match=r"is a Sequential; .* Functional"):
        load_model(tmp_path / "own.keras")
    with pytest.raises(UsageError, match="a folder"):
        load_model(tmp_path)


def test_a_saved_model_of_other_signatures_is_refused(tmp_path: Path) -> None:
    module = tf.Module()
    call = tf.function(lambda x: x + 1, input_signature=[tf.TensorSpec([1])])
    tf.saved_model.save(module, str(tmp_path / "own"), signatures={"encode": call.get_concrete_function()})
    with pytest.raises(UsageError, match="'encode'"):
        OutputsOnly(tmp_path / "own", lift(dense()))


def test_a_saved_model_serves_the_names_of_the_files_signature(tmp_path: Path) -> None:
    """In Python, where a signature is a function, `x.1` is the keyword `x_1`. What TensorFlow refuses is changed."""
    tensors = [Tensor([1, 4], name="x"), Tensor([1, 4], name="z"), Tensor([1, 4], name="y")]
    graph = Subgraph(tensors, [Op("ADD", [0, 1], [2], schema.AddOptionsT())], [0, 1], [2])
    data = build_model(graph, signatures=[Signature("serving_default", {"x.1": 0, "ä 1Z": 1}, {"y/1": 2})])
    save(signature_reconstructions(data)[0]["serving_default"], tmp_path / "saved")
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((tmp_path / "saved/saved_model.pb").read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    assert (set(signature.inputs), set(signature.outputs)) == ({"x.1", "1Z"}, {"y/1"})
    x, z = np.float32([[1, 2, 3, 4]]), np.float32([[5, 6, 7, 8]])
    serve = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    np.testing.assert_array_equal(serve(x_1=x, arg_1Z=z)["y/1"], x + z)
    outputs = OutputsOnly(tmp_path / "saved", lift(data)).cumulative({0: x, 1: z})
    np.testing.assert_array_equal(outputs[2], x + z)


def two_graphs(first: str, second: str) -> bytes:
    """Two signatures: x (1, 4) -> NEG, the main graph, and x (1, 3) -> TANH."""
    graphs = [
        Subgraph([Tensor([1, n], name="x"), Tensor([1, n], name="y")], [Op(op, [0], [1])], [0], [1])
        for n, op in ((4, "NEG"), (3, "TANH"))
    ]
    return build_model(
        *graphs, signatures=[Signature(first, {"a": 0}, {"b": 1}), Signature(second, {"c": 0}, {"d": 1}, subgraph=1)]
    )


@pytest.mark.parametrize(
    ("keys", "serves"),
    [
        (("decode", "serving_default"), {"decode": "a", "serving_default": "c"}),
        (("serving_default", "decode"), {"serving_default": "a", "decode": "c"}),
        (("decode", "encode"), {"serving_default": "x", "decode": "a", "encode": "c"}),
    ],
)
def test_a_saved_model_keeps_the_files_own_default(
    keys: tuple[str, str], serves: dict[str, str], tmp_path: Path
) -> None:
    data = two_graphs(*keys)
    found, _ = signature_reconstructions(data)
    save(found["serving_default"], tmp_path / "saved", found)
    signatures = tf.saved_model.load(tmp_path / "saved").signatures
    assert {key: next(iter(s.structured_input_signature[1])) for key, s in signatures.items()} == serves
    x = np.float32([[1, 2, 3, 4]])
    np.testing.assert_array_equal(OutputsOnly(tmp_path / "saved", lift(data)).cumulative({0: x})[1], -x)


def test_a_saved_model_without_the_recorded_graph_is_refused(tmp_path: Path) -> None:
    graphs = [Subgraph([Tensor([1, 4]), Tensor([1, 4])], [Op("RELU", [0], [1])], [0], [1]) for _ in range(2)]
    data = build_model(*graphs, signatures=[Signature("f", {"x": 0}, {"y": 1}, subgraph=1)])
    save(signature_reconstructions(data)[0]["serving_default"], tmp_path / "saved")
    with pytest.raises(UsageError, match=r"main graph .* Received: signatures 'f'"):
        OutputsOnly(tmp_path / "saved", lift(data))


def test_a_tensors_name_may_be_in_any_script(tmp_path: Path) -> None:
    save(reconstruction(build_model(Subgraph([Tensor([1, 4], name="é")], [], [0], [0]))), tmp_path / "saved")


@pytest.mark.parametrize(
    ("names", "takes"),
    [
        (["in", "self", "None"], ["in_0", "self_1", "None_2"]),
        (["x.1", "x_1", "x"], ["x_1_0", "x_1_1", "x"]),
        (["x", "X", "x_0"], ["x_1", "X_2", "x_0"]),
    ],
)
def test_an_input_has_a_name_that_a_function_takes(names: list[str], takes: list[str], tmp_path: Path) -> None:
    """No word of Python's, no `self`, none twice: TensorFlow tells neither `.` from `_` nor `X` from `x`."""
    tensors = [Tensor([1, 4]) for _ in range(6)]
    graph = Subgraph(tensors, [Op("NEG", [k], [k + 3], schema.NegOptionsT()) for k in range(3)], [0, 1, 2], [3, 4, 5])
    named = Signature("f", {n: k for k, n in enumerate(names)}, {n: k + 3 for k, n in enumerate(names)})
    data = build_model(graph, signatures=[named])
    save(signature_reconstructions(data)[0]["serving_default"], tmp_path / "saved")
    serve = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    assert set(serve.structured_input_signature[1]) == set(takes)
    assert set(serve.structured_outputs) == set(names)
    x = {k: np.full((1, 4), k, np.float32) for k in range(3)}
    results = OutputsOnly(tmp_path / "saved", lift(data)).cumulative(x)
    for k in range(3):
        np.testing.assert_array_equal(results[k + 3], -x[k])


def test_every_output_has_a_name_of_its_own(tmp_path: Path) -> None:
    tensors = [Tensor([1, 4], name="x"), *(Tensor([1, 4], name=name) for name in ("a_1", "a", "a"))]
    ops = [Op(op, [0], [k], None) for k, op in enumerate(("RELU", "TANH", "LOGISTIC"), start=1)]
    save(reconstruction(build_model(Subgraph(tensors, ops, [0], [1, 2, 3]))), tmp_path / "saved")
    serve = tf.saved_model.load(tmp_path / "saved").signatures["serving_default"]
    results = serve(x=np.float32([[-1, 0, 1, 2]]))
    assert set(results) == {"a_1", "a_2", "a_3"}
    np.testing.assert_array_equal(results["a_1"], [[0, 0, 1, 2]])
    np.testing.assert_allclose(results["a_2"], np.tanh([[-1, 0, 1, 2]]), rtol=1e-6)


@pytest.mark.parametrize("allowed", [0, 3_000])
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "saved"])
def test_a_full_disk_is_said_so(name: str, allowed: int, tmp_path: Path) -> None:
    """No file may grow beyond so many bytes: as on a full disk, the write itself fails."""
    emission = reconstruction(dense())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, before[1]))
    try:
        with pytest.raises(UsageError, match=r"Cannot write .*: File too large\.$"):
            save(emission, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused() -> None:
    check_output(Path("model.keras"))
    check_output(Path("folder"))
    with pytest.raises(UsageError, match=r"\.h5.*'model\.onnx'"):
        check_output(Path("model.onnx"))
