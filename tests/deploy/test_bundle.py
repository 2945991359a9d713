"""Bundles: the same input is the same bytes, from the cache or anew, with the index or from a folder of wheels."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy.cli import Cli
from deploy.facts_of import board
from deploy.versions import change_sources
from liteback_deploy import bundle as bundles
from liteback_deploy.errors import BadRequest, Unsuitable
from liteback_deploy.matrix import Selection, select

PYTHON = "/usr/bin/python3"


@pytest.fixture
def selection() -> Selection:
    return select(board("aarch64", "3.11.2", "2.36"))


def members(bundle: bundles.Bundle) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(bundle.path) as tar:
        return {member.name: member for member in tar}


@pytest.mark.usefixtures("cli")
def test_what_is_inside(selection: Selection) -> None:
    bundle = bundles.build(selection, PYTHON)
    inside = members(bundle)
    for name in ("agent", "supervise", "python"):
        assert inside[name].mode == 0o755
    for name in (
        "site/tflite_runtime/_pywrap_tensorflow_interpreter_wrapper.so",
        "site/grpc/_cython/cygrpc.cpython-311-aarch64-linux-gnu.so",
        "site/liteback_agent/server.py",
        "site/liteback_proto/agent_pb2.py",
    ):
        assert inside[name].size
    assert not [name for name in inside if name.endswith((".pyc", ".pyi", ".h")) or "/tests/" in name]
    assert not [name for name in inside if name.startswith(("site/liteback/", "site/liteback_deploy/"))]
    assert {(m.uid, m.gid, m.mtime) for m in inside.values()} == {(0, 0, 0)}


def test_the_same_input_is_the_same_bundle(
    selection: Selection, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bundles.build(selection, PYTHON)
    assert bundles.build(selection, PYTHON) == first
    monkeypatch.setenv("PIP_CACHE_DIR", f"{cli.environment['XDG_CACHE_HOME']}/pip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    anew = bundles.build(selection, PYTHON)
    assert anew.path != first.path
    assert (anew.id, anew.sha256) == (first.id, first.sha256)
    change_sources(monkeypatch, "server.py", b"# another\n")
    assert bundles.build(selection, PYTHON).id != first.id


def test_a_package_index_that_does_not_end_is_no_bug_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(bundles, "_PIP_SECONDS", 0.01)
    with pytest.raises(Unsuitable, match=r"slow(.|\n)*--wheelhouse(.|\n)*pip download"):
        bundles.build(select(board("aarch64", "3.11.2", "2.36")), PYTHON)
    assert not list((tmp_path / "cache" / "liteback" / "wheels").iterdir())


def test_a_folder_of_wheels(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hint` gives the command that fills it; with it, no index is asked."""
    selection = select(board("aarch64", "3.11.2", "2.36"))
    monkeypatch.setenv("PIP_CACHE_DIR", f"{cli.environment['XDG_CACHE_HOME']}/pip")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    wheelhouse = tmp_path / "wheels"
    wheelhouse.mkdir()
    with pytest.raises(BadRequest, match=r"--wheelhouse .* must hold a wheel of each package(.|\n)*pip download"):
        bundles.build(selection, PYTHON, wheelhouse)
    words = bundles.hint(selection).split()
    assert words[:2] == ["pip", "download"]
    command = [str(wheelhouse) if word == "WHEELHOUSE" else word for word in words[1:]]
    subprocess.run([sys.executable, "-m", "pip", "-q", *command], check=True, timeout=300)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    bundle = bundles.build(selection, PYTHON, wheelhouse)
    assert bundle.size > 10 << 20


def test_a_packed_folder_depends_on_its_files_alone(tmp_path: Path) -> None:
    packed = []
    for name in ("one", "two"):
        (tmp_path / name / "site").mkdir(parents=True)
        (tmp_path / name / "agent").write_text("#!/bin/sh\n")
        (tmp_path / name / "site" / "a.py").write_text("a = 1\n")
        packed.append(bundles.pack(tmp_path / name))
    (tmp_path / "one" / "agent").chmod(0o600)
    assert packed[0] == packed[1] == bundles.pack(tmp_path / "one")
    with tarfile.open(fileobj=io.BytesIO(packed[0])) as tar:
        assert {m.name: m.mode for m in tar} == {"agent": 0o755, "site": 0o755, "site/a.py": 0o644}
