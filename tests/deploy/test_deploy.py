"""`liteback deploy` on a board in a box: from nothing, again, upgrades that go well and upgrades that do not."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli
from deploy.versions import change_sources
from liteback.deployment import deploy
from liteback.errors import AgentIncompatible
from liteback.session.board import connect
from liteback_deploy import scripts

pytestmark = pytest.mark.board

AGENT = ".local/share/liteback/agent"


@pytest.fixture
def another_version(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], None]:
    return functools.partial(change_sources, monkeypatch)


def listing(box: NamespaceBox) -> list[str]:
    return box.run(f"ls -A {AGENT}", user="pi").stdout.split()


def current(box: NamespaceBox) -> str:
    return box.run(f"readlink {AGENT}/current", user="pi").stdout.strip()


def serves() -> None:
    """The agent of the board runs a model."""
    with connect("box") as board, board.open(board.put_model(small_models.add()), tensors=[2]):
        pass


def test_from_nothing(fresh: NamespaceBox, cli: Cli, tmp_path: Path) -> None:
    dry = cli.document("deploy", "box", "--dry-run")
    assert [step["name"] for step in dry["steps"]] == ["upload", "unpack", "check", "service", "activate"]
    assert (dry["facts"]["machine"], dry["facts"]["python"], dry["changed"]) == ("x86_64", [3, 11, 2], False)
    assert fresh.run("ls -A", user="pi").stdout.split() == [".bash_logout", ".bashrc", ".profile"]

    first = cli.document("deploy", "box")
    assert (first["changed"], first["service"]) == (True, "user")
    again = cli.document("deploy", "box")
    assert (again["changed"], again["steps"]) == (False, [])

    model, recording = tmp_path / "add.tflite", tmp_path / "recording"
    model.write_bytes(small_models.add())
    captured = cli.document("capture", model, "--random", 2, "--target", "box", "-o", recording)
    assert captured["certificate"]["good"]
    assert captured["samples"] == 2
    assert cli.document("doctor", "--target", "box")["ok"]


def test_what_is_private_on_the_board(fresh: NamespaceBox, cli: Cli) -> None:
    deploy("box")
    root = ".local/share/liteback"
    modes = fresh.run(f"stat -c '%a %U' {root} {root}/state {root}/state/token {root}/agent {root}/models", user="pi")
    assert modes.stdout.splitlines() == ["700 pi", "700 pi", "600 pi", "700 pi", "700 pi"]
    processes = fresh.run("ps -eo user:20,args | grep [l]iteback_agent").stdout
    token = fresh.run(f"cat {root}/state/token", user="pi").stdout.strip()
    assert len(token) == 64
    assert token not in processes
    assert {line.split()[0] for line in processes.splitlines()} == {"pi"}
    listening = fresh.run("ss -Hltnp | grep python3").stdout
    assert listening
    assert all("127.0.0.1" in line.split()[3] for line in listening.splitlines())


def test_an_upgrade_and_the_way_back(
    fresh: NamespaceBox, cli: Cli, another_version: Callable[[str, bytes], None]
) -> None:
    old = deploy("box").deployment.plan.bundle.id
    another_version("server.py", b"\n# a new version\n")
    upgrade = deploy("box")
    new = upgrade.deployment.plan.bundle.id
    assert new != old
    assert [step.name for step in upgrade.deployment.plan.steps] == ["upload", "unpack", "check", "activate"]
    assert (current(fresh), sorted(listing(fresh))) == (new, sorted([old, new, "current", "previous"]))
    serves()
    another_version("server.py", b"\n# and another\n")
    newest = deploy("box").deployment.plan.bundle.id
    assert sorted(listing(fresh)) == sorted([new, newest, "current", "previous"])


@pytest.mark.parametrize(
    ("file", "harm", "reason"),
    [
        ("server.py", b"\nraise RuntimeError('a broken bundle')\n", "check on (.|\n)*RuntimeError: a broken bundle"),
        ("interpreter.py", b"\ndef load_runtime(wanted):\n    raise OSError('no such library')\n", "no such library"),
    ],
)
def test_a_broken_bundle(
    file: str,
    harm: bytes,
    reason: str,
    fresh: NamespaceBox,
    another_version: Callable[[str, bytes], None],
) -> None:
    old = deploy("box").deployment.plan.bundle.id
    another_version(file, harm)
    with pytest.raises(AgentIncompatible, match=reason):
        deploy("box")
    assert current(fresh) == old
    serves()


def test_a_version_that_passes_its_check_and_does_not_serve(
    fresh: NamespaceBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = deploy("box").deployment.plan.bundle.id
    text = scripts.text
    broken = "#!/bin/sh\necho 'broken on purpose' >&2\nexit 1\n"
    monkeypatch.setattr(scripts, "text", lambda name: broken if name == "bundle-agent.sh" else text(name))
    with pytest.raises(AgentIncompatible, match=f"activate on(.|\n)*{old} serves again"):
        deploy("box")
    assert current(fresh) == old
    serves()
