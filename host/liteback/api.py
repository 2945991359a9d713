"""What `import liteback` offers beyond single modules: each function is one verb of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from liteback.calibration.calibrate import Calibration, Progress
from liteback.calibration.calibrate import calibrate as calibrate_recording
from liteback.comparison.compare import Candidate
from liteback.comparison.compare import compare as compare_candidate
from liteback.comparison.result import Comparison, Thresholds
from liteback.emit.emission import Numerics
from liteback.errors import UsageError
from liteback.files import read_model
from liteback.inputs import Inputs, read_inputs
from liteback.inputs.sources import Arrays
from liteback.inspection import quantization_scheme
from liteback.ir import Model
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose
from liteback.proof import Proof
from liteback.proof import prove as prove_files
from liteback.reconstruction import reconstruct, reconstruction
from liteback.recording import Recording
from liteback.session.board import Board
from liteback.twin import KerasTwin, OutputsOnly, load_model

__all__ = ["calibrate", "compare", "prove", "reconstruct"]

DEFAULT_THRESHOLDS = Thresholds()


def compare(
    model: Any,
    recording: Recording | Path | str,
    numerics: Numerics | None = None,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    progress: Callable[[int, int], None] | None = None,
    profile: KernelProfile | str | Path | None = None,
) -> Comparison:
    """Compare a model with what a board computed, layer by layer, cumulative and isolated.

    model: a keras.Model that `reconstruct` made (trained further or not), or the path of a .keras file, of a
    SavedModel (outputs only) or of the recorded .tflite file, which is then reconstructed in `numerics` (default:
    `fakequant` if the file is quantized, else `float`; the former and `exact` compute as `profile`, or as the shipped
    one that the recording's facts propose). recording: one, or its folder. thresholds: what passes; the numbers are the
    same. progress: called with (samples done, samples). The metrics' formulas: `comparison.metrics`.

    Raises:
        NoCertificate: the recording's taps changed what they measured, or the model does not repeat itself.
        RunFailed: the recording is not complete.
        UsageError: the model is no reconstruction of the recorded file, or has its numerics already.
    """
    if (numerics or profile) and not (isinstance(model, (str, Path)) and Path(model).suffix == ".tflite"):
        raise UsageError(
            "numerics and profile say how a .tflite file is reconstructed; a model that is one already keeps its own. "
            f"Received: {model if isinstance(model, (str, Path)) else 'a model'} with {numerics or 'a profile'}."
        )
    recording = recording if isinstance(recording, Recording) else Recording.open(recording)
    recording.check_counts()
    source = lift(recording.model_bytes())
    candidate = _candidate(model, source, recording, numerics, profile)
    return compare_candidate(source.main, recording, candidate, thresholds, progress)


def calibrate(recording: Recording | Path | str, model: Any = None, progress: Progress | None = None) -> Calibration:
    """Find the kernel set that a recording was made with, prove it bit for bit, and try corrections of the float model.

    recording: one, or its folder; half of its samples are fitted to, the other half proves. model: a float
    reconstruction to correct, or the path of its .keras file; the file's own if None. progress: called with (done, in
    all, what is under way).

    Raises:
        NoCertificate: the recording's taps changed what they measured, or the model does not repeat itself.
        RunFailed: the recording is not complete.
        UsageError: the recording has but one sample, or `model` is no float reconstruction of its file.
    """
    recording = recording if isinstance(recording, Recording) else Recording.open(recording)
    model = load_model(Path(model)) if isinstance(model, (str, Path)) else model
    return calibrate_recording(recording, model, progress)


def prove(
    board: Board,
    old: str | Path | bytes,
    new: str | Path | bytes,
    inputs: Inputs | Path | str | Arrays | NDArray[Any],
    path: Path | str,
    **settings: Any,
) -> Proof:
    """Run an old .tflite file and a new one on a board, on the same inputs: what they take, give, compute and cost.

    old, new: the path of a file, or its bytes. inputs: what `inputs.read_inputs` takes, or `Inputs`. path: the folder
    of the two recordings. settings: options, runs, progress of `proof.prove`. `passed` of what is returned says
    whether both ran, with certificates, and have one interface; `comparison` how far apart their numbers are.

    Raises:
        UsageError: a file or the inputs cannot be read, or do not fit, or the folder holds something else.
        GateFailed: the new file takes or gives so much else that they cannot be run on the same inputs.
        InvalidModel, ModelRefused, RunFailed, BoardUnreachable: as `Board.capture` does.
    """
    files = {_name(old, "old"): read_model(old), _name(new, "new"): read_model(new)}
    if not isinstance(inputs, Inputs):
        model = lift(read_model(old))
        inputs = read_inputs(inputs, model.main, signatures=model.signatures)
    return prove_files(board, files, inputs, Path(path), **settings)


def _name(model: str | Path | bytes, side: str) -> str:
    """What tables and reports call a file; two of the same name are told apart."""
    return f"{Path(model).name} ({side})" if isinstance(model, (str, Path)) else side


def _candidate(
    model: Any,
    source: Model,
    recording: Recording,
    numerics: Numerics | None,
    profile: KernelProfile | str | Path | None,
) -> Candidate:
    if not isinstance(model, (str, Path)):
        return KerasTwin.match(model, source, getattr(model, "name", "model"))
    path = Path(model)
    if path.suffix == ".tflite":
        data = read_model(path)
        if data != recording.model_bytes():
            raise UsageError(
                f"{path} is not the file of this recording (sha256 {recording.manifest.model_sha256[:12]}...). "
                "`liteback prove OLD NEW` compares two files on the board."
            )
        numerics = numerics or default_numerics(source)
        if numerics != "float" and profile is None:
            profile = propose(recording.manifest)
        return KerasTwin.of(reconstruction(data, numerics, profile=profile), path.name)
    if path.is_dir():
        return OutputsOnly(path, source)
    return KerasTwin.match(load_model(path), source, path.name)


def default_numerics(source: Model) -> Numerics:
    """`fakequant` where the file has quantized activations, else `float`."""
    return "float" if quantization_scheme(source) in ("float32", "float16", "float16 weights", "none") else "fakequant"
