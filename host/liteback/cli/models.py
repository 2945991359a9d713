"""Commands that need no board: inspect, reconstruct, compare, export."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from liteback.cli import tables
from liteback.cli.run import read
from liteback.cli.shared import (
    Gates,
    Json,
    ModelFile,
    check_gates,
    checked_file,
    emit_json,
    load_tensorflow,
    out,
    progress,
    raise_gates,
)
from liteback.errors import UnsupportedModel, UsageError
from liteback.files import check_model

if TYPE_CHECKING:
    from liteback.comparison.result import Comparison
    from liteback.emit.emission import Emission
    from liteback.recording import Recording

Profile = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|JSON",
        help="The kernel set of exact (in fakequant, of hybrid kernels): one that ships, or what `calibrate` wrote.",
    ),
]
NumericsName = Literal["float", "fakequant", "exact"]
Numerics = Annotated[
    NumericsName,
    typer.Option(help="float: real numbers; fakequant: rounded as the device does; exact: the device's integers."),
]


def inspect(
    model: ModelFile,
    json: Json = False,
    nodes: Annotated[bool, typer.Option("--nodes", help="List every operator.")] = False,
) -> None:
    """What a .tflite file is, and what will and will not come back. Needs no TensorFlow."""
    from liteback.inspection import inspect as look

    found = look(model)
    if json:
        emit_json(found.to_json())
    else:
        tables.inspection(out, model.name, found, nodes)


def reconstruct(
    model: ModelFile,
    output: Annotated[Path, typer.Option("-o", "--output", help=".keras, .h5, or a folder: a SavedModel.")],
    numerics: Numerics = "float",
    signature: Annotated[str | None, typer.Option(metavar="KEY", help="A signature's graph, not the main one.")] = None,
    profile: Profile = None,
    json: Json = False,
) -> None:
    """Bring a .tflite file back as a trainable Keras model."""
    check_model(model)
    load_tensorflow()
    from liteback.reconstruction import reconstruction, signature_reconstructions
    from liteback.saving import check_output, interface_names, save

    check_output(output)
    started = time.perf_counter()
    if output.suffix or signature is not None:
        made = {"serving_default": reconstruction(model, numerics, signature, profile)}
        refused: dict[str, UnsupportedModel] = {}
    else:  # a SavedModel holds all of the file's signatures
        made, refused = signature_reconstructions(model, numerics, profile)
    made = {key: each.without_constants() for key, each in made.items()}
    emission = made.pop("serving_default")
    save(emission, output, made)
    served = {} if output.suffix else {"serving_default": emission, **made}
    signatures = {key: interface_names(each.graph) for key, each in served.items()}
    document = _reconstructed(output, emission, signatures, refused)
    document["seconds"] = round(time.perf_counter() - started, 3)
    if json:
        emit_json(document)
    else:
        tables.reconstructed(out, document)


def _reconstructed(
    output: Path,
    emission: Emission,
    signatures: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    refused: Mapping[str, UnsupportedModel],
) -> dict[str, Any]:
    """The JSON of `reconstruct`, but for the time it took."""
    return {
        "output": str(output),
        "numerics": emission.numerics,
        "nodes": len(emission.graph.nodes),
        "layers": len(emission.model.layers),
        "parameters": emission.model.count_params(),
        "trainable_parameters": sum(int(w.shape.num_elements()) for w in emission.model.trainable_weights),
        "stock_keras": not emission.own_layers,
        "own_layers": list(emission.own_layers),
        "keras_ops": list(emission.keras_ops),
        "batch": emission.model.inputs[0].shape[0] if emission.model.inputs[0].shape else None,
        "refused": {key: [asdict(p) for p in error.problems] for key, error in refused.items()},
        "signatures": {key: {"inputs": takes, "outputs": gives} for key, (takes, gives) in signatures.items()},
    }


def compare(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="A .keras file, a SavedModel, the .tflite itself, or a recording."),
    ],
    recordings: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RECORDING", help="A folder that `capture` wrote.", show_default=False),
    ] = None,
    numerics: Annotated[NumericsName | None, typer.Option(help="What a .tflite is reconstructed in.")] = None,
    profile: Profile = None,
    gate: Gates = None,
    html: Annotated[Path | None, typer.Option(help="Write the report here.", callback=checked_file)] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.", callback=checked_file)] = None,
    json: Json = False,
) -> None:
    """Compare a model with what the board computed, layer by layer, cumulative and isolated.

    With recordings alone, or a folder of them: which boards have the same bits, and the first tensor where two part.
    """
    from liteback.comparison.agreement import recordings_in

    others = recordings or []
    if boards := recordings_in(model):
        _agreement([*boards, *(r for other in others for r in recordings_in(other))], json)
        return
    if len(others) != 1:
        raise UsageError(f"A model is compared with one recording. Received: {len(others)}.")
    from liteback.recording import Recording

    if not model.exists():
        raise UsageError(f"There is no model at {str(model)!r}.")
    recorded = Recording.open(others[0])
    load_tensorflow()
    from liteback.api import compare as run

    with progress() as bar:
        result = run(
            model,
            recorded,
            numerics,
            progress=lambda done, total: bar(done, total, "comparing"),
            profile=profile,
        )
    failures = check_gates(gate, result)
    if json:
        emit_json({**result.to_json(), "gates": failures})
    else:
        tables.comparison(out, result)
    for written in _reports(html, junit, model.name, recorded, result, gate):
        if not json:
            out.say(tables.WROTE, f"{written}")
    raise_gates(failures)


def _reports(
    html: Path | None, junit: Path | None, name: str, recorded: Recording, result: Comparison, gate: list[str] | None
) -> list[Path]:
    """Write a comparison where it was asked for; the files. name: of what was compared."""
    from liteback.comparison.gates import broken_gates, parse_gate
    from liteback.files import write_output
    from liteback.report import ReportData, render
    from liteback.report import junit as junit_xml

    broken = broken_gates([parse_gate(text) for text in gate or ()], result)
    if html is not None:
        failures = tuple(why for each in broken.values() for why in each)
        write_output(html, render(ReportData(name, recorded.manifest, result, failures)))
    if junit is not None:
        write_output(junit, junit_xml(result, broken))
    return [written for written in (html, junit) if written is not None]


def calibrate(
    model: ModelFile,
    recording: Annotated[Path, typer.Argument(metavar="RECORDING", help="A folder that `capture` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="profile.json and more go here.")],
    correct: Annotated[
        Path | None, typer.Option(metavar="MODEL.keras", help="A float model to correct; the file's own if not given.")
    ] = None,
    gate: Gates = None,
    json: Json = False,
) -> None:
    """Find the kernels that a recording was made with, prove them bit for bit, and try corrections of the float model.

    DIR holds profile.json (for --numerics exact --profile), calibration.json, and corrected.keras where one is proven.
    """
    from liteback.files import check_folder

    check_folder(output, "a calibration", "profile.json")
    from liteback.files import read_model
    from liteback.recording import Recording

    recorded = Recording.open(recording)
    if read_model(model) != recorded.model_bytes():
        raise UsageError(
            f"{model} is not the file of the recording {recording}: calibrate with the one it was made of."
        )
    load_tensorflow()
    from liteback.api import calibrate as run
    from liteback.calibration.write import write

    with progress() as bar:
        result = run(recorded, correct, bar)
    failures = check_gates(gate, *([result.twin] if result.twin else []))
    write(result, output)
    if json:
        emit_json({"output": str(output), **result.to_json(), "gates": failures})
    else:
        tables.calibration(out, result, output)
    raise_gates(failures)


def _agreement(recordings: Sequence[Path], json: bool) -> None:
    """Boards beside each other."""
    from liteback.comparison.agreement import agreement

    found = agreement(recordings)
    if json:
        emit_json(found.to_json())
    else:
        tables.agreement(out, found)


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL.keras", help="A reconstruction, trained further or not.")],
    like: Annotated[Path, typer.Option(metavar="OLD.tflite", help="The file it was reconstructed from.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="NEW.tflite", help="The new file.")],
    method: Annotated[str, typer.Option(help="patch: the weights in place, at the recorded scales.")] = "patch",
    json: Json = False,
) -> None:
    """Write a model's weights back into the .tflite file it came from."""
    if method != "patch":
        raise UsageError(f"--method is patch. Received: {method!r}.")
    if output.exists() and like.exists() and output.samefile(like):
        raise UsageError(
            f"The new file takes another name than the old one, which may be the last copy. Received: {str(output)!r}."
        )
    if output.is_file() and (before := output.read_bytes()[:8]) and before[4:] != b"TFL3":
        raise UsageError(
            f"The file {str(output)!r} holds something other than a TensorFlow Lite model. Choose another name."
        )
    from liteback.files import check_file, write_output

    check_file(output)
    original, _ = read(like)
    load_tensorflow()
    from liteback.export.patch import patch
    from liteback.twin import load_model

    patched = patch(load_model(model), original)
    write_output(output, patched.data)
    document = {
        "output": str(output),
        "method": method,
        "identical_bytes": patched.data == original,
        "moved": sum(c.moved for c in patched.changes),
        "changed_tensors": [
            {"tensor": c.tensor, "name": c.name, "layer": c.layer, "changed": c.changed, "clipped": c.clipped}
            for c in patched.changed
        ],
        "bytes": len(patched.data),
    }
    if json:
        emit_json(document)
    else:
        tables.export(out, output, patched, patched.data == original)
