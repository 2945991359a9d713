"""An old file and a new one, both run on the board on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from liteback.comparison.compare import RecordingCandidate, compare
from liteback.comparison.result import Comparison, Row
from liteback.errors import GateFailed
from liteback.inputs import Inputs
from liteback.ir import Graph, Model
from liteback.lift import lift
from liteback.recording import Recording
from liteback.session.board import Board, RunOptions
from liteback.session.capture import Progress, capture
from liteback.words import counted

DEFAULT_OPTIONS = RunOptions()
PERCENTILES = (50, 90, 99)


@dataclass(frozen=True)
class Side:
    """One of the two files. latency_ns: the times of invoke() alone, untapped."""

    name: str
    size: int
    recording: Recording
    latency_ns: tuple[int, ...]

    @property
    def percentiles(self) -> dict[str, float]:
        """Milliseconds."""
        return {f"p{p}_ms": round(float(np.percentile(self.latency_ns, p)) / 1e6, 4) for p in PERCENTILES}


@dataclass(frozen=True)
class Proof:
    """Old and new, side by side. comparison: the new file's tensors against the old one's, on the board."""

    old: Side
    new: Side
    comparison: Comparison
    interface: tuple[str, ...]  # how inputs and outputs differ; empty: they do not

    def __repr__(self) -> str:
        verdict = "passed" if self.passed else "not passed"
        return f"<Proof {verdict}: {self.old.name} and {self.new.name}, {counted(self.comparison.samples, 'sample')}>"

    @property
    def certified(self) -> bool:
        certificates = [side.recording.manifest.certificate for side in (self.old, self.new)]
        return all(c is not None and c.good for c in certificates)

    @property
    def passed(self) -> bool:
        """The new file runs where the old one ran, takes and gives the same, and what was measured counts."""
        return self.certified and not self.interface

    def to_json(self) -> dict[str, Any]:
        """What `liteback prove --json` prints, but for the gates."""
        compared = self.comparison.to_json()
        return {
            "outputs": compared["outputs"],
            "layers": compared["layers"],
            "latency": {"old": self.old.percentiles, "new": self.new.percentiles},
            "size": {"old": self.old.size, "new": self.new.size},
            "interface": list(self.interface),
            "certificates": {
                name: side.recording.manifest.certificate and side.recording.manifest.certificate.to_json()
                for name, side in (("old", self.old), ("new", self.new))
            },
            "identical": all(_equal(row) for row in self.comparison.rows),
            "passed": self.passed,
        }


def prove(
    board: Board,
    files: Mapping[str, bytes],
    inputs: Inputs,
    folder: Path,
    options: RunOptions = DEFAULT_OPTIONS,
    *,
    runs: int = 30,
    old: Recording | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Run two files, old and new in that order, on the board and compare what they compute.

    files: name -> bytes. folder: where the recordings go. old: a recording of the old file on these inputs, if there
    is one already. runs: how often each is timed.

    Raises:
        GateFailed: the new file takes or gives so much else that they cannot be run on the same inputs.
        InvalidModel, ModelRefused, RunFailed, BoardUnreachable: see `capture`.
    """
    (old_name, old_data), (new_name, new_data) = files.items()
    old_model, new_model = lift(old_data), lift(new_data)
    tensors = _matching(old_model.main, new_model.main)
    new_inputs = _renumbered(inputs, old_model.main, new_model.main)
    old_recording = old or capture(board, old_model, old_data, inputs, folder / "old", options, progress=progress)
    new_recording = capture(board, new_model, new_data, new_inputs, folder / "new", options, progress=progress)

    def side(name: str, data: bytes, recording: Recording, samples: Inputs) -> Side:
        return Side(name, len(data), recording, board.persist(partial(_latency, board, data, samples, options, runs)))

    return Proof(
        side(old_name, old_data, old_recording, inputs),
        side(new_name, new_data, new_recording, new_inputs),
        compare(old_model.main, old_recording, RecordingCandidate(new_recording, new_model.main, tensors)),
        tuple(_interface(old_model, new_model)),
    )


def other_interface(changes: Sequence[str], remedy: str = "") -> GateFailed:
    """The error of a new file that a program which uses the old one would notice."""
    listed = "".join(f"\n  - {change}" for change in changes)
    return GateFailed(f"The new file does not take and give what the old one did:{listed}{remedy}")


def _renumbered(inputs: Inputs, old: Graph, new: Graph) -> Inputs:
    """Samples of the old file's inputs as the new file's: a tensor's number is its own in each file."""
    places = dict(zip(old.inputs, new.inputs, strict=True))
    return replace(inputs, load=lambda sample: {places[t]: value for t, value in inputs[sample].items()})


def _latency(board: Board, data: bytes, samples: Inputs, options: RunOptions, runs: int) -> tuple[int, ...]:
    return tuple(board.benchmark(board.put_model(data), dict(samples[0]), options, runs=runs))


def _matching(old: Graph, new: Graph) -> dict[int, int]:
    """Old tensor -> new tensor, where the two graphs have the same operators in the same order.

    Where they have not, their inputs and outputs alone.

    Raises:
        GateFailed: not even these are as many, or the inputs are of another type or shape: nothing can be run on both.
    """
    found = [
        f"{counted(len(ours), what)} became {len(theirs)}"
        for what, ours, theirs in (("input", old.inputs, new.inputs), ("output", old.outputs, new.outputs))
        if len(ours) != len(theirs)
    ]
    for k, (a, b) in enumerate(zip(old.inputs, new.inputs, strict=False)):
        x, y = old.tensors[a], new.tensors[b]
        if (x.dtype, x.shape) != (y.dtype, y.shape):
            found.append(f"input {k}: {x.dtype} {list(x.shape)} became {y.dtype} {list(y.shape)}")
    if found:
        raise other_interface(
            found, "\nSo nothing was run. Give a new file that takes and gives as many tensors of the same kind."
        )
    pairs = [*zip(old.inputs, new.inputs, strict=True), *zip(old.outputs, new.outputs, strict=True)]
    if [n.op for n in old.nodes] == [n.op for n in new.nodes]:
        pairs += [p for a, b in zip(old.nodes, new.nodes, strict=True) for p in zip(a.outputs, b.outputs, strict=False)]
    return dict(pairs)


def _interface(old: Model, new: Model) -> Sequence[str]:
    """What a program that uses the old file would notice."""
    found = []
    for what, ours, theirs in (
        ("input", old.main.inputs, new.main.inputs),
        ("output", old.main.outputs, new.main.outputs),
    ):
        for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            x, y = old.main.tensors[a], new.main.tensors[b]
            for field, p, q in (
                ("type", x.dtype, y.dtype),
                ("shape", x.shape_signature, y.shape_signature),
                ("name", x.name, y.name),
                ("scale", _grid(old.main, a), _grid(new.main, b)),
            ):
                if p != q:
                    found.append(f"{what} {k}: {field} {p} became {q}")
    if [s.key for s in old.signatures] != [s.key for s in new.signatures]:
        found.append(f"signatures {[s.key for s in old.signatures]} became {[s.key for s in new.signatures]}")
    return found


def _grid(graph: Graph, index: int) -> tuple[float, int] | None:
    quantization = graph.tensors[index].quantization
    return (float(quantization.scale[0]), int(quantization.zero_point[0])) if quantization is not None else None


def _equal(row: Row) -> bool:
    return row.cumulative is not None and row.cumulative.max_abs == 0.0
