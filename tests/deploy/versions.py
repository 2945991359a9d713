"""Other versions of the agent, for upgrades."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liteback_deploy import bundle as bundles


def change_sources(monkeypatch: pytest.MonkeyPatch, file: str, more: bytes) -> None:
    """What this process deploys from now on has `more` at the end of a file of the agent's."""
    sources = bundles.sources

    def changed() -> Iterator[tuple[str, bytes]]:
        for path, content in sources():
            yield path, content + (more if path == f"liteback_agent/{file}" else b"")

    monkeypatch.setattr(bundles, "sources", changed)
