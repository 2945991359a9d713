"""What the commands that run a model on a board share: their options, and what these ask for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from liteback.cli.shared import Direct, Runtime, Target, parsed_as
from liteback.errors import InvalidModel, UsageError

if TYPE_CHECKING:
    from liteback.inputs import Inputs
    from liteback.ir import Model
    from liteback.session.board import RunOptions


@dataclass(frozen=True)
class Run:
    """The options of a command that runs a model on a board: on which one, on which samples, and how."""

    inputs: Annotated[
        Path | None,
        typer.Option("--inputs", help="Samples: .npz, .npy, a folder of images, or a folder of WAV files."),
    ] = None
    random: Annotated[int | None, typer.Option(metavar="N", help="N random samples instead of --inputs.")] = None
    seed: Annotated[int, typer.Option(help="Seed of --random.")] = 0
    samples: Annotated[int | None, typer.Option(metavar="N", help="Use the first N samples of --inputs.")] = None
    input_range: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="Real range that pixels or sound are scaled to, e.g. -1,1."),
    ] = None
    target: Target = "local"
    direct: Direct = None
    runtime: Runtime = ""
    kernels: Annotated[str, typer.Option(help="default, builtin (no default delegate) or reference.")] = "default"
    delegate: Annotated[str, typer.Option(metavar="PATH", help="A delegate's shared library on the board.")] = ""
    threads: Annotated[int, typer.Option(min=1, help="Threads of the interpreter.")] = 1
    memory: Annotated[
        int,
        typer.Option(
            metavar="BYTES",
            min=0,
            help="Address space of the process that runs the model; 0: 2 GiB and 4 × the file.",
        ),
    ] = 0

    def samples_for(self, model: Model) -> Inputs:
        """The samples that were asked for.

        Raises:
            UsageError: neither or both of --inputs and --random, or what `read_inputs` refuses.
        """
        from liteback.inputs import random_inputs, read_inputs

        if (self.inputs is None) == (self.random is None):
            raise UsageError(
                "Samples come from --inputs PATH (an .npz, .npy, a folder of images or WAV files) or from --random N. "
                f"Received: {'both' if self.inputs else 'neither'}."
            )
        if self.random is not None:
            if self.samples is not None:
                raise UsageError(
                    f"--samples is for --inputs; --random N says how many. Received: both, with {self.samples}."
                )
            return random_inputs(model.main, self.random, self.seed)
        if self.inputs is None or not self.inputs.exists():
            raise UsageError(f"There is nothing at --inputs {str(self.inputs)!r}.")
        scaled = _range(self.input_range) if self.input_range else None
        return read_inputs(self.inputs, model.main, self.samples, signatures=model.signatures, value_range=scaled)

    def options_on(self, target: str) -> RunOptions:
        """How the board is asked to run the model; what is left at its default is the boards file's to say.

        Raises:
            UsageError: there are no such kernels, or the boards file breaks a rule.
        """
        from liteback.session.board import RunOptions
        from liteback.session.remote import board_entry

        own = board_entry(target).run
        options = RunOptions(
            runtime=self.runtime or own.get("runtime", ""),
            kernels=self.kernels if self.kernels != "default" else own.get("kernels", self.kernels),
            delegate=self.delegate or own.get("delegate", ""),
            threads=self.threads if self.threads != 1 else own.get("threads", self.threads),
            memory_bytes=self.memory,
        )
        if options.kernels not in ("default", "builtin", "reference"):
            raise UsageError(f"--kernels is default, builtin or reference. Received: {options.kernels!r}.")
        return options


def runs_model(command: Callable[..., None]) -> Callable[..., None]:
    """A command with a parameter `run: Run`, in whose place the parser sees an option for each field of it."""
    hints = get_type_hints(Run, include_extras=True)
    parameters: list[inspect.Parameter] = []
    # Not get_type_hints: before Python 3.11 it hides `Annotated` in an Optional where the default is None.
    for own in inspect.signature(command, eval_str=True).parameters.values():
        if own.annotation is not Run:
            parameters.append(own)
            continue
        for field in fields(Run):
            option = hints[field.name]
            parameters.append(inspect.Parameter(field.name, own.kind, default=field.default, annotation=option))

    @functools.wraps(command)
    def called(**given: Any) -> None:
        command(run=Run(**{field.name: given.pop(field.name) for field in fields(Run)}), **given)

    return parsed_as(called, parameters)


@contextmanager
def recording_into(folder: Path) -> Iterator[None]:
    """An interrupt in this context says what it leaves in `folder`, where a board's or a file's recording may lie."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if any(next(folder.glob(f"{'*/' * depth}manifest.json"), None) for depth in range(3)):
            raise KeyboardInterrupt(
                *interrupt.args, f"What was recorded is kept in {folder}: the same command goes on from there."
            ) from None
        raise


def read(path: Path) -> tuple[bytes, Model]:
    """A .tflite file, and what is in it.

    Raises:
        UsageError: it cannot be read.
        InvalidModel: it is damaged.
    """
    from liteback.files import read_model
    from liteback.lift import lift

    data = read_model(path)
    try:
        return data, lift(data)
    except InvalidModel as error:  # of several files, this one
        raise InvalidModel(f"{path}: {error}") from error


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise UsageError(f"--input-range is LOW,HIGH with LOW below HIGH, such as -1,1. Received: {text!r}.")
    return low, high
