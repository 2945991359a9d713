"""Asking a person at the terminal, and nobody else."""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import sys
import termios
import threading

_answers: dict[str, str | None] = {}
_one_at_a_time = threading.Lock()  # boards of a group connect at once


def ask(question: str) -> str | None:
    """What a person answers, asked once a process: connections are made again, and a command makes several. None where
    there is no terminal.
    """
    with _one_at_a_time:
        if question not in _answers:
            _answers[question] = _answer(question) if sys.stdin.isatty() else None
        return _answers[question]


def forget() -> None:
    """Ask again: an answer was wrong."""
    _answers.clear()


def _answer(question: str) -> str | None:
    _restored_at_exit()
    try:
        return getpass.getpass(f"{question}: ", sys.stderr)
    except EOFError:  # Ctrl-D
        return None


def _restored_at_exit() -> None:
    """Leave a terminal that echoes, also where the process ends while a thread still waits for an answer."""
    with contextlib.suppress(OSError, termios.error):
        terminal = os.open("/dev/tty", os.O_RDWR)  # open until then
        atexit.register(termios.tcsetattr, terminal, termios.TCSANOW, termios.tcgetattr(terminal))
