"""One command on several boards at once: `--target @group`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from liteback.cli import tables
from liteback.cli.shared import Report, emit_json, err, out
from liteback.errors import LitebackError

_ENDING_SECONDS = 3.0  # after an interrupt: enough for a board that answers


@dataclass(frozen=True)
class Outcome:
    """What a board's session came to: its document, or the error."""

    board: str
    document: dict[str, Any]
    error: LitebackError | None

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error is not None else 0

    def to_json(self) -> dict[str, Any]:
        failure = {"error": str(self.error), "kind": type(self.error).__name__} if self.error is not None else {}
        return {"board": self.board, "exit_code": self.exit_code, **self.document, **failure}


def boards_of(target: str) -> list[str]:
    """The names of the boards of `@group`; empty for a target that is one board.

    Raises:
        UsageError: there is no such group.
    """
    if not target.startswith("@"):
        return []
    from liteback.session.remote import deploy_errors
    from liteback_deploy import boards

    with deploy_errors():
        return [board.name for board in boards.read().find(target)]


def on_each(names: Sequence[str], run: Callable[[str, Report], dict[str, Any]], json: bool, at_once: int = 8) -> None:
    """Run on every board, and say what each came to; one that fails does not stop the others, an interrupt does.

    run: (board, progress) -> the board's document. at_once: 1 for what does not run beside itself.

    Raises:
        typer.Exit: with the code of the first board, in the group's order, that failed.
        KeyboardInterrupt: with the boards that did not end in time, in words.
    """
    interrupted = threading.Event()  # threads do not get the signal: each ends with its next report

    def until_interrupted(report: Report) -> Report:
        def checked(done: int, total: int, text: str) -> None:
            if interrupted.is_set():
                raise KeyboardInterrupt
            report(done, total, text)

        return checked

    with _bars(names) as bars:
        running = _started(names, lambda name: _outcome(name, run, until_interrupted(bars[name])), at_once)
        try:
            wait(running.values())
        except KeyboardInterrupt:
            interrupted.set()
            raise KeyboardInterrupt(*_not_ended(running)) from None
    outcomes = [future.result() for future in running.values()]
    failed = next((outcome for outcome in outcomes if outcome.error is not None), None)
    if json:
        emit_json({"boards": [outcome.to_json() for outcome in outcomes], "ok": failed is None})
    else:
        tables.outcomes(out, outcomes)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _started(names: Sequence[str], run: Callable[[str], Outcome], at_once: int) -> dict[str, Future[Outcome]]:
    """A thread for each board, which does not keep the process from ending: a board that is lost is waited for long."""
    slots = threading.Semaphore(at_once)
    futures: dict[str, Future[Outcome]] = {name: Future() for name in names}

    def board(name: str, future: Future[Outcome]) -> None:
        with slots:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(run(name))
            except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
                future.set_exception(error)

    for name, future in futures.items():
        threading.Thread(target=board, args=(name, future), daemon=True, name=f"liteback-{name}").start()
    return futures


def _not_ended(running: dict[str, Future[Outcome]]) -> Iterator[str]:
    """The boards that are still at it a little later, in words; those that have not begun never will."""
    _, late = wait([future for future in running.values() if not future.cancel()], _ENDING_SECONDS)
    if names := [name for name, future in running.items() if future in late]:
        yield f"Not ended in order: {', '.join(names)}; what runs there ends by itself, in some 80 s."


def _outcome(name: str, run: Callable[[str, Report], dict[str, Any]], bar: Report) -> Outcome:
    try:
        return Outcome(name, run(name, bar), None)
    except LitebackError as error:
        return Outcome(name, {}, error)


@contextmanager
def _bars(names: Sequence[str]) -> Iterator[dict[str, Report]]:
    """A bar for each board on the terminal."""
    columns = (
        TextColumn("{task.fields[board]}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    bars = Progress(*columns, console=err, transient=True, disable=not err.is_interactive)

    def report(name: str) -> Report:
        task = bars.add_task("", total=None, board=name)

        def on_board(done: int, total: int, text: str) -> None:
            bars.update(task, completed=done, total=total, description=text)
            bars.start()  # only now: see `shared.progress`

        return on_board

    try:
        yield {name: report(name) for name in names}
    finally:
        bars.stop()
