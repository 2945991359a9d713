"""What several commands share: options, the consoles, progress, and quiet imports."""

from __future__ import annotations

import gc
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.control import Control
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import ControlType

from liteback.cli.terminal import Terminal
from liteback.errors import GateFailed, UsageError
from liteback.files import check_file
from liteback.words import counted, printable_json

if TYPE_CHECKING:
    from liteback.comparison.result import Comparison

# gRPC's core tells of every connection that ends, on stderr; what matters comes back as an error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

err = Terminal(stderr=True)  # people read stderr; stdout is for --json
out = Terminal()

Report = Callable[[int, int, str], None]

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="A TensorFlow Lite file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Target = Annotated[
    str, typer.Option(help="local, user@host[:port], an SSH alias, or of the boards file a board or a @group.")
]
Direct = Annotated[
    bool | None,
    typer.Option(
        "--direct/--no-direct",
        help="Straight to the board's address with mutual TLS, as `deploy --direct` set it up; else through SSH.",
        show_default=False,
    ),
]
Runtime = Annotated[str, typer.Option(help="tflite_runtime or ai_edge_litert; the board's first if not given.")]


def checked_file(path: Path | None) -> Path | None:
    """Where a result cannot be written is told of now, not when there is one."""
    if path is not None:
        check_file(path)
    return path


def _checked_gates(gates: list[str] | None) -> list[str] | None:
    """A gate that is malformed is told of now, not when the board has run for an hour."""
    if gates:
        from liteback.comparison.gates import parse_gate

        for text in gates:
            parse_gate(text)
    return gates


# Below a command's options: in their columns a narrow terminal has no room for it.
GATE_EXAMPLES = (
    "A GATE is SCOPE.METRIC, one of <= >= < > ==, and a number: 'isolated.lsb_max<=1', 'cumulative.cosine>=0.99', "
    "'output.sqnr_db>=30'."
)
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate",
        metavar="GATE",
        help="A bound that decides the exit code, see below. Repeatable.",
        callback=_checked_gates,
    ),
]


def parsed_as(command: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """The command, with these parameters for what the parser reads."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command


def emit_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a command."""
    out.documented = True
    sys.stdout.write(json.dumps(printable_json(document), indent=1) + "\n")


def check_gates(gates: list[str] | None, *comparisons: Comparison) -> list[str]:
    """Every gate that does not hold, in words.

    Raises:
        UsageError: a gate is malformed, or matches nothing.
    """
    from liteback.comparison.gates import check_gates, parse_gate

    parsed = [parse_gate(text) for text in gates or ()]
    return [str(failure) for comparison in comparisons for failure in check_gates(parsed, comparison)]


def raise_gates(failures: list[str]) -> None:
    """Raises: GateFailed, when there are failures."""
    if failures:
        listed = "\n".join(f"  - {f}" for f in failures[:10])
        more = f"\n  ... and {len(failures) - 10} more" if len(failures) > 10 else ""
        raise GateFailed(f"{counted(len(failures), 'number is', 'numbers are')} outside the gates:\n{listed}{more}")


@contextmanager
def progress() -> Iterator[Report]:
    """A bar on the terminal; nothing where stderr is no terminal, or one that cannot go back to a line."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=err, transient=True, disable=not err.is_interactive)
    task = bars.add_task("", total=None)

    def report(done: int, total: int, text: str) -> None:
        bars.update(task, completed=done, total=total, description=text)
        bars.start()  # only now: before there is something to tell, a person may be asked for a password

    try:
        yield report
    finally:
        bars.stop()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep TensorFlow's start-up messages, which its C++ writes past every setting, off the terminal.

    Afterwards it tells nothing either: what goes wrong in it is raised, and its other errors are of how it computes.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _meanwhile(text: str) -> Iterator[None]:
    """A line on the terminal for as long as the context lasts; it does not move, so that `quiet` may silence stderr."""
    if err.is_interactive:
        err.print(text, end="\r")
    try:
        yield
    finally:
        if err.is_interactive:
            err.control(Control((ControlType.ERASE_IN_LINE, 2)))


@contextmanager
def _nothing_collected() -> Iterator[None]:
    """What imports make stays: to look through it for garbage is a fifth of TensorFlow's, and of each look later on."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        gc.collect()  # of nothing: the collector forgets how many objects there are


def load_tensorflow() -> None:
    """Import TensorFlow and Keras, quietly.

    Raises:
        UsageError: they are not installed.
    """
    try:
        with _meanwhile("loading TensorFlow ..."), quiet(), _nothing_collected():
            import tensorflow as tf

            tf.constant(0)  # the first tensor finds out about devices, loudly
        tf.get_logger().setLevel("ERROR")  # its advice on how to trace functions is not for who runs a command
    except ImportError as error:
        raise UsageError(f"This command needs TensorFlow: pip install 'liteback[host]'. ({error})") from error
