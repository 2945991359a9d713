"""Every error liteback raises on purpose. One tree; the number is the command's exit code.

LitebackError
├── UsageError ............ 2    an argument or an input file breaks a rule
├── GateFailed ............ 1    the numbers did not pass, or a new file has another interface
├── BoardError
│   ├── BoardUnreachable .. 3    no connection, or the login was refused
│   ├── HostKeyError ...... 4    the board's host key, or a direct connection's certificate, is unknown or has changed
│   ├── AgentIncompatible . 5    agent or runtime missing, too old, too new
│   └── RunFailed ......... 6    a session ended early; what was recorded is kept
├── NoCertificate ......... 7    the taps changed what they measure, or the model does not repeat itself
└── ModelError ............ 8
    ├── InvalidModel               the file is not a TensorFlow Lite model, or is damaged
    ├── UnsupportedModel           the file is fine; liteback cannot reconstruct it, and lists why
    └── ModelRefused               the board's runtime does not load or run it

A message says which rule was broken, where, what was received, and what to do. Anything else that escapes is a bug
of liteback (exit code 70); an interrupt is 130.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from liteback.words import counted

# What a machine denies any program: no bug.
MACHINE_DENIES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EACCES,
    errno.EMFILE,
    errno.ENFILE,
)


class LitebackError(Exception):
    """An error with a message for the user and an exit code."""

    exit_code = 70


class UsageError(LitebackError):
    """An argument or an input file breaks a rule."""

    exit_code = 2


class GateFailed(LitebackError):
    """The run went well, a gate on its numbers did not pass; or a new file has another interface than the old one."""

    exit_code = 1


class BoardError(LitebackError):
    """Something on the way to the board, or on it, went wrong. kept: the recording with which the command goes on."""

    exit_code = 3
    kept: Path | None = None

    def __str__(self) -> str:
        if self.kept is None:
            return super().__str__()
        return f"{super().__str__()} What is recorded is kept in {self.kept}: run the same command again to resume."


class BoardUnreachable(BoardError):
    """No connection to the board, or it refused the login."""

    exit_code = 3


class HostKeyError(BoardError):
    """The board's host key is unknown or has changed; or, of a direct connection, either side's certificate."""

    exit_code = 4


class AgentIncompatible(BoardError):
    """The agent or its runtime is missing, too old or too new for this host."""

    exit_code = 5


class RunFailed(BoardError):
    """A session on the board ended early: its worker died, ran out of memory or out of time."""

    exit_code = 6


class NoCertificate(LitebackError):
    """The tapped runs, or the same run twice, do not give the untouched model's outputs: nothing measured counts."""

    exit_code = 7


class ModelError(LitebackError):
    """The model is at fault."""

    exit_code = 8


class InvalidModel(ModelError):
    """The file is not a TensorFlow Lite model, or is damaged."""


class ModelRefused(ModelError):
    """The board's runtime does not load or does not run the model."""


@dataclass(frozen=True)
class Problem:
    """One thing that stands in the way of reconstructing a model."""

    op: str
    tensor: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op} at {self.tensor}: {self.reason}" if self.tensor else f"{self.op}: {self.reason}"


class UnsupportedModel(ModelError):
    """The file is fine; liteback cannot reconstruct it. `problems` lists everything that stands in the way."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {p}" for p in self.problems)
        super().__init__(
            f"This model cannot be reconstructed; {counted(len(self.problems), 'thing stands', 'things stand')} in the "
            f"way:\n{lines}\n"
            "`liteback inspect` shows the whole graph; docs/adding-an-op.md tells how to add an operator."
        )
