"""The oldest board we serve has Python 3.7: what runs there must be in its grammar."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "device_agent").rglob("*.py"), *(ROOT / "proto").rglob("*.py")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_grammar_of_python_37(path: Path) -> None:
    ast.parse(path.read_text(), feature_version=(3, 7))
