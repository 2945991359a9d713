"""Fixtures of the deployment's tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cli import Cli


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The command line with a boards file of its own, for calls in this process too."""
    cli = Cli(tmp_path / "config")
    for name, value in cli.environment.items():
        monkeypatch.setenv(name, value)
    return cli
