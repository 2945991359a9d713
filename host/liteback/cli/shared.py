"""What several commands share: options, the consoles, progress, and quiet imports."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..errors import GateFailed, UsageError
from .terminal import Terminal

if TYPE_CHECKING:
    from ..comparison.result import Comparison
    from ..inputs import Inputs
    from ..ir import Model
    from ..session.board import RunOptions

# gRPC's core tells of every connection that ends, on stderr; what matters comes back as an error.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

err = Terminal(stderr=True)  # people read stderr; stdout is for --json
out = Terminal()

Report = Callable[[int, int, str], None]

ModelFile = Annotated[Path, typer.Argument(metavar="MODEL.tflite", help="A TensorFlow Lite file.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, and nothing else there.")]
Target = Annotated[str, typer.Option(help="local, user@host[:port], an SSH alias, or a board of the boards file.")]
Direct = Annotated[
    bool | None,
    typer.Option(
        "--direct/--no-direct",
        help="Straight to the board's address with mutual TLS, as `deploy --direct` set it up; else through SSH.",
        show_default=False,
    ),
]
Source = Annotated[
    Path | None,
    typer.Option("--inputs", help="Samples: .npz, .npy, a folder of images, or a folder of WAV files."),
]
Random = Annotated[int | None, typer.Option("--random", metavar="N", help="N random samples instead of --inputs.")]
Seed = Annotated[int, typer.Option(help="Seed of --random.")]
Samples = Annotated[int | None, typer.Option(metavar="N", help="Use the first N samples of --inputs.")]
InputRange = Annotated[
    str | None,
    typer.Option(metavar="LOW,HIGH", help="Real range that pixels or sound are scaled to, e.g. -1,1."),
]
Runtime = Annotated[str, typer.Option(help="tflite_runtime or ai_edge_litert; the board's first if not given.")]
Kernels = Annotated[str, typer.Option(help="default, builtin (no default delegate) or reference.")]
Delegate = Annotated[str, typer.Option(metavar="PATH", help="A delegate's shared library on the board.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the interpreter.")]
Memory = Annotated[
    int,
    typer.Option(metavar="BYTES", help="Address space of the process that runs the model; 0: 2 GiB and 4 × the file."),
]
Gates = Annotated[
    list[str] | None,
    typer.Option(
        "--gate", metavar="'MODE.METRIC<=X'", help="e.g. isolated.lsb_max<=1, output.sqnr_db>=30. Repeatable."
    ),
]


def emit_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a command."""
    out.documented = True
    sys.stdout.write(json.dumps(document, indent=1) + "\n")


def inputs_for(
    model: Model, source: Path | None, random: int | None, seed: int, samples: int | None, value_range: str | None
) -> Inputs:
    """The samples that the options of a command ask for.

    Raises:
        UsageError: neither or both of --inputs and --random, or what `read_inputs` refuses.
    """
    from ..inputs import random_inputs, read_inputs

    if (source is None) == (random is None):
        raise UsageError(
            "Samples come from --inputs PATH (an .npz, .npy, a folder of images or WAV files) or from --random N. "
            f"Received: {'both' if source else 'neither'}."
        )
    if random is not None:
        if samples is not None:
            raise UsageError(f"--samples is for --inputs; --random N says how many. Received: both, with {samples}.")
        return random_inputs(model.main, random, seed)
    if source is None or not source.exists():
        raise UsageError(f"There is nothing at --inputs {str(source)!r}.")
    scaled = _range(value_range) if value_range else None
    return read_inputs(source, model.main, samples, signatures=model.signatures, value_range=scaled)


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(f"--input-range is LOW,HIGH with LOW below HIGH, such as -1,1. Received: {text!r}.")
    return low, high


def run_options(target: str, runtime: str, kernels: str, delegate: str, threads: int, memory: int) -> RunOptions:
    """How the board is asked to run the model; what is left at its default is the boards file's to say.

    Raises:
        UsageError: there are no such kernels, or the boards file breaks a rule.
    """
    from ..session.board import RunOptions
    from ..session.remote import board_entry

    own = board_entry(target).run
    options = RunOptions(
        runtime=runtime or own.get("runtime", ""),
        kernels=kernels if kernels != "default" else own.get("kernels", kernels),
        delegate=delegate or own.get("delegate", ""),
        threads=threads if threads != 1 else own.get("threads", threads),
        memory_bytes=memory,
    )
    if options.kernels not in ("default", "builtin", "reference"):
        raise UsageError(f"--kernels is default, builtin or reference. Received: {options.kernels!r}.")
    return options


def check_gates(gates: list[str] | None, *comparisons: Comparison) -> list[str]:
    """Every gate that does not hold, in words.

    Raises:
        UsageError: a gate is malformed, or matches nothing.
    """
    from ..comparison.gates import check_gates, parse_gate

    parsed = [parse_gate(text) for text in gates or ()]
    return [str(failure) for comparison in comparisons for failure in check_gates(parsed, comparison)]


def raise_gates(failures: list[str]) -> None:
    """Raises: GateFailed, when there are failures."""
    if failures:
        listed = "\n".join(f"  - {f}" for f in failures[:10])
        more = f"\n  ... and {len(failures) - 10} more" if len(failures) > 10 else ""
        raise GateFailed(f"{len(failures)} gate(s) do not hold:\n{listed}{more}")


@contextmanager
def progress() -> Iterator[Report]:
    """A bar on the terminal; nothing where stderr is no terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task("", total=None)
        yield lambda done, total, text: bars.update(task, completed=done, total=total, description=text)


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


def load_tensorflow() -> None:
    """Import TensorFlow and Keras, quietly.

    Raises:
        UsageError: they are not installed.
    """
    try:
        with quiet():
            import tensorflow as tf

            tf.constant(0)  # the first tensor finds out about devices, loudly
        tf.get_logger().setLevel("ERROR")  # its advice on how to trace functions is not for who runs a command
    except ImportError as error:
        raise UsageError(f"This command needs TensorFlow: pip install 'liteback[host]'. ({error})") from error
