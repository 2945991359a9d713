"""What a person at a real terminal sees of questions."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.cli import Cli
from deploy.sshd import Sshd


@pytest.fixture
def lab(tmp_path: Path, cli: Cli) -> Iterator[Cli]:
    """A group of two boards that ask for a password."""
    server = Sshd(tmp_path / "sshd")
    board = f'target = "{server.target}"\nssh_config = "{server.config("PubkeyAuthentication no")}"\n'
    cli.boards.write_text(f'[boards.a]\n{board}[boards.b]\n{board}[groups]\nlab = ["a", "b"]\n')
    yield cli
    server.stop()


def answered(cli: Cli, keys: bytes, *arguments: str) -> tuple[int, str, bool]:
    """A command on a terminal of its own, where these keys are the answer: exit code, what is on the screen after them,
    and whether the terminal echoes in the end."""
    ours, theirs = pty.openpty()
    command = ["setsid", "--ctty", "--wait", *cli.command(*arguments)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=cli.env())
    screen, asked, deadline = "", False, time.monotonic() + 60
    while time.monotonic() < deadline and (process.poll() is None or select.select([ours], [], [], 0.2)[0]):
        if select.select([ours], [], [], 0.1)[0]:
            screen += os.read(ours, 4096).decode()
        if not asked and "Password for" in screen:
            asked, screen = True, ""
            os.write(ours, keys)
    process.kill()
    echoes = bool(termios.tcgetattr(theirs)[3] & termios.ECHO)
    os.close(ours)
    os.close(theirs)
    return process.wait(), screen, echoes


@pytest.mark.parametrize("target", ["a", "@lab"])
def test_ctrl_c_at_a_question(target: str, lab: Cli) -> None:
    start = time.monotonic()
    code, screen, echoes = answered(lab, b"\x03", "doctor", "--target", target)
    assert (code, echoes) == (130, True), screen
    assert "Interrupted." in screen
    assert "Traceback" not in screen
    assert time.monotonic() - start < 20


def test_no_answer_at_a_question(lab: Cli) -> None:
    code, screen, echoes = answered(lab, b"\x04", "agent", "list", "a")
    assert (code, echoes) == (3, True), screen
    assert "Tried: no password" in screen
