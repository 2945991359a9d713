"""What `import liteback` offers refuses what it would otherwise pass over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import keras
import pytest

import liteback
from liteback.api import compare
from liteback.errors import UsageError
from liteback.manifest import Manifest
from liteback.session.remote import board_entry
from small_models import average

RECORDING = liteback.Recording(Path("recording"), cast(Manifest, None))  # refused before it is read


@pytest.mark.parametrize("model", ["model.keras", Path("saved_model"), object()], ids=["file", "folder", "object"])
@pytest.mark.parametrize("how", [{"numerics": "exact"}, {"profile": "reference"}], ids=["numerics", "profile"])
def test_a_model_that_is_one_already_keeps_its_numerics(model: Any, how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="keeps its own"):
        compare(model, "recording", **how)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lines",
    ["import liteback; liteback.load_model({!r})", "import keras, liteback; keras.models.load_model({!r})"],
    ids=["ours", "Keras'"],
)
def test_layers_of_our_own_load_in_another_process(lines: str, tmp_path: Path) -> None:
    path, model = tmp_path / "model.keras", liteback.reconstruct(average(), "exact")
    assert any(type(layer).__module__.startswith("liteback") for layer in model.layers)
    model.save(path)
    subprocess.run([sys.executable, "-c", lines.format(str(path))], check=True, timeout=120)


def test_public_names_are_listed_before_they_are_used() -> None:
    assert set(liteback.__all__) <= set(dir(liteback))
    assert all(getattr(liteback, name) is not None for name in liteback.__all__)


@pytest.mark.parametrize("given", [None, 3, object()], ids=["None", "number", "object"])
@pytest.mark.parametrize(
    "call",
    [
        liteback.reconstruct,
        liteback.inspect,
        liteback.load_model,
        liteback.reset_state,
        liteback.Recording.open,
        liteback.calibrate,
        board_entry,
        lambda given: liteback.reconstruct(average(), "exact", profile=given or []),
        lambda given: liteback.patch(given, average()),
        lambda given: liteback.patch(liteback.reconstruct(average()), given),
        lambda given: liteback.compare("model.keras", given),
    ],
)
def test_what_is_something_else_altogether_is_refused_in_words(call: Any, given: object) -> None:
    with pytest.raises(UsageError, match="Received: "):
        call(given)


def test_a_model_whose_layers_cannot_be_found_is_refused() -> None:
    model = keras.Sequential([keras.Input([4]), keras.layers.Dense(2)])
    with pytest.raises(UsageError, match="Received: Sequential"):
        liteback.patch(model, average())
    with pytest.raises(UsageError, match="Received: Sequential"):
        liteback.calibrate(RECORDING, model)


def test_a_file_is_given_by_its_path_or_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(average())
    model = liteback.reconstruct(path)
    for original in (path, str(path), average(), bytearray(average()), memoryview(average())):
        assert liteback.patch(model, original).data == average()
        assert liteback.inspect(original).model.sha256 == liteback.inspect(average()).model.sha256


def test_a_result_is_shown_in_a_line() -> None:
    for result in (liteback.inspect(average()), liteback.patch(liteback.reconstruct(average()), average())):
        assert "\n" not in repr(result)
        assert len(repr(result)) < 200
