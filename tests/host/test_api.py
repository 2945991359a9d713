"""What `import liteback` offers refuses what it would otherwise pass over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liteback.api import compare
from liteback.errors import UsageError


@pytest.mark.parametrize("model", ["model.keras", Path("saved_model"), object()], ids=["file", "folder", "object"])
@pytest.mark.parametrize("how", [{"numerics": "exact"}, {"profile": "reference"}], ids=["numerics", "profile"])
def test_a_model_that_is_one_already_keeps_its_numerics(model: Any, how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="keeps its own"):
        compare(model, "recording", **how)
