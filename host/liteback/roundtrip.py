"""The whole trip: inspect, capture, reconstruct, calibrate, compare, export, prove, and a report of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liteback.api import DEFAULT_THRESHOLDS, default_numerics
from liteback.calibration.calibrate import Calibration, calibrate
from liteback.calibration.write import write
from liteback.comparison.compare import compare
from liteback.comparison.gates import Gate, broken_gates
from liteback.comparison.metrics import json_number
from liteback.comparison.result import MODES, Comparison
from liteback.emit.emission import Emission, Numerics
from liteback.export.patch import Patched, patch
from liteback.files import write_output
from liteback.inputs import Inputs
from liteback.inspection import Inspection, inspect
from liteback.numerics.profile import propose
from liteback.proof import Proof, prove
from liteback.reconstruction import reconstruction
from liteback.recording import Recording
from liteback.report import ReportData, RoundTrip, junit, render
from liteback.saving import save
from liteback.session.board import Board, RunOptions
from liteback.session.capture import Progress, capture
from liteback.twin import KerasTwin
from liteback.words import counted, printable_json

DEFAULT_OPTIONS = RunOptions()


@dataclass(frozen=True)
class Trip:
    """What a round trip found and left in `folder`.

    recorded_before: the recording was there already, and nothing was run for it. comparisons: numerics ->
    reconstruction against the board.
    """

    folder: Path
    inspection: Inspection
    recording: Recording
    recorded_before: bool
    emission: Emission
    calibration: Calibration | None  # None where one sample leaves nothing to prove it on, or no tensor has codes
    comparisons: dict[str, Comparison]
    patched: Patched
    identical: bool
    proof: Proof

    @property
    def primary(self) -> Comparison:
        """The comparison in the numerics that fit the file."""
        return self.comparisons[default_numerics(self.inspection.model)]

    @property
    def report(self) -> Path:
        return self.folder / "report.html"


def roundtrip(
    board: Board,
    name: str,
    data: bytes,
    inputs: Inputs,
    folder: Path,
    options: RunOptions = DEFAULT_OPTIONS,
    progress: Progress | None = None,
    gates: Sequence[Gate] = (),
) -> Trip:
    """Take a .tflite file the whole way and leave everything in `folder`.

    recording/ what the board computed; model.keras the reconstruction (float); calibration/ the kernel set;
    NAME-back.tflite the file made from the reconstruction; comparison-*.json; junit.xml; report.html. gates: what these
    two say of the numbers as well; to raise is the caller's.

    Raises:
        UsageError: the folder cannot be written.
        NoCertificate: the taps changed what they measure, or the model does not repeat itself.
        InvalidModel, UnsupportedModel, ModelRefused, RunFailed, BoardUnreachable: see the stages.
    """
    inspection = inspect(data)
    source = inspection.model
    emission = reconstruction(data, "float")
    before = Recording.is_complete_at(folder / "recording")
    recording = capture(board, source, data, inputs, folder / "recording", options, progress=progress)
    recording.check_counts()
    # Not before the capture, which refuses a folder where another file's trip lies.
    write_output(folder / "inspect.json", _json(inspection.to_json()))
    save(emission, folder / "model.keras")
    calibration = None
    if default_numerics(source) != "float" and recording.sample_count > 1:
        calibration = calibrate(recording, progress=progress)
        write(calibration, folder / "calibration")
    comparisons: dict[str, Comparison] = {}
    for numerics in dict.fromkeys((default_numerics(source), "float")):
        twin = KerasTwin.of(_emission(emission, data, numerics, recording), f"{name} in {numerics}")
        comparisons[numerics] = compare(source.main, recording, twin, DEFAULT_THRESHOLDS)
        write_output(folder / f"comparison-{numerics}.json", _json(comparisons[numerics].to_json()))
    patched = patch(emission.model, data)
    new = f"{Path(name).stem}-back.tflite"
    write_output(folder / new, patched.data)
    files = {name: data, new: patched.data}
    proof = prove(board, files, inputs, folder / "proof", options, old=recording, progress=progress)
    made = emission, calibration, comparisons, patched, patched.data == data
    trip = Trip(folder, inspection, recording, before, *made, proof)
    broken = broken_gates(gates, trip.primary)
    write_output(folder / "junit.xml", junit(trip.primary, broken))
    write_output(trip.report, render(report_data(trip, name, [why for each in broken.values() for why in each])))
    return trip


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(printable_json(document), indent=1)


def _emission(emission: Emission, data: bytes, numerics: Numerics, recording: Recording) -> Emission:
    if numerics == emission.numerics:
        return emission
    return reconstruction(data, numerics, profile=propose(recording.manifest))


def report_data(trip: Trip, name: str, gates: Sequence[str] = ()) -> ReportData:
    """What the report shows of a trip. gates: what broke the user's."""
    proof = trip.proof
    facts = [
        (f"latency, {p[:-3]}", f"{old:.3f} ms", f"{proof.new.percentiles[p]:.3f} ms")
        for p, old in proof.old.percentiles.items()
    ]
    facts.append(("size", f"{proof.old.size:,} bytes", f"{proof.new.size:,} bytes"))
    changed = counted(len(trip.patched.changed), "constant has", "constants have")
    notes = [
        "The new file is identical to the old one, byte for byte."
        if trip.identical
        else f"{changed} new values; every other byte is the old file's."
    ]
    float_notes = []
    if len(trip.comparisons) > 1:
        drift = trip.comparisons["float"]
        worst = min((o.metrics.sqnr_db for o in drift.outputs if o.metrics is not None), default=None)
        float_notes.append(
            "This page compares in fakequant numerics, which round as the device does. "
            f"The float model's worst output stands at {worst:.1f} dB SQNR: see comparison-float.json."
        )
    exact = (c.exact, f"{c.proof} Kernel set: {c.profile.name}.") if (c := trip.calibration) else None
    return ReportData(
        model=name,
        manifest=trip.recording.manifest,
        comparison=trip.primary,
        gates=tuple(gates),
        notes=tuple(float_notes),
        exact=exact,
        round_trip=RoundTrip(proof.old.name, proof.new.name, proof.comparison, tuple(facts), tuple(notes)),
    )


