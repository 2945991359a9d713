"""The agent starts only where it is safe to, and says why when it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from liteback.session.local import LocalAgent
from liteback_proto import agent_pb2, agent_pb2_grpc

TOKEN = "a-token-of-the-tests"


def command(tmp_path: Path, *flags: str) -> list[str]:
    token = tmp_path / "token"
    if not token.exists():
        token.write_text(TOKEN)
        token.chmod(0o600)
    return [sys.executable, "-m", "liteback_agent", "--token-file", str(token), "--exit-with-parent"] + [
        *("--store", str(tmp_path / "store")),
        *flags,
    ]


def refused(tmp_path: Path, *flags: str) -> tuple[int, str]:
    done = subprocess.run(command(tmp_path, *flags), capture_output=True, text=True, timeout=60, check=False, input="")
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "8.8.8.8:50051", "board.local:1", "127.0.0.1", "unix:"])
def test_only_this_machine_reaches_it(listen: str, tmp_path: Path) -> None:
    code, said = refused(tmp_path, "--listen", listen)
    assert code == 2
    assert "mutual TLS" in said
    assert listen in said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_token_that_others_can_read(mode: int, tmp_path: Path) -> None:
    command(tmp_path)
    (tmp_path / "token").chmod(mode)
    code, said = refused(tmp_path)
    assert code == 2
    assert "chmod 600" in said


def test_a_short_token_and_none(tmp_path: Path) -> None:
    command(tmp_path)
    (tmp_path / "token").write_text("short\n")
    assert "16 characters" in refused(tmp_path)[1]
    assert "cannot be read" in refused(tmp_path, "--token-file", str(tmp_path / "none"))[1]


def test_a_store_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    code, said = refused(tmp_path, "--store", str(tmp_path / "file" / "store"))
    assert code == 1
    assert "--store" in said


def test_an_address_in_use(tmp_path: Path, agent: LocalAgent) -> None:
    code, said = refused(tmp_path, "--listen", agent.address)
    assert code == 1
    assert f"cannot listen on {agent.address}" in said


@pytest.mark.parametrize(
    "flag",
    [
        *("--max-sessions=0", "--max-sessions=-1", "--max-sessions=1e3", "--max-sessions=99999999999"),
        *("--memory-limit=-1", "--store-quota=-1", "--store-quota=9223372036854775808"),
        *("--invoke-limit=nan", "--invoke-limit=0", "--invoke-limit=-3", "--invoke-limit=inf", "--invoke-limit=x"),
    ],
)
def test_limits_that_are_none(flag: str, tmp_path: Path) -> None:
    name, _, value = flag.partition("=")
    code, said = refused(tmp_path, flag)
    assert code == 2
    assert f"argument {name}: it is a " in said
    assert f"Received: {value!r}" in said


def test_an_address_file_that_cannot_be(tmp_path: Path) -> None:
    code, said = refused(tmp_path, "--address-file", str(tmp_path / "none" / "address"))
    assert code == 1
    assert "none/address" in said


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "[::1]:0", "unix"])
def test_it_says_where_it_listens_and_ends_with_its_parent(listen: str, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket" if listen == "unix" else listen
    with subprocess.Popen(
        command(tmp_path, "--listen", address), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"LISTENING (unix:/.*|(127\.0\.0\.1|localhost|\[::1\]):[1-9]\d*)\n", line)
        with grpc.insecure_channel(line.split()[1]) as channel:
            info = agent_pb2_grpc.AgentStub(channel).GetInfo(
                agent_pb2.GetInfoRequest(), metadata=[("authorization", f"Bearer {TOKEN}")], timeout=30
            )
        assert info.hostname
        process.stdin.close()
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
