"""`python -m liteback_agent.check`: the agent's own word that it runs here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from liteback.session.local import LocalAgent
from liteback_agent import check as rules


def check(*arguments: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "liteback_agent.check", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )


def test_an_agent_that_runs_here() -> None:
    result = check()
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ok agent ")
    assert "runtime tflite_runtime 2." in result.stdout


def test_a_runtime_that_does_not_load(tmp_path: Path) -> None:
    for runtime in ("tflite_runtime", "ai_edge_litert"):
        (tmp_path / runtime).mkdir()
        (tmp_path / runtime / "__init__.py").write_text("raise ImportError('no libstdc++')")
    result = check(PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "no libstdc++" in result.stderr


def test_a_runtime_that_loads_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_SECONDS", 0.2)
    with pytest.raises(rules.CheckFailed, match="does not load within"):
        rules._output([sys.executable, "-c", "import time; time.sleep(60)"])


def test_an_agent_that_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif '--token-file' in sys.orig_argv: raise SystemExit('out of luck')"
    )
    result = check(PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "does not serve" in result.stderr
    assert "out of luck" in result.stderr


def test_the_agent_that_runs_already(tmp_path: Path) -> None:
    agent = LocalAgent(["--address-file", str(tmp_path / "address")], tmp_path / "store")
    try:
        assert (tmp_path / "address").read_text() == f"{agent.address}\n"
        (tmp_path / "token").write_text(agent.token)
        result = check(tmp_path / "token", tmp_path / "address")
        assert result.returncode == 0, result.stderr
        (tmp_path / "token").write_text("another token")
        assert check(tmp_path / "token", tmp_path / "address").returncode == 1
    finally:
        agent.stop()
