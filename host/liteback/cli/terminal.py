"""The console that commands print to."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_LEAST = 6  # characters of a column that wraps


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

    def draw(self, rows: Table) -> None:
        """A table. Columns that do not wrap do, where they leave the others no room: nothing is cut off."""
        stiff = [c for c in rows.columns if c.no_wrap]
        taken = sum(max(_width(cell) for cell in (c.header, *c.cells)) for c in stiff)
        if taken + 2 * len(rows.columns) + _LEAST * (len(rows.columns) - len(stiff)) > self.width:
            for column in stiff:
                column.no_wrap = False
        for line in self.render_lines(rows, pad=False):
            text = Text.assemble(*((part.text, part.style or "") for part in line))
            text.rstrip()  # a column's last cells are as wide as its widest, which a file or a pipe needs not
            self.print(text, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError  # a reader that leaves is no failure; rich itself would exit with 1


def _width(cell: object) -> int:
    """Characters of a cell's longest line."""
    return max(cell_len(line) for line in str(cell).split("\n"))
