"""The console that commands print to."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text


class Terminal(Console):
    """Prints texts as they are: a file, a tensor or a board may be named `a[b]`, and that is no style.

    documented: whether a command has printed its JSON document.
    """

    documented = False

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def say(self, *parts: str | Text) -> None:
        """One line, which only the terminal breaks: what is copied from it is whole."""
        self.print(*parts, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # a reader that leaves is no failure; rich itself would exit with 1
