"""Asking a person at the terminal, and nobody else."""

from __future__ import annotations

import getpass
import sys
import threading

_answers: dict[str, str | None] = {}
_one_at_a_time = threading.Lock()  # boards of a group connect at once


def ask(question: str) -> str | None:
    """What a person answers, asked once a process: connections are made again, and a command makes several. None where
    there is no terminal.
    """
    with _one_at_a_time:
        if question not in _answers:
            _answers[question] = getpass.getpass(f"{question}: ", sys.stderr) if sys.stdin.isatty() else None
        return _answers[question]


def forget() -> None:
    """Ask again: an answer was wrong."""
    _answers.clear()
