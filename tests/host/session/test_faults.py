"""What breaks on a board costs one session, is told plainly, and leaves no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import small_models
from liteback.errors import AgentIncompatible, BoardError, BoardUnreachable, ModelRefused, RunFailed
from liteback.session.board import Board, RunOptions, RunSession
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL

RUNNING = {0: np.zeros(1, np.int32)}  # small_models.endless never ends for it


@pytest.fixture(scope="module")
def tight_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    flags = ["--max-sessions", "2", "--store-quota", "100000"]
    agent = LocalAgent(flags, tmp_path_factory.mktemp("tight"))
    yield agent
    agent.stop()


@pytest.fixture
def tight(tight_agent: LocalAgent) -> Iterator[Board]:
    with Board(LOCAL, tight_agent.address, tight_agent.token) as board:
        yield board


def goes_on(board: Board) -> None:
    """The agent serves another session."""
    ones = np.ones((1, 4), np.float32)
    with board.open(board.put_model(small_models.add()), tensors=[2]) as session:
        np.testing.assert_array_equal(session.invoke(0, {0: ones, 1: ones}).tensors[2], 2 * ones)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 30 s"
        time.sleep(0.01)


def until_busy(pid: int) -> None:
    """Wait until the process is well inside its endless step."""
    process = psutil.Process(pid)
    before = process.cpu_times().user
    eventually(lambda: process.cpu_times().user > before + 0.05)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def endless(board: Board) -> RunSession:
    return board.open(board.put_model(small_models.endless()), tensors=[1])


def test_a_worker_killed_in_mid_run(board: Board) -> None:
    session = endless(board)
    with ThreadPoolExecutor() as pool:
        step = pool.submit(session.invoke, 3, RUNNING)
        until_busy(session.ready.worker_pid)
        os.kill(session.ready.worker_pid, signal.SIGKILL)
        with pytest.raises(RunFailed, match=r"sample 3.*SIGKILL"):
            step.result()
    goes_on(board)


def test_a_worker_killed_between_two_steps(board: Board) -> None:
    session = endless(board)
    os.kill(session.ready.worker_pid, signal.SIGSEGV)
    eventually(lambda: gone(session.ready.worker_pid))
    with pytest.raises(RunFailed, match="SIGSEGV"):
        session.invoke(0, RUNNING)
    goes_on(board)


def test_a_step_without_end(board: Board) -> None:
    sha256 = board.put_model(small_models.endless())
    session = board.open(sha256, RunOptions(invoke_seconds=0.3))
    with pytest.raises(RunFailed, match=r"no answer for 0\.3 s"):
        session.invoke(0, RUNNING)
    assert gone(session.ready.worker_pid)
    goes_on(board)


def test_a_worker_that_needs_more_memory_than_it_may(board: Board) -> None:
    sha256 = board.put_model(small_models.fill())
    with pytest.raises(RunFailed, match="memory-limit"):
        board.open(sha256, RunOptions(memory_bytes=32 << 20))
    session = board.open(sha256, RunOptions(memory_bytes=400 << 20), tensors=[2])
    with pytest.raises(RunFailed, match="memory-limit"):
        # 160 MB in the interpreter, and as much for the copy that is read.
        session.invoke(0, {0: np.array([10_000, 4_000])})
    goes_on(board)


@pytest.mark.parametrize("runtime", ["tflite_runtime", "ai_edge_litert"])
def test_a_model_that_asks_for_too_much_memory(runtime: str, board: Board) -> None:
    sha256 = board.put_model(small_models.fill())
    # The runtimes do not check malloc alike: one crashes, the other refuses. Neither takes the board along.
    session = board.open(sha256, RunOptions(runtime, memory_bytes=1 << 30), tensors=[2])
    with pytest.raises((RunFailed, ModelRefused)):
        session.invoke(0, {0: np.array([1 << 15, 1 << 15])})
    goes_on(board)


@pytest.mark.parametrize("runtime", ["tflite_runtime", "ai_edge_litert"])
def test_a_message_longer_than_grpc_carries(runtime: str, board: Board) -> None:
    with pytest.raises(ModelRefused, match="custom op"):
        board.open(board.put_model(small_models.custom("Ä" * 20_000)), RunOptions(runtime))


@pytest.mark.parametrize("runtime", ["tflite_runtime", "ai_edge_litert"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_a_truncated_model(keep: float, runtime: str, board: Board) -> None:
    """tflite_runtime 2.14 reads beyond its end, where a size may stand that is more than it may have."""
    data = small_models.chain(30)
    with pytest.raises((ModelRefused, RunFailed)):
        board.open(board.put_model(data[: int(len(data) * keep)]), RunOptions(runtime))
    goes_on(board)


@pytest.mark.parametrize("runtime", ["tflite_runtime", "ai_edge_litert"])
def test_random_bytes_behind_a_model_s_identifier(runtime: str, board: Board) -> None:
    data = b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(5000)
    with pytest.raises((RunFailed, ModelRefused)):
        board.open(board.put_model(data), RunOptions(runtime))
    goes_on(board)


def test_a_client_that_gives_up_in_mid_run(board: Board) -> None:
    session = endless(board)
    with ThreadPoolExecutor() as pool:
        step = pool.submit(session.invoke, 0, RUNNING)
        until_busy(session.ready.worker_pid)
        session.cancel()
        assert isinstance(step.exception(), BoardError)
    eventually(lambda: gone(session.ready.worker_pid))
    goes_on(board)


def test_a_client_whose_connection_is_cut(tight_agent: LocalAgent) -> None:
    board = Board(LOCAL, tight_agent.address, tight_agent.token)
    session = endless(board)
    with ThreadPoolExecutor() as pool:
        step = pool.submit(session.invoke, 0, RUNNING)
        until_busy(session.ready.worker_pid)
        board.close()
        assert step.exception() is not None
    eventually(lambda: gone(session.ready.worker_pid))


def test_more_sessions_than_allowed(tight: Board) -> None:
    with endless(tight), endless(tight), pytest.raises(RunFailed, match="runs 2 sessions at once"):
        endless(tight)
    goes_on(tight)


def test_a_model_larger_than_the_store(tight: Board) -> None:
    with pytest.raises(RunFailed, match=r"may take 100000 bytes.*--store-quota"):
        tight.put_model(bytes(100_001))
    goes_on(tight)


def test_sigterm_with_a_running_session(tmp_path: Path) -> None:
    agent = LocalAgent(store=tmp_path)
    with ThreadPoolExecutor() as pool, Board(LOCAL, agent.address, agent.token, agent.stop) as board:
        session = endless(board)
        step = pool.submit(session.invoke, 0, RUNNING)
        until_busy(session.ready.worker_pid)
        os.kill(agent.pid, signal.SIGTERM)
        assert isinstance(step.exception(), BoardError)
        eventually(lambda: gone(session.ready.worker_pid) and gone(agent.pid))
    assert agent.exit_code == 0


HOST = """
import sys, numpy as np
import small_models
from liteback.session import board, local
from liteback_deploy.target import LOCAL
from pathlib import Path
agent = local.LocalAgent(store=Path(sys.argv[1]))
b = board.Board(LOCAL, agent.address, agent.token)
session = b.open(b.put_model(small_models.endless()))
print(agent.pid, session.ready.worker_pid, flush=True)
session.invoke(0, {0: np.zeros(1, np.int32)})
"""


def start_host(store: Path) -> tuple[subprocess.Popen[str], int, int]:
    """A host with an endless step: its process, the agent's and the worker's pid."""
    environment = {**os.environ, "PYTHONPATH": str(Path(small_models.__file__).parent)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOST, str(store)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    agent, worker = map(int, process.stdout.readline().split())
    until_busy(worker)
    return process, agent, worker


def test_a_host_that_is_killed(tmp_path: Path) -> None:
    process, agent, worker = start_host(tmp_path)
    process.kill()
    process.communicate(timeout=30)
    eventually(lambda: gone(agent) and gone(worker))


def test_ctrl_c_reaches_the_host_alone(tmp_path: Path) -> None:
    process, agent, worker = start_host(tmp_path)
    assert os.getpgid(agent) != os.getpgid(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in said
    eventually(lambda: gone(agent) and gone(worker))


def test_an_agent_that_is_killed(tmp_path: Path) -> None:
    agent = LocalAgent(store=tmp_path)
    with Board(LOCAL, agent.address, agent.token, agent.stop) as board:
        session = endless(board)
        with ThreadPoolExecutor() as pool:
            step = pool.submit(session.invoke, 0, RUNNING)
            until_busy(session.ready.worker_pid)
            os.kill(agent.pid, signal.SIGKILL)
            assert isinstance(step.exception(), BoardUnreachable)
        eventually(lambda: gone(session.ready.worker_pid))


def test_an_agent_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(AgentIncompatible, match="--no-such-flag"):
        LocalAgent(["--no-such-flag"], tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


def test_everything_of_a_local_agent_is_private_and_removed(tmp_path: Path) -> None:
    agent = LocalAgent(store=tmp_path)
    (token,) = [Path(argument) for argument in arguments(agent.pid) if argument.endswith("/token")]
    assert token.read_text() == agent.token
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert all(agent.token not in argument for argument in arguments(agent.pid))
    agent.stop()
    agent.stop()
    assert not token.parent.exists()
    assert gone(agent.pid)


def arguments(pid: int) -> list[Any]:
    return psutil.Process(pid).cmdline()
