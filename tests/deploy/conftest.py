"""Fixtures of the deployment's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from board.namespaces import NamespaceBox
from deploy.cli import Cli


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line with a boards file of its own, for calls in this process too."""
    cli = Cli(tmp_path / "config")
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    return cli


@pytest.fixture
def fresh(new_box: Callable[..., NamespaceBox], cli: Cli) -> NamespaceBox:
    """A board on which nothing was ever deployed."""
    box = new_box()
    cli.knows(box=box)
    return box
