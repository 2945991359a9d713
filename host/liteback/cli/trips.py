"""The command that runs all the others: roundtrip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import tables
from .group import boards_of, on_each
from .shared import (
    Delegate,
    Direct,
    Gates,
    InputRange,
    Json,
    Kernels,
    Memory,
    ModelFile,
    Random,
    Report,
    Runtime,
    Samples,
    Seed,
    Source,
    Target,
    Threads,
    check_gates,
    emit_json,
    inputs_for,
    load_tensorflow,
    out,
    progress,
    raise_gates,
    run_options,
)

if TYPE_CHECKING:
    from ..roundtrip import Trip


def roundtrip(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Everything goes here.")],
    inputs: Source = None,
    random: Random = None,
    seed: Seed = 0,
    samples: Samples = None,
    input_range: InputRange = None,
    target: Target = "local",
    direct: Direct = None,
    gate: Gates = None,
    runtime: Runtime = "",
    kernels: Kernels = "default",
    delegate: Delegate = "",
    threads: Threads = 1,
    memory: Memory = 0,
    json: Json = False,
) -> None:
    """All of it: inspect, capture, reconstruct, calibrate, compare, export, prove, and a report."""
    from ..files import read_model
    from ..lift import lift

    data = read_model(model)
    samples_of = inputs_for(lift(data), inputs, random, seed, samples, input_range)
    load_tensorflow()
    from ..roundtrip import roundtrip as run
    from ..roundtrip import to_json
    from ..session.board import connect

    def on(name: str, folder: Path, bar: Report) -> Trip:
        options = run_options(name, runtime, kernels, delegate, threads, memory)
        with connect(name, direct) as board:
            return run(board, model.name, data, samples_of, folder, options, bar)

    def judged(trip: Trip) -> dict[str, Any]:
        raise_gates(check_gates(gate, trip.primary))
        return to_json(trip)

    if names := boards_of(target):
        # One after the other: Keras builds its models in one thread.
        on_each(names, lambda name, bar: judged(on(name, output / name, bar)), json, at_once=1)
        return
    with progress() as bar:
        trip = on(target, output, bar)
    failures = check_gates(gate, trip.primary)
    if json:
        emit_json({**to_json(trip), "gates": failures})
    else:
        tables.trip(out, trip)
    raise_gates(failures)
