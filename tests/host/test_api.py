"""What `import liteback` offers refuses what it would otherwise pass over."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import liteback
from liteback.api import compare
from liteback.errors import UsageError
from small_models import average


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
