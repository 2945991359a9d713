"""Commands that talk to a board: doctor, capture, prove."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from liteback.cli import tables
from liteback.cli.group import boards_of, on_each
from liteback.cli.run import Run, read, recording_into, runs_model
from liteback.cli.shared import (
    Direct,
    Gates,
    Json,
    ModelFile,
    Report,
    Target,
    check_gates,
    emit_json,
    out,
    progress,
    raise_gates,
)

if TYPE_CHECKING:
    from liteback.doctor import Check
    from liteback.proof import Proof


def doctor(target: Target = "local", direct: Direct = None, json: Json = False) -> None:
    """Check workstation and board, and say how to mend what is wrong."""
    from liteback.doctor import diagnose

    if names := boards_of(target):
        on_each(names, lambda name, bar: sound(name, diagnose(name, direct)), json)
        return
    checks = diagnose(target, direct)
    if json:
        emit_json({"target": target, "checks": [c.to_json() for c in checks], "ok": all(c.ok for c in checks)})
    else:
        tables.checks(out, checks)
    failed = next((c for c in checks if not c.ok), None)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def sound(target: str, checks: list[Check]) -> dict[str, Any]:
    """The document of a board that passes every check. Raises: BoardError, with those that it does not pass."""
    from liteback.errors import BoardError

    failed = [c for c in checks if not c.ok]
    if failed:
        error = BoardError("; ".join(f"{c.name}: {c.detail}" for c in failed))
        error.exit_code = failed[0].exit_code
        raise error
    return {"target": target, "checks": [c.to_json() for c in checks], "ok": True}


@runs_model
def capture(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RECORDING", help="The recording's folder.")],
    run: Run,
    select: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="conv2d_*, op:CONV_2D, #12..30, !name. Repeatable; all if not given."),
    ] = None,
    budget: Annotated[int | None, typer.Option(metavar="BYTES", min=1, help="Tapped tensors a pass may hold.")] = None,
    json: Json = False,
) -> None:
    """Record what the board computes: every layer's output, on every sample, with a certificate."""
    from liteback.recording import Recording
    from liteback.session.board import connect
    from liteback.session.capture import capture as record

    data, lifted = read(model)
    samples = run.samples_for(lifted)

    def on(name: str, folder: Path, bar: Report) -> dict[str, Any]:
        options, before = run.options_on(name), Recording.is_complete_at(folder)
        with connect(name, run.direct) as board:
            recorded = record(board, lifted, data, samples, folder, options, select or (), budget, bar)
        return {**capture_document(recorded), "recorded_before": before}

    with recording_into(output):
        if names := boards_of(run.target):
            on_each(names, lambda name, bar: certified(on(name, output / name, bar)), json)
            return
        with progress() as bar:
            document = on(run.target, output, bar)
    if json:
        emit_json(document)
    else:
        tables.recording(out, document)
    certified(document)


def certified(document: dict[str, Any]) -> dict[str, Any]:
    """The document of a capture that counts. Raises: NoCertificate."""
    from liteback.recording import Recording

    Recording.open(document["recording"]).check_counts()
    return document


def capture_document(recording: Any) -> dict[str, Any]:
    """The JSON of `capture`."""
    manifest = recording.manifest
    return {
        "recording": str(recording.path),
        "samples": manifest.samples,
        "tensors": len({t for p in manifest.passes for t in p}),
        "passes": len(manifest.passes),
        "bytes": sum(f.stat().st_size for f in recording.path.rglob("*") if f.is_file()),
        "runtime": f"{manifest.runtime} {manifest.runtime_version}",
        "kernels": manifest.kernels,
        "machine": manifest.board.get("machine", ""),
        "inputs": manifest.inputs,
        "untappable": [{"tensor": name, "reason": reason} for name, reason in manifest.untappable],
        "certificate": manifest.certificate.to_json(),
    }


@runs_model
def prove(
    old: Annotated[Path, typer.Argument(metavar="OLD.tflite", help="The file that runs today.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.tflite", help="The file that is to take its place.")],
    run: Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Keep the two recordings here.")
    ] = None,
    gate: Gates = None,
    json: Json = False,
) -> None:
    """Run an old file and a new one on the board: outputs, layers, latency, size, with gates."""
    from liteback.errors import BoardError
    from liteback.files import check_folder
    from liteback.proof import prove as both
    from liteback.session.board import connect

    if output is not None:
        check_folder(output, "a proof", "old/manifest.json", "*/old/manifest.json")
    (old_data, lifted), (new_data, _) = read(old), read(new)
    files = {f"{old.name} (old)": old_data, f"{new.name} (new)": new_data}
    samples = run.samples_for(lifted)

    def on(name: str, folder: Path, bar: Report) -> Proof:
        options = run.options_on(name)
        try:
            with connect(name, run.direct) as board:
                return both(board, files, samples, folder, options, progress=bar)
        except BoardError as error:
            if output is None:
                error.kept = None  # the recordings go with the command
            raise

    def judged(proof: Proof) -> dict[str, Any]:
        failures = check_gates(gate, proof.comparison)
        raise_unproven(proof, failures)
        return {**proof.to_json(), "gates": failures, "passed": proof.passed}

    with _kept_in(output) as folder:
        if names := boards_of(run.target):
            on_each(names, lambda name, bar: judged(on(name, folder / name, bar)), json)
            return
        with progress() as bar:
            proof = on(run.target, folder, bar)
    failures = check_gates(gate, proof.comparison)
    if json:
        emit_json({**proof.to_json(), "gates": failures, "passed": proof.passed and not failures})
    else:
        tables.proof(out, proof)
    raise_unproven(proof, failures)


@contextmanager
def _kept_in(output: Path | None) -> Iterator[Path]:
    """Where a proof's recordings go: where the user wants them, or into a folder that goes with the command."""
    if output is not None:
        with recording_into(output):
            yield output
        return
    # A board of a group that does not end in time after an interrupt may still write.
    with tempfile.TemporaryDirectory(prefix="liteback-prove-", ignore_cleanup_errors=True) as passing:
        yield Path(passing)


def raise_unproven(proof: Proof, failures: list[str]) -> None:
    """Raises: NoCertificate, GateFailed, unless the proof is one."""
    from liteback.proof import other_interface

    for side in (proof.old, proof.new):
        side.recording.check_counts()
    if proof.interface:
        raise other_interface(proof.interface)
    raise_gates(failures)
