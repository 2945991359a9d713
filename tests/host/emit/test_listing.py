"""The page of operators is what the registry says."""

from __future__ import annotations

from pathlib import Path

from liteback.emit.listing import markdown

PAGE = Path(__file__).parents[3] / "docs" / "ops.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == markdown(), "run `make docs`"
