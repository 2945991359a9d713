"""Ctrl-C at the wrong moment: in the middle of taking a lock, for a board that waits in locks all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType

import psutil
import pytest

import small_models
from liteback import interrupts

# Ctrl-C strikes while steps run, again and again; each time the session and the connection end.
_INTERRUPTED = """
import os, random, signal, sys, threading, time
import numpy as np
from liteback.session.board import Board
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL

agent, model = LocalAgent(), bytes.fromhex(sys.argv[1])
ones = np.ones((1, 4), np.float32)
draw = random.Random(0)

def strike():
    time.sleep(draw.uniform(0.01, 0.05))
    os.kill(os.getpid(), signal.SIGINT)

for _ in range(30):
    try:
        with Board(LOCAL, agent.address, agent.token) as board:
            with board.open(board.put_model(model), tensors=[2]) as session:
                threading.Thread(target=strike).start()
                while True:
                    session.invoke(0, {0: ones, 1: ones})
    except KeyboardInterrupt:
        print("interrupted", flush=True)
agent.stop()
"""


# Ctrl-C strikes while the agent is being stopped.
_STOPPED_HALFWAY = """
import os, signal
from liteback.session.local import LocalAgent

agent = LocalAgent()
agent._process.terminate = lambda: os.kill(os.getpid(), signal.SIGINT)
try:
    agent.stop()
except KeyboardInterrupt:
    print(agent.pid)
"""


class _Lock:
    """A lock that knows which frames take it and give it back."""

    def __init__(self) -> None:
        self.frames: list[FrameType] = []

    def acquire(self, *how: object) -> None:
        self.frames.append(sys._getframe(1))

    release = __enter__ = __exit__ = acquire


def taking() -> list[FrameType]:
    lock = _Lock()
    condition = threading.Condition(lock)  # type: ignore[arg-type]
    with condition:
        state = condition._release_save()  # type: ignore[attr-defined]
        condition._acquire_restore(state)  # type: ignore[attr-defined]
    return lock.frames


def test_it_strikes_at_once_where_no_lock_is_taken() -> None:
    for frame in (sys._getframe(), None):
        with pytest.raises(KeyboardInterrupt):
            interrupts.interrupt(signal.SIGINT, frame)


@pytest.mark.parametrize("method", ["__enter__", "_release_save", "_acquire_restore", "__exit__"])
def test_it_strikes_later_where_a_lock_is_being_taken_or_given_back(method: str) -> None:
    frame = next(frame for frame in taking() if frame.f_code.co_name == method)
    with interrupts.sparing_locks():
        interrupts.interrupt(signal.SIGINT, frame)
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)


def test_it_strikes_all_the_same_where_the_lock_does_not_come() -> None:
    lock = threading.Lock()
    condition = threading.Condition(lock)
    with interrupts.sparing_locks(), lock:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            condition.__enter__()
    assert time.monotonic() - started < 10


def test_a_handler_of_the_programs_own_stays() -> None:
    struck: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: struck.append(number))
    try:
        with interrupts.sparing_locks():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert struck == [signal.SIGINT]


def test_a_board_can_be_left_at_any_moment() -> None:
    command = [sys.executable, "-c", _INTERRUPTED, small_models.add().hex()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "interrupted\n" * 30), result.stderr[-2000:]


def test_an_agent_that_was_being_stopped_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _STOPPED_HALFWAY]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in {int(result.stdout)} & {*psutil.pids()}], timeout=10)
    assert alive == []
    assert list(tmp_path.iterdir()) == []
