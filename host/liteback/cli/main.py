"""Parsing the command line, and turning every end of a command into an exit code."""

from __future__ import annotations

import inspect
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from rich.text import Text
from typer.core import TyperCommand

from liteback import __version__
from liteback.cli import agent, boards, deploy, models, trips
from liteback.cli.shared import GATE_EXAMPLES, emit_json, err, out
from liteback.errors import MACHINE_DENIES, LitebackError, UsageError
from liteback.interrupts import interrupt, sparing_locks
from liteback.words import printable


class _Command(TyperCommand):
    """Its help is plain text: a table of names, negations, types and words has no room for them at 60 columns."""

    def __init__(self, name: str | None, **given: Any) -> None:
        super().__init__(name, **{**given, "rich_markup_mode": None})


app = typer.Typer(
    name="liteback",
    help="Bring a TensorFlow Lite model back to Keras, and prove it on the board it runs on.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=(
        "Exit codes: 0 good; 1 a gate failed; 2 wrong usage; 3 board unreachable; 4 host key or certificate; 5 agent "
        "or runtime incompatible; 6 incomplete, resumable; 7 no certificate; 8 model invalid or not supported; 70 our "
        "bug; 130 interrupted."
    ),
)
for command in (
    boards.doctor,
    models.inspect,
    models.reconstruct,
    boards.capture,
    models.compare,
    models.calibrate,
    models.export,
    boards.prove,
    trips.roundtrip,
    deploy.deploy,
):
    gated = "gate" in inspect.signature(command).parameters
    app.command(epilog=GATE_EXAMPLES if gated else None)(command)
app.add_typer(agent.agent, name="agent")
for registered in (*app.registered_commands, *agent.agent.registered_commands):
    registered.cls = _Command


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"liteback {__version__}\n")
        raise typer.Exit


@app.callback()
def _top(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run a command line. Returns the exit code."""
    signal.signal(signal.SIGTERM, interrupt)
    with sparing_locks():
        return _run(arguments)


def _run(arguments: Sequence[str]) -> int:
    out.documented = False
    try:
        # Not app(): that one makes exit codes of its own of an interrupt and of a closed pipe.
        command = typer.main.get_command(app)
        with command.make_context("liteback", list(arguments)) as context:
            command.invoke(context)
        sys.stdout.flush()
        return 0
    except typer.Exit as end:
        return end.exit_code
    except (KeyboardInterrupt, typer.Abort) as end:
        return _interrupted(end, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the flush at exit does not fail again
        return 0
    except SystemExit:  # so a console of rich's own, which draws the help, ends where nobody reads on
        return 0
    except Exception as error:  # noqa: BLE001  what is not a LitebackError is a bug, with some exceptions
        if behind := _interrupt_behind(error):
            return _interrupted(behind, arguments)
        return _failed(error, arguments) if isinstance(error, LitebackError) else _other(error, arguments)


def _interrupted(end: BaseException, arguments: Sequence[str]) -> int:
    words = " ".join(["Interrupted.", *map(str, end.args)])
    err.say(words)
    return _documented(arguments, words, "Interrupted", 130)


def _interrupt_behind(error: BaseException | None) -> KeyboardInterrupt | None:
    """The interrupt of which an error tells: TensorFlow makes an ImportError of one, and what ends early may fail."""
    seen = set[int]()  # a library may raise an error from itself
    while error is not None and id(error) not in seen:
        if isinstance(error, KeyboardInterrupt):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _failed(error: LitebackError, arguments: Sequence[str]) -> int:
    err.say(Text("error:", "bold red"), str(error))
    return _documented(arguments, str(error), type(error).__name__, error.exit_code)


def _documented(arguments: Sequence[str], error: str, kind: str, exit_code: int) -> int:
    """What went wrong, as JSON where that was asked for. Returns the exit code."""
    if "--json" in arguments and not out.documented:  # a gate's failure is in the command's own document
        emit_json({"error": error, "kind": kind, "exit_code": exit_code})
    return exit_code


def _other(error: Exception, arguments: Sequence[str]) -> int:
    show = getattr(error, "show", None)
    if callable(show):  # the parser's own errors know how to show themselves
        show()
        return _documented(arguments, error.format_message(), "UsageError", 2)  # type: ignore[attr-defined]
    if isinstance(error, OSError) and error.errno in MACHINE_DENIES:
        return _failed(UsageError(f"{error.filename or 'The output'}: {error.strerror}."), arguments)
    if isinstance(error, UnicodeEncodeError) and (name := printable(error.object)) != error.object:
        rule = "A name that TensorFlow, or a board, is to take is UTF-8"
        return _failed(UsageError(f"{rule}. Received: {name}. Choose another name."), arguments)
    if os.environ.get("LITEBACK_DEBUG"):
        traceback.print_exc()
    err.say(
        Text("internal error:", "bold red"),
        f"{type(error).__name__}: {error}\n"
        "This is a bug of liteback, not of your model. Run it again with LITEBACK_DEBUG=1 for the traceback, "
        "and please report it.",
    )
    return _documented(arguments, f"{type(error).__name__}: {error}", "InternalError", 70)
