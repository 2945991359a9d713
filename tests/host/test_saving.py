"""Files of each format, and what is said while they are written."""

from __future__ import annotations

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


def test_a_tensors_name_may_be_in_any_script(tmp_path: Path) -> None:
    save(reconstruction(build_model(Subgraph([Tensor([1, 4], name="é")], [], [0], [0]))), tmp_path / "saved")


def test_a_full_disk_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **how: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "saved; No space left on device")

    monkeypatch.setattr("liteback.saving._write_saved_model", full)
    with pytest.raises(UsageError, match=r"Cannot write .*No space left"):
        save(reconstruction(dense()), tmp_path / "saved")
    assert list(tmp_path.iterdir()) == []


def test_another_ending_is_refused() -> None:
    check_output(Path("model.keras"))
    check_output(Path("folder"))
    with pytest.raises(UsageError, match=r"\.h5.*'model\.onnx'"):
        check_output(Path("model.onnx"))
