"""Shaking hands with a real agent over real TLS: what is taken, what is refused, and what is said then; the keys."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import tls
from deploy.facts_of import facts
from deploy.sshd import Sshd
from liteback.errors import AgentIncompatible, HostKeyError, UsageError
from liteback.session.board import Board, connect
from liteback.session.channel import open_channel
from liteback.session.local import LocalAgent
from liteback.session.remote import RemoteAgent
from liteback_deploy import certificates, diagnosis, direct, keys, ssh
from liteback_deploy.certificates import BOARD
from liteback_deploy.direct import handshake
from liteback_deploy.endpoint import Endpoint, SshOptions
from liteback_deploy.errors import BadRequest, CertificateRefused, Unreachable
from liteback_deploy.keys import Keys
from liteback_deploy.ssh_config import resolve
from liteback_deploy.target import LOCAL, Target
from liteback_proto import agent_pb2, agent_pb2_grpc
from ports import free_port
from tls import Pairs

ENDPOINT = Endpoint("192.168.1.7", 2222, "pi", "[192.168.1.7]:2222", ())


def kept(folder: Path, pairs: Pairs) -> Keys:
    """What a workstation with these keys has kept."""
    folder.mkdir(exist_ok=True)
    own = Keys(folder)
    own.board.write_bytes(pairs.board.certificate)
    own.client.write_bytes(pairs.client.certificate)
    own.key.write_bytes(pairs.client.key)
    return own


@pytest.fixture
def pairs() -> Pairs:
    return tls.pairs()


@pytest.fixture
def port(pairs: Pairs, tmp_path: Path) -> Iterator[int]:
    """Of an agent with these keys."""
    with tls.agent(tmp_path, pairs) as (_, port):
        yield port


def test_a_board_with_another_certificate(port: int, pairs: Pairs, tmp_path: Path) -> None:
    """Its own may be changed, or it may be another machine, which has the workstation's certificate from somewhere."""
    for other in (certificates.make(BOARD), pairs.client):
        own = kept(tmp_path / "own", replace(pairs, board=other))
        with pytest.raises(CertificateRefused, match=r"Received: another.*--direct` makes new keys"):
            handshake("127.0.0.1", port, own)


def test_a_workstation_with_another_certificate(port: int, pairs: Pairs, tmp_path: Path) -> None:
    own = kept(tmp_path / "own", tls.foreign(pairs))
    with pytest.raises(CertificateRefused, match=r"must take this workstation's certificate.*--direct` makes new keys"):
        handshake("127.0.0.1", port, own)


@pytest.mark.parametrize(
    ("board_days", "client_days", "said"), [(-1, 1, "has expired"), (1, -1, "must take this workstation's certificate")]
)
def test_what_has_expired(board_days: float, client_days: float, said: str, tmp_path: Path) -> None:
    old = tls.pairs(board_days, client_days)
    with tls.agent(tmp_path, old) as (_, port), pytest.raises(CertificateRefused, match=said):
        handshake("127.0.0.1", port, kept(tmp_path / "own", old))


@pytest.mark.parametrize("name", ["board.pem", "client.pem", "client.key"])
def test_damaged_keys(name: str, pairs: Pairs, tmp_path: Path) -> None:
    own = kept(tmp_path, pairs)
    (tmp_path / name).write_text("nothing")
    with pytest.raises(CertificateRefused, match=r"are damaged.*--direct` makes new keys"):
        handshake("127.0.0.1", 1, own)


def test_nothing_that_speaks_tls(pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = kept(tmp_path, pairs)
    with pytest.raises(Unreachable, match="Without --direct it is reached through SSH"):
        handshake("127.0.0.1", free_port(), own)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr(direct, "_SECONDS", 0.5)
        with pytest.raises(Unreachable, match="timed out"):  # it takes the connection, and is silent
            handshake("127.0.0.1", port, own)
        listener.accept()[0].close()
        monkeypatch.setattr(direct, "_SECONDS", 20)

        def answer() -> None:
            with contextlib.closing(listener.accept()[0]) as client:
                client.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                client.recv(1 << 16)

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(Unreachable, match="SSL"):
            handshake("127.0.0.1", port, own)
        answering.join()


def link_local() -> str:
    """An IPv6 address of one of this machine's networks, as mDNS often has it; the loopback one where there is none."""
    links = [address.address for found in psutil.net_if_addrs().values() for address in found]
    return next((address for address in links if address.startswith("fe80:") and "%" in address), "::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", link_local()])
def test_the_address_is_one_that_grpc_takes(host: str, pairs: Pairs, tmp_path: Path) -> None:
    own = kept(tmp_path / "own", pairs)
    with tls.agent(tmp_path, pairs, "[::]") as (agent, port):
        address = handshake(host, port, own)
        assert address.startswith("ipv6:[" if ":" in host else "ipv4:127.0.0.1:")
        with open_channel(address, own) as channel:
            metadata = [("authorization", f"Bearer {agent.token}")]
            stub = agent_pb2_grpc.AgentStub(channel)  # type: ignore[no-untyped-call]
            assert stub.GetInfo(agent_pb2.GetInfoRequest(), metadata=metadata, timeout=30).hostname


