"""`liteback agent`: status, list, logs, restart, rollback, uninstall; with systemd, without it, with the system's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli
from deploy.versions import change_sources
from liteback.deployment import deploy
from liteback.session.board import connect

pytestmark = pytest.mark.board

ROOT = ".local/share/liteback"


@pytest.fixture(params=["user", "system", "background"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def deployed(kind: str, new_box: Callable[..., NamespaceBox], cli: Cli) -> NamespaceBox:
    """A board with an agent, kept running by a service of this kind."""
    box = new_box(variant="no-systemd" if kind == "background" else "")
    cli.knows(box=box)
    result = deploy("box", system=kind == "system")
    assert result.deployment.plan.service == kind
    return box


def agents(box: NamespaceBox) -> list[str]:
    """The users of the agents that run."""
    return box.run("ps -eo user:20,args | grep '[m] liteback_agent' | cut -d ' ' -f 1").stdout.split()


def test_the_life_of_an_agent(
    deployed: NamespaceBox, kind: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert agents(deployed) == ["pi"]
    assert cli.document("deploy", "box")["steps"] == []  # whatever the kind, it is the same again

    status = cli.document("agent", "status", "box")
    old = status["current"]
    assert (status["answers"], status["service"], status["versions"]) == (True, kind, [old])
    assert "LISTENING" in "".join(cli.document("agent", "logs", "box", "-n", "5")["lines"])

    first = deployed.run(f"cat {ROOT}/state/address", user="pi").stdout
    assert cli.document("agent", "restart", "box")["current"] == old
    assert deployed.run(f"cat {ROOT}/state/address", user="pi").stdout != first

    # The agent is killed: it is back by itself, and the same connection goes on.
    with connect("box") as board:
        model = board.put_model(small_models.add())
        deployed.run("pkill -KILL -f 'm [l]iteback_agent'")
        assert board.persist(lambda: list(board.models())) == [model]

    change_sources(monkeypatch, "server.py", b"\n# newer\n")
    new = deploy("box").deployment.plan.bundle.id
    back = cli.document("agent", "rollback", "box")
    assert (back["current"], back["previous"]) == (old, new)
    listed = cli.document("agent", "list", "box")
    assert (listed["current"], listed["previous"], listed["versions"]) == (old, new, sorted([old, new]))
    assert cli.document("agent", "rollback", "box")["current"] == new

    deployed.reboot()
    with connect("box") as board:
        assert list(board.models()) == [model]
    assert agents(deployed) == ["pi"]

    cli.document("agent", "uninstall", "box")
    assert agents(deployed) == []
    assert deployed.run(f"ls {ROOT}", user="pi").stdout.split() == ["models", "state"]
    assert cli("agent", "status", "box").returncode == 5
    cli.document("agent", "uninstall", "box", "--purge")
    assert deployed.run("find / -xdev -name '*liteback*' -not -path '/proc/*' 2>/dev/null").stdout == ""


def test_a_rollback_without_another_version_and_the_end(new_box: Callable[..., NamespaceBox], cli: Cli) -> None:
    cli.knows(box=new_box())
    deploy("box")
    result = cli("agent", "rollback", "box")
    assert result.returncode == 2
    assert "needs an earlier version" in result.stderr
    assert "models, token and logs stay" in cli("agent", "uninstall", "box").stdout
    assert cli("agent", "uninstall", "box", "--purge").stdout == "removed from box: models, token and logs\n"
    assert cli("agent", "logs", "box").stdout == "no log on box\n"


def test_one_kind_of_service_in_place_of_another(new_box: Callable[..., NamespaceBox], cli: Cli) -> None:
    box = new_box()
    cli.knows(box=box)
    deploy("box")
    changed = deploy("box", system=True)
    assert [step.name for step in changed.deployment.plan.steps] == ["remove service", "service", "activate"]
    assert agents(box) == ["pi"]
    assert box.run("systemctl --user list-unit-files 'liteback*' --no-legend", user="pi", check=False).stdout == ""
    assert deploy("box").deployment.plan.service == "system"


def test_the_limits_of_the_service(new_box: Callable[..., NamespaceBox], cli: Cli) -> None:
    box = new_box()
    cli.knows(box=box)
    deploy("box", system=True)
    process = box.run("pgrep -f 'm [l]iteback_agent'").stdout.strip()
    status = box.run(f"cat /proc/{process}/status").stdout
    assert "NoNewPrivs:\t1" in status
    mounts = box.run(f"cat /proc/{process}/mounts").stdout
    root = next(line for line in mounts.splitlines() if line.split()[1] == "/")
    assert root.split()[3].startswith("ro")
    with connect("box") as board, board.open(board.put_model(small_models.add()), tensors=[2]):
        pass
