"""The listener that the network reaches: who gets in, and with which flags there is one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import tls
from liteback_deploy import certificates
from liteback_deploy.certificates import BOARD, Pair
from liteback_proto import agent_pb2, agent_pb2_grpc


def secure(port: int, root: bytes, pair: Pair | None, *more: tuple[str, int]) -> grpc.Channel:
    """A channel of a client with these keys. more: options."""
    own = (pair.key, pair.certificate) if pair is not None else (None, None)
    options = [("grpc.ssl_target_name_override", BOARD), ("grpc.enable_http_proxy", 0), *more]
    return grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(root, *own), options)


def call(port: int, root: bytes, pair: Pair | None, token: str) -> str:
    """The host name that the agent tells a client with these keys; or the status."""
    with secure(port, root, pair) as channel:
        stub = agent_pb2_grpc.AgentStub(channel)
        try:
            metadata = [("authorization", f"Bearer {token}")]
            return str(stub.GetInfo(agent_pb2.GetInfoRequest(), metadata=metadata, timeout=30).hostname)
        except grpc.RpcError as error:
            return str(error.code().name)


def test_who_gets_in(tmp_path: Path) -> None:
    good = tls.pairs()
    with tls.agent(tmp_path, good) as (agent, port):
        root = good.board.certificate
        assert call(port, root, good.client, agent.token) == socket.gethostname()
        assert call(port, root, good.client, "another token of 32 characters..") == "UNAUTHENTICATED"
        assert call(port, root, None, agent.token) == "UNAVAILABLE"
        assert call(port, root, tls.foreign(good).client, agent.token) == "UNAVAILABLE"
        assert call(port, certificates.make(BOARD).certificate, good.client, agent.token) == "UNAVAILABLE"
        # The one for the forward is beside it, and takes no part in this.
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
            agent_pb2_grpc.AgentStub(channel).GetInfo(agent_pb2.GetInfoRequest(), timeout=10)
        with grpc.insecure_channel(agent.address) as channel:
            metadata = [("authorization", f"Bearer {agent.token}")]
            assert agent_pb2_grpc.AgentStub(channel).GetInfo(agent_pb2.GetInfoRequest(), metadata=metadata).hostname


@pytest.mark.parametrize(("board_days", "client_days"), [(-1, 1), (1, -1)])
def test_certificates_that_have_expired(board_days: float, client_days: float, tmp_path: Path) -> None:
    old = tls.pairs(board_days, client_days)
    with tls.agent(tmp_path, old) as (agent, port):
        assert call(port, old.board.certificate, old.client, agent.token) == "UNAVAILABLE"


def test_no_secret_in_the_arguments(tmp_path: Path) -> None:
    with tls.agent(tmp_path, tls.pairs()) as (agent, _):
        arguments = Path(f"/proc/{agent.pid}/cmdline").read_text()
    assert "--tls-key" in arguments
    assert agent.token not in arguments
    assert "PRIVATE KEY" not in arguments


@pytest.mark.slow
def test_a_host_that_waits_for_long_is_not_sent_away(tmp_path: Path) -> None:
    """It asks again and again whether the agent is there; to gRPC, unless told otherwise, that is an attack."""
    good = tls.pairs()
    with tls.agent(tmp_path, good) as (agent, port):
        metadata = [("authorization", f"Bearer {agent.token}")]
        often = [("grpc.keepalive_time_ms", 1_500), ("grpc.http2.max_pings_without_data", 0)]
        with secure(port, good.board.certificate, good.client, *often) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), metadata=metadata)
            next(watch)
            time.sleep(12)  # two are forgiven
            assert watch.is_active()
            watch.cancel()


def start(folder: Path, flags: list[str]) -> subprocess.CompletedProcess[str]:
    """The agent with these flags, which it does not take."""
    token = folder / "token"
    token.write_text("a-token-of-the-tests")
    token.chmod(0o600)
    command = [sys.executable, "-m", "liteback_agent", "--token-file", str(token), "--store", str(folder / "store")]
    return subprocess.run([*command, *flags], capture_output=True, text=True, timeout=60, check=False)


def without(name: str) -> Callable[[list[str]], None]:
    def change(flags: list[str]) -> None:
        at = flags.index(name)
        del flags[at : at + 2]

    return change


def readable(flags: list[str]) -> None:
    Path(flags[flags.index("--tls-key") + 1]).chmod(0o640)


def another_key(flags: list[str]) -> None:
    Path(flags[flags.index("--tls-key") + 1]).write_bytes(certificates.make(BOARD).key)


def no_certificate(flags: list[str]) -> None:
    Path(flags[flags.index("--tls-client-ca") + 1]).write_text("nothing")


def no_file(flags: list[str]) -> None:
    Path(flags[flags.index("--tls-cert") + 1]).unlink()


def no_port(flags: list[str]) -> None:
    flags[flags.index("--tls-listen") + 1] = "0.0.0.0"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("--tls-cert"), "Missing: --tls-cert"),
        (without("--tls-key"), "Missing: --tls-key"),
        (without("--tls-client-ca"), "Missing: --tls-client-ca"),
        (without("--tls-listen"), "Missing: --tls-listen"),
        (readable, "chmod 600"),
        (another_key, "the key is the certificate's"),
        (no_certificate, "are PEM files"),
        (no_file, "cannot be read|are PEM files"),
        (no_port, "takes HOST:PORT"),
    ],
)
def test_flags_that_break_a_rule(change: Callable[[list[str]], None], said: str, tmp_path: Path) -> None:
    flags = tls.flags(tmp_path, tls.pairs(), 0)
    change(flags)
    done = start(tmp_path, flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert any(words in done.stderr for words in said.split("|"))
    assert "Traceback" not in done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = start(tmp_path, tls.flags(tmp_path, tls.pairs(), port))
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
