"""Recording -> the kernel profile it was made with, the exact twin's proof, and corrections of the float model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from liteback.calibration.corrections import Corrections, correct
from liteback.calibration.kernel_set import KernelSet, find_kernel_set
from liteback.comparison.compare import compare
from liteback.comparison.result import Comparison, Mode
from liteback.emit.build import emit
from liteback.emit.emission import numerics_of
from liteback.errors import UnsupportedModel, UsageError
from liteback.ir import Model
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose, shipped
from liteback.passes import simplify
from liteback.recording import Recording
from liteback.twin import KerasTwin
from liteback.words import counted

Progress = Callable[[int, int, str], None]  # done, in all, what is under way


@dataclass(frozen=True)
class Calibration:
    """What a recording says.

    fit, held_out: the samples that were fitted to, and those that prove it. twin: the exact model chained over the
    held-out samples; None where it cannot be built, for the reasons in `refusals`.
    """

    kernel_set: KernelSet
    fit: tuple[int, ...]
    held_out: tuple[int, ...]
    twin: Comparison | None
    refusals: tuple[str, ...]
    corrections: Corrections

    def __repr__(self) -> str:
        return f"<Calibration: kernel set {self.profile.name}. {self.proof}>"

    @property
    def profile(self) -> KernelProfile:
        return self.kernel_set.profile

    @property
    def exact_share(self) -> float | None:
        """Of the elements of all quantized tensors, chained over the held-out samples: those with the device's code."""
        return self._share("cumulative")

    @property
    def isolated_share(self) -> float | None:
        """The same, each layer fed the device's own inputs."""
        return self._share("isolated")

    @property
    def hybrid_share(self) -> float | None:
        """Of the real values of the hybrid layers, each fed the device's own inputs: those with the device's bits."""
        hybrid = {f.node for f in self.kernel_set.fits}
        rows = self.twin.rows if self.twin else ()
        found = [row.isolated for row in rows if row.node in hybrid and row.isolated is not None]
        return _same([(m.elements, m.differ) for m in found if m.lsb_differ is None])

    @property
    def exact(self) -> bool:
        """Whether the twin has the board's bits in everything that can have them."""
        shares = [share for share in (self.exact_share, self.hybrid_share) if share is not None]
        return bool(shares) and all(share == 1 for share in shares)

    @property
    def provable(self) -> bool:
        """Whether anything can have the board's bits: a file of float kernels alone has nothing that does."""
        return self.twin is None or self.exact_share is not None or self.hybrid_share is not None

    @property
    def proof(self) -> str:
        """What the exact twin proves, in a sentence."""
        if self.twin is None:
            return f"The exact twin cannot be built: {'; '.join(self.refusals)}."
        if not self.provable:
            return "No tensor of the file is quantized: float kernels have no codes to be equal in."
        found = []
        if self.exact_share is not None:
            by_layer = f"end to end, and {_percent(self.isolated_share)} layer by layer"
            found.append(f"{_percent(self.exact_share)} of all codes as the board does, {by_layer}")
        if self.hybrid_share is not None:
            from_board = "each from the board's own inputs"
            found.append(f"{_percent(self.hybrid_share)} of the hybrid layers' values as the board does, {from_board}")
        unmatched = ", ".join(f"{f.node} ({f.kind})" for f in self.kernel_set.unmatched)
        missing = f"; no known kernel reproduces {unmatched}" if unmatched else ""
        between = "What lies between hybrid layers is computed in float32, where kernels differ in the last bits."
        return (
            f"On {counted(len(self.held_out), 'held-out sample')}, the exact twin computes {'; '.join(found)}{missing}."
            f"{'' if self.hybrid_share is None else f' {between}'}"
        )

    def _share(self, mode: Mode) -> float | None:
        found = [m for row in (self.twin.rows if self.twin else ()) if (m := row.metrics(mode))]
        return _same([(m.elements, m.lsb_differ) for m in found if m.lsb_differ is not None])

    def to_json(self) -> dict[str, Any]:
        """What calibration.json holds."""
        return {
            "profile": self.profile.to_json(),
            "alike": list(self.kernel_set.alike),
            "fit": list(self.fit),
            "held_out": list(self.held_out),
            "exact_share": self.exact_share,
            "isolated_share": self.isolated_share,
            "hybrid_share": self.hybrid_share,
            "refusals": list(self.refusals),
            "tensors": [
                {"node": r.node, "tensor": r.tensor.index, "exact": 1 - d, "chained": 1 - c}
                for r in (self.twin.rows if self.twin else ())
                if (d := r.value("isolated", "lsb_differ")) is not None
                and (c := r.value("cumulative", "lsb_differ")) is not None
            ],
            "nodes": [f.to_json() for f in self.kernel_set.fits],
            "unmatched": [
                {"node": f.node, "kind": f.kind, "nearest": f.nearest, "reason": f.reason}
                | {"elements": f.elements, "histogram": dict(f.histogram)}
                for f in self.kernel_set.unmatched
            ],
            "corrections": [layer.to_json() for layer in self.corrections.layers if layer.steps or layer.ranges],
            "corrections_kept": [layer.node for layer in self.corrections.kept],
            "corrections_outputs_db": self.corrections.outputs and self.corrections.outputs.gain,
            "corrections_reason": self.corrections.reason,
        }


