"""Files of each format, and what is said while they are written."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteback.errors import UsageError
from liteback.reconstruction import reconstruction
from liteback.saving import check_ending, save
from tflite_build import Op, Subgraph, Tensor, build_model


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


def test_another_ending_is_refused() -> None:
    check_ending(Path("model.keras"))
    check_ending(Path("folder"))
    with pytest.raises(UsageError, match=r"\.h5.*'model\.onnx'"):
        check_ending(Path("model.onnx"))
