"""`deploy --direct` on a board in a box: what is set up, who gets in, what takes it away again."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli
from deploy.versions import change_sources
from liteback.deployment import deploy
from liteback.errors import AgentIncompatible, BoardUnreachable, HostKeyError, UsageError
from liteback.session.board import connect
from ports import free_port

pytestmark = pytest.mark.board

STATE = ".local/share/liteback/state"


@pytest.fixture
def direct(fresh: NamespaceBox) -> NamespaceBox:
    """A board that takes direct connections."""
    deploy("box", direct=True, direct_port=fresh.direct_port)
    return fresh


def listening(box: NamespaceBox) -> bool:
    return bool(box.run(f"ss -Hltn sport = :{box.direct_port}").stdout)


def connected(box: NamespaceBox) -> bool:
    return bool(box.run(f"ss -Htn state established sport = :{box.direct_port}").stdout)


def serves(direct: bool) -> None:
    with connect("box", direct) as board, board.open(board.put_model(small_models.add()), tensors=[2]):
        pass


def test_from_nothing(fresh: NamespaceBox, cli: Cli, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--direct-port needs --direct"):
        deploy("box", direct_port=1)
    where = ("deploy", "box", "--direct", "--direct-port", fresh.direct_port)
    first = cli.document(*where)
    assert [step["name"] for step in first["steps"]][-2:] == ["activate", "direct"]
    assert first["direct"] == fresh.direct_port
    for again in (where, where[:3], where[:2]):  # the port stays, and so does the rest
        document = cli.document(*again)
        assert (document["steps"], document["direct"]) == ([], fresh.direct_port)

    with connect("box", direct=True) as board:
        assert connected(fresh)
        with board.open(board.put_model(small_models.add()), tensors=[2]):
            pass
    with connect("box"):
        assert not connected(fresh)

    model = tmp_path / "add.tflite"
    model.write_bytes(small_models.add())
    samples = ("--random", 2, "--target", "box", "--direct")
    assert cli.document("capture", model, *samples, "-o", tmp_path / "recording")["certificate"]["good"]
    assert cli.document("prove", model, model, *samples)["passed"]
    found = cli.document("doctor", "--target", "box", "--direct")
    (detail,) = (check["detail"] for check in found["checks"] if check["name"] == "direct")
    assert f"port {fresh.direct_port}, keys good for 7" in detail
    status = cli.document("agent", "status", "box")
    assert status["direct"] == {"port": fresh.direct_port, "answers": True, "problem": ""}
    assert f"port {fresh.direct_port}: with mutual TLS" in cli("agent", "status", "box").stdout


def test_what_is_private(direct: NamespaceBox, cli: Cli) -> None:
    modes = direct.run(f"cd {STATE} && stat -c '%a %U %n' tls tls/*", user="pi").stdout.splitlines()
    assert modes == ["700 pi tls"] + [f"600 pi tls/{n}" for n in ("board.key", "board.pem", "client.pem", "port")]
    (ours,) = (cli.config / "data" / "liteback" / "direct").iterdir()
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (ours, *ours.iterdir())}
    assert files == {ours.name: 0o700, "board.pem": 0o600, "client.pem": 0o600, "client.key": 0o600}
    theirs = direct.run(f"cat {STATE}/tls/board.key", user="pi").stdout
    assert theirs.startswith("-----BEGIN PRIVATE KEY-----")
    secrets = [theirs.splitlines()[1], (ours / "client.key").read_text().splitlines()[1]]
    log = direct.run(f"cat {STATE}/agent.log", user="pi").stdout
    assert f"TLS [::]:{direct.direct_port}" in log
    for seen in (direct.run("ps -eo args").stdout, log):
        assert not any(secret in seen for secret in secrets)


def test_upgrade_rollback_and_reboot(direct: NamespaceBox, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    change_sources(monkeypatch, "server.py", b"\n# newer\n")
    upgrade = deploy("box")
    assert [step.name for step in upgrade.deployment.plan.steps] == ["upload", "unpack", "check", "activate"]
    serves(direct=True)
    cli.document("agent", "rollback", "box")
    serves(direct=True)
    with connect("box", direct=True) as board:
        model = board.put_model(small_models.add())
        direct.reboot()
        assert board.persist(lambda: list(board.models())) == [model]


@pytest.mark.parametrize("kind", ["system", "background"])
def test_other_kinds_of_service_that_reboot(kind: str, new_box: Callable[..., NamespaceBox], cli: Cli) -> None:
    box = new_box(variant="no-systemd" if kind == "background" else "")
    cli.knows(box=box)
    deploy("box", system=kind == "system", direct=True, direct_port=box.direct_port)
    with connect("box", direct=True) as board:
        model = board.put_model(small_models.add())
        box.reboot()
        # Without systemd nobody starts the agent until somebody logs in: the session does.
        assert board.persist(lambda: list(board.models())) == [model]


@pytest.mark.parametrize("how", ["no-direct", "uninstall", "purge"])
def test_the_keys_go(how: str, direct: NamespaceBox, cli: Cli) -> None:
    kept = cli.config / "data" / "liteback" / "direct"
    assert list(kept.iterdir())
    if how == "no-direct":
        gone = cli.document("deploy", "box", "--no-direct")
        assert ([step["name"] for step in gone["steps"]], gone["direct"]) == (["direct"], 0)
        serves(direct=False)
        with pytest.raises(AgentIncompatible, match="takes no direct connections"):
            connect("box", direct=True)
        assert "direct" not in cli.document("agent", "status", "box")
    else:
        cli.document("agent", "uninstall", "box", *(["--purge"] if how == "purge" else []))
    assert not list(kept.iterdir())
    assert not listening(direct)
    assert direct.run("find / -xdev -name '*.key' -path '*liteback*' -not -path '/proc/*' 2>/dev/null").stdout == ""


def test_another_workstation(direct: NamespaceBox, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "another"))
    with pytest.raises(HostKeyError, match=r"has none in .*deploy TARGET --direct` makes new keys"):
        connect("box", direct=True)
    serves(direct=False)
    assert [step.name for step in deploy("box", direct=True).deployment.plan.steps] == ["direct"]
    serves(direct=True)

    # The first one has other keys now, and is told so in every way.
    monkeypatch.setenv("XDG_DATA_HOME", cli.environment["XDG_DATA_HOME"])
    with pytest.raises(HostKeyError, match="must show the certificate that its deployment made"):
        connect("box", direct=True)
    model = tmp_path / "add.tflite"
    model.write_bytes(small_models.add())
    refused = cli("capture", model, "--random", 1, "--target", "box", "--direct", "-o", tmp_path / "recording")
    assert refused.returncode == 4
    assert "deploy TARGET --direct` makes new keys" in refused.stderr
    status = cli.document("agent", "status", "box")
    assert (status["answers"], status["direct"]["answers"]) == (True, False)
    doctor = cli("doctor", "--target", "box")
    assert doctor.returncode == 4
    assert "not this workstation's" in doctor.stdout
    deploy("box", direct=True)
    serves(direct=True)


@pytest.mark.slow
def test_a_port_that_cannot_be_had(direct: NamespaceBox) -> None:
    """The agent is then as it was before."""
    said = r"direct on(.|\n)*cannot listen on \[::\]:22(.|\n)*serves as before\n.*--direct-port"
    with pytest.raises(AgentIncompatible, match=said):
        deploy("box", direct=True, direct_port=22)
    serves(direct=True)
    serves(direct=False)


def test_a_port_that_is_not_reached(fresh: NamespaceBox, cli: Cli) -> None:
    """Something stands between: the agent then listens as it did before, and SSH remains."""
    behind = free_port()
    refused = cli("deploy", "box", "--direct", "--direct-port", behind)
    assert refused.returncode == 3
    assert "Does a firewall" in refused.stderr
    assert "what --direct changed is taken back" in refused.stderr
    assert f":{behind} " not in fresh.run("ss -Hltn").stdout
    assert fresh.run(f"cd {STATE} && ls -d tls .tls-*", user="pi", check=False).stdout == ""
    assert not list((cli.config / "data" / "liteback" / "direct").iterdir())
    with pytest.raises(AgentIncompatible, match="takes no direct connections"):
        connect("box", direct=True)
    serves(direct=False)
    assert deploy("box", direct=True, direct_port=fresh.direct_port).agent
    serves(direct=True)

    # From a port that works to one that does not: the first one serves on.
    with pytest.raises(BoardUnreachable, match="is taken back"):
        deploy("box", direct=True, direct_port=behind)
    assert listening(fresh)
    serves(direct=True)


def test_taking_it_back_fails(fresh: NamespaceBox) -> None:
    """The message says what stands, and how to end it."""
    with socket.create_server(("127.0.0.1", 0)) as another:
        behind = another.getsockname()[1]

        def cut() -> None:
            with another.accept()[0]:
                fresh.run("pkill -f '^sshd: pi'")

        cutting = threading.Thread(target=cut)
        cutting.start()
        with pytest.raises(BoardUnreachable, match=r"still listens there.*--no-direct` ends that"):
            deploy("box", direct=True, direct_port=behind)
        cutting.join()
    assert f":{behind} " in fresh.run("ss -Hltn").stdout
    deploy("box", direct=False)
    assert f":{behind} " not in fresh.run("ss -Hltn").stdout
    serves(direct=False)


def test_the_boards_file_says_so(fresh: NamespaceBox, cli: Cli) -> None:
    cli.boards.write_text(f'[boards.box]\ntarget = "box"\nssh_config = "{fresh.ssh_config}"\ndirect = true\n')
    assert cli.document("deploy", "box", "--direct", "--direct-port", fresh.direct_port)["direct"]
    assert cli.document("deploy", "box")["steps"] == []
    with connect("box"):
        assert connected(fresh)
    with connect("box", direct=False):
        assert not connected(fresh)