def _same(differing: Sequence[tuple[int, float]]) -> float | None:
    """(elements, the share of them that differ) of each layer -> the share of all that are the same."""
    elements = sum(count for count, _ in differing)
    return 1 - sum(count * share for count, share in differing) / elements if elements else None


def _percent(share: float | None) -> str:
    """100 % only where nothing is missing."""
    return "no share" if share is None else "100 %" if share == 1 else f"{min(100 * share, 99.999999):.6f} %"


def calibrate(recording: Recording, model: Any = None, progress: Progress | None = None) -> Calibration:
    """Find out how the board computed, prove it, and see whether the float model can be brought nearer.

    Half of the recording's samples, every other one, are fitted to; the other half is held out. model: a float
    reconstruction to correct; the file's own if None.

    Raises:
        NoCertificate: the recording's taps changed what they measured.
        RunFailed: the recording is not complete.
        UsageError: the recording has but one sample, or `model` is no float reconstruction of its file.
    """
    if model is not None and (numerics := numerics_of(model)) != "float":
        raise UsageError(f"Corrections are for a float reconstruction. Received: one in {numerics}; leave it out.")
    recording.check_counts()
    if recording.sample_count < 2:
        raise UsageError(
            f"A calibration fits to some samples and proves it on others: it needs two. Received: {recording.path} "
            "with one. Capture more."
        )
    samples = range(recording.sample_count)
    fit, held_out = tuple(samples[::2]), tuple(samples[1::2])
    source = lift(recording.model_bytes())
    found = find_kernel_set(
        simplify(source.main, codes=True), recording, fit, _proposals(recording), _stage(progress, "kernel set")
    )
    found = replace(found, profile=_named(found.profile, recording))
    twin, refusals = _twin(source, recording, found.profile, held_out, _stage(progress, "exact twin"))
    corrections = correct(source, recording, fit, held_out, model, _stage(progress, "corrections"))
    return Calibration(found, fit, held_out, twin, refusals, corrections)


def _proposals(recording: Recording) -> list[KernelProfile]:
    """All shipped profiles, the likeliest first: that of the recording's facts, then those of an agent's default."""
    first = propose(recording.manifest)
    others = sorted(shipped().values(), key=lambda p: p.runtime != "tflite_runtime")
    return [first, *(p for p in others if p != first)]


def _named(profile: KernelProfile, recording: Recording) -> KernelProfile:
    """A profile that no one ships says where it was found."""
    if profile in shipped().values():
        return profile
    manifest = recording.manifest
    machine = str(manifest.board.get("machine", ""))
    return replace(
        profile,
        name=f"{manifest.runtime}-{manifest.runtime_version}-{manifest.kernels}-{machine}-calibrated",
        runtime=manifest.runtime,
        version=manifest.runtime_version,
        machine=machine,
        kernels=manifest.kernels,
        delegate=manifest.delegate or "none",
    )


def _twin(
    source: Model, recording: Recording, profile: KernelProfile, held_out: Sequence[int], progress: Any
) -> tuple[Comparison | None, tuple[str, ...]]:
    try:
        emission = emit(source, "exact", profile=profile)
    except UnsupportedModel as error:
        return None, tuple(str(p) for p in error.problems)
    twin = KerasTwin.of(emission, f"exact twin ({profile.name})")
    return compare(source.main, recording, twin, progress=progress, samples=held_out), ()


def _stage(progress: Progress | None, text: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(done, total, text)
