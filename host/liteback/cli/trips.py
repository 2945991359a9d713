"""The command that runs all the others: roundtrip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import tables
from .shared import (
    Delegate,
    Gates,
    InputRange,
    Json,
    Kernels,
    Memory,
    ModelFile,
    Random,
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


def roundtrip(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Everything goes here.")],
    inputs: Source = None,
    random: Random = None,
    seed: Seed = 0,
    samples: Samples = None,
    input_range: InputRange = None,
    target: Target = "local",
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

    options = run_options(target, runtime, kernels, delegate, threads, memory)
    data = read_model(model)
    samples_of = inputs_for(lift(data), inputs, random, seed, samples, input_range)
    load_tensorflow()
    from ..roundtrip import roundtrip as run
    from ..roundtrip import to_json
    from ..session.board import connect

    with connect(target) as board, progress() as bar:
        trip = run(board, model.name, data, samples_of, output, options, bar)
    failures = check_gates(gate, trip.primary)
    if json:
        emit_json({**to_json(trip), "gates": failures})
    else:
        tables.trip(out, trip)
    raise_gates(failures)
