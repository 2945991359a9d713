"""Fixtures of every test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from absent import absent
from arm.fixtures import arm_agent, arm_board  # noqa: F401  (fixtures)
from board.fixtures import arm_box, box, new_box  # noqa: F401  (fixtures)
from liteback.session.board import Board
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no process of a test would ever see a Ctrl-C

hypothesis.settings.register_profile("liteback", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("liteback")

SHARED_MODELS = Path(__file__).parents[2] / "shared" / "models"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models beside the repository; the test is skipped where it is absent."""
    if not SHARED_MODELS.is_dir():
        absent(f"the real models are not here: {SHARED_MODELS}")
    return SHARED_MODELS


@pytest.fixture(scope="session")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    """A real agent process with a store of its own, for the tests that leave it as it was."""
    agent = LocalAgent(store=tmp_path_factory.mktemp("store"))
    yield agent
    agent.stop()


@pytest.fixture(scope="session")
def board(agent: LocalAgent) -> Iterator[Board]:
    """The host's connection to `agent`."""
    with Board(LOCAL, agent.address, agent.token) as board:
        yield board
