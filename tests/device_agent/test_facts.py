"""What the agent says about a board."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import psutil
import pytest

from liteback_agent import VERSION, facts
from liteback_proto import PROTOCOL, agent_pb2


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    limits = agent_pb2.Limits(sessions=3)
    info = facts.info(str(tmp_path), limits)
    assert info.protocol == PROTOCOL
    assert info.limits == limits
    assert info.machine == platform.machine()
    assert info.bits == (64 if sys.maxsize > 1 << 32 else 32)
    assert info.python == platform.python_version()
    assert info.cpu_count == os.cpu_count()
    assert info.cpu_features
    assert info.ram_bytes == psutil.virtual_memory().total
    assert 0 < info.ram_available_bytes < info.ram_bytes
    assert info.disk_free_bytes > 0


def test_the_version_is_the_distribution_s() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'version = "{VERSION}"' in project.splitlines()


def test_runtimes_are_the_installed_ones_in_order() -> None:
    expected = []
    for name in facts.RUNTIMES:
        try:
            expected.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    assert [(runtime.name, runtime.version) for runtime in facts.runtimes()] == expected


@pytest.mark.parametrize("entry", ["tflite_runtime-2.5.0.post1.dist-info", "tflite_runtime-2.5.0.post1-py3.7.egg-info"])
def test_the_metadata_of_wheels_and_of_debian(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / entry).mkdir()
    (tmp_path / "tflite_runtime").mkdir()
    monkeypatch.setattr(sys, "path", ["", "/nonexistent", str(tmp_path)])
    assert [(runtime.name, runtime.version) for runtime in facts.runtimes()] == [("tflite_runtime", "2.5.0.post1")]
