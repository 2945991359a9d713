"""Asking a person at the terminal, and nobody else."""

from __future__ import annotations

import getpass
import sys

from liteback_deploy.ssh import Prompt


def ask_once() -> Prompt:
    """A prompt that remembers its answers, for a connection that is made again; None where there is no terminal."""
    answers: dict[str, str | None] = {}

    def ask(question: str) -> str | None:
        if question not in answers:
            answers[question] = getpass.getpass(f"{question}: ", sys.stderr) if sys.stdin.isatty() else None
        return answers[question]

    return ask