def to_json(trip: Trip) -> dict[str, Any]:
    """A summary of every stage."""
    inspected, primary = trip.inspection.to_json(), trip.primary
    del inspected["graphs"]
    certificate = trip.recording.manifest.certificate
    return {
        "folder": str(trip.folder),
        "inspect": inspected,
        "capture": {
            "recording": str(trip.recording.path),
            "samples": trip.recording.sample_count,
            "recorded_before": trip.recorded_before,
            "certificate": certificate and certificate.to_json(),
        },
        "reconstruct": {
            "output": str(trip.folder / "model.keras"),
            "numerics": "float",
            "parameters": trip.emission.model.count_params(),
            "stock_keras": not trip.emission.own_layers,
        },
        "calibrate": trip.calibration and calibration_summary(trip.calibration),
        "compare": {name: summary(c) for name, c in trip.comparisons.items()},
        "primary_numerics": primary.numerics,
        "export": {
            "output": str(trip.folder / trip.proof.new.name),
            "method": "patch",
            "identical_bytes": trip.identical,
            "changed_tensors": len(trip.patched.changed),
        },
        "prove": {k: v for k, v in trip.proof.to_json().items() if k != "layers"},
        "report": str(trip.report),
    }


def calibration_summary(calibration: Calibration) -> dict[str, Any]:
    """A calibration without its nodes."""
    document = calibration.to_json()
    keys = (
        "profile",
        "alike",
        "exact_share",
        "isolated_share",
        "hybrid_share",
        "refusals",
        "unmatched",
        "corrections_kept",
    )
    return {k: document[k] for k in keys}


def summary(comparison: Comparison) -> dict[str, Any]:
    """A comparison without its rows: the verdict, and the worst layer in each mode."""
    document = comparison.to_json()
    worst: dict[str, Any] = {}
    for mode in MODES:
        for metric in ("lsb_max", "max_abs_over_range"):
            ranked = comparison.worst(mode, metric)
            if ranked:
                value = json_number(ranked[0].value(mode, metric))
                worst[f"{mode}.{metric}"] = {"node": ranked[0].node, "value": value}
    keys = ("passed", "samples", "first_fault", "isolated_faults", "undecided", "outputs")
    return {**{k: document[k] for k in keys}, "layers": len(document["layers"]), "worst": worst}