def test_ssh_first_then_straight(pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real sshd and a real agent, as a deployment leaves them on a board."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    with contextlib.ExitStack() as stack:
        agent, port = stack.enter_context(tls.agent(tmp_path, pairs))
        server = Sshd(tmp_path / "sshd")
        stack.callback(server.stop)
        where = resolve(Target(server.target), SshOptions(config=server.config()))
        installed(server.home, agent)
        with pytest.raises(AgentIncompatible, match="takes no direct connections"):
            RemoteAgent(lambda: ssh.connect(where), direct=True)
        (state := server.home / ".local/share/liteback/state/tls").mkdir()
        (state / "board.key").write_bytes(pairs.board.key)
        (state / "port").write_text(f"{port}\n")
        with pytest.raises(HostKeyError, match="has none in"):
            RemoteAgent(lambda: ssh.connect(where), direct=True)
        kept_for(where, pairs)
        link = RemoteAgent(lambda: ssh.connect(where), direct=True)
        with Board(LOCAL, link.address, link.token, link.stop, link) as board:
            server.stop()
            assert board.models() == {}  # it goes without SSH now


def installed(home: Path, agent: LocalAgent) -> None:
    """What `credentials.sh` looks at."""
    root = home / ".local/share/liteback"
    (root / "agent" / "version").mkdir(parents=True)
    (root / "agent" / "current").symlink_to("version")
    (root / "state").mkdir()
    (root / "state" / "token").write_text(agent.token)
    (root / "state" / "address").write_text(f"{agent.address}\n")


def test_what_doctor_says_of_the_keys(tmp_path: Path) -> None:
    good, old = (kept(tmp_path / name, tls.pairs(days)) for name, days in (("good", 500.5), ("old", -3.5)))

    def said(direct: str, own: Keys | None) -> list[tuple[bool, str, int]]:
        return [(f.ok, f.detail, f.exit_code) for f in diagnosis.direct(facts(direct=direct), own)]

    assert said("", None) == said("", good) == []
    assert said(f"50443 {good.sum}", good)[0][:2] == (True, "port 50443, keys good for 500 days")
    assert said("50443 another", None)[0][0]
    for port, own in (("50443 another", good), (f"50443 {old.sum}", old)):
        ((ok, detail, code),) = said(port, own)
        assert (ok, code) == (False, 4)
        assert "deploy TARGET --direct` makes new ones" in detail


def test_the_local_target_needs_none() -> None:
    with pytest.raises(UsageError, match="--direct is for a board behind SSH"):
        connect("local", direct=True)


def test_the_keys_of_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert keys.kept(ENDPOINT) is None
    assert keys.change(facts(), ENDPOINT, None) is None
    assert keys.change(facts(), ENDPOINT, False) is None
    new = keys.change(facts(), ENDPOINT, True)
    assert new is not None
    assert new.port == 50443
    keys.stage(ENDPOINT, new)
    assert keys.kept(ENDPOINT) is None
    keys.settle(ENDPOINT, new)
    own = keys.kept(ENDPOINT)
    assert own is not None
    assert own.folder == tmp_path / "liteback" / "direct" / "pi@%5B192.168.1.7%5D%3A2222"
    assert 729 < own.days_left <= 730

    has = facts(direct=f"50443 {own.sum}")
    assert keys.change(has, ENDPOINT, True) is None
    assert keys.change(has, ENDPOINT, None) is None
    for other in (facts(direct="50443 another"), facts()):
        assert keys.change(other, ENDPOINT, True) is not None
    moved = keys.change(has, ENDPOINT, True, 50444)
    assert moved is not None
    assert moved.port == 50444
    keys.stage(ENDPOINT, moved)
    keys.unstage(ENDPOINT)
    assert keys.kept(ENDPOINT) == own
    assert [path.name for path in own.folder.parent.iterdir()] == [own.folder.name]
    gone = keys.change(has, ENDPOINT, False)
    assert gone is not None
    assert gone.port == 0
    keys.settle(ENDPOINT, gone)
    assert keys.kept(ENDPOINT) is None
    with pytest.raises(BadRequest, match="--direct-port needs --direct"):
        keys.change(has, ENDPOINT, None, 1)


def test_keys_are_made_anew_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    own = kept_for(ENDPOINT, tls.pairs(board_days=80))
    assert keys.change(facts(direct=f"50443 {own.sum}"), ENDPOINT, True) is not None
    own = kept_for(ENDPOINT, tls.pairs(board_days=100))
    assert keys.change(facts(direct=f"50443 {own.sum}"), ENDPOINT, True) is None


def kept_for(endpoint: Endpoint, pairs: Pairs) -> Keys:
    folder = keys.folder(endpoint)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return kept(folder, pairs)
