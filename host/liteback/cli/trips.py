"""The command that runs all the others: roundtrip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liteback.cli import tables
from liteback.cli.boards import raise_unproven
from liteback.cli.group import boards_of, on_each
from liteback.cli.run import Run, read, recording_into, runs_model
from liteback.cli.shared import Gates, Json, ModelFile, Report, check_gates, emit_json, load_tensorflow, out, progress

if TYPE_CHECKING:
    from liteback.roundtrip import Trip


@runs_model
def roundtrip(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Everything goes here.")],
    run: Run,
    gate: Gates = None,
    json: Json = False,
) -> None:
    """All of it: inspect, capture, reconstruct, calibrate, compare, export, prove, and a report."""
    from liteback.files import check_folder

    check_folder(output, "a round trip", "recording/manifest.json", "*/recording/manifest.json")
    data, lifted = read(model)
    samples = run.samples_for(lifted)
    load_tensorflow()
    from liteback.comparison.gates import parse_gate
    from liteback.roundtrip import roundtrip as whole_trip
    from liteback.roundtrip import to_json
    from liteback.session.board import connect

    gates = [parse_gate(text) for text in gate or ()]

    def on(name: str, folder: Path, bar: Report) -> Trip:
        options = run.options_on(name)
        with connect(name, run.direct) as board:
            return whole_trip(board, model.name, data, samples, folder, options, bar, gates)

    def judged(trip: Trip) -> dict[str, Any]:
        raise_unproven(trip.proof, check_gates(gate, trip.primary))
        return to_json(trip)

    with recording_into(output):
        if names := boards_of(run.target):
            # One after the other: Keras builds its models in one thread.
            on_each(names, lambda name, bar: judged(on(name, output / name, bar)), json, at_once=1)
            return
        with progress() as bar:
            trip = on(run.target, output, bar)
    failures = check_gates(gate, trip.primary)
    if json:
        emit_json({**to_json(trip), "gates": failures})
    else:
        tables.trip(out, trip)
    raise_unproven(trip.proof, failures)
