"""Recordings of one model on several boards: which have the same bits, and where two part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.errors import UsageError
from liteback.ir import Graph
from liteback.lift import lift
from liteback.recording import Recording


@dataclass(frozen=True)
class Pair:
    """Two boards. tensors: how many both recorded; equal: how many of these have the same bits on every sample.

    first: the first tensor, in the order of execution, that differs, by its label; None where none does. differing and
    elements: how many of that tensor's elements differ, over all samples, of how many.
    """

    a: str
    b: str
    tensors: int
    equal: int
    first: str | None
    differing: int
    elements: int

    def to_json(self) -> dict[str, Any]:
        return {"boards": [self.a, self.b], **{k: v for k, v in vars(self).items() if k not in ("a", "b")}}


@dataclass(frozen=True)
class Agreement:
    """All pairs of boards."""

    boards: tuple[str, ...]
    samples: int
    pairs: tuple[Pair, ...]

    @property
    def bit_equal(self) -> bool:
        return all(pair.first is None for pair in self.pairs)

    def to_json(self) -> dict[str, Any]:
        pairs = [pair.to_json() for pair in self.pairs]
        return {"boards": list(self.boards), "samples": self.samples, "pairs": pairs, "bit_equal": self.bit_equal}


def is_recording(path: Path) -> bool:
    """Whether a recording lies at a path, complete or not."""
    return (path / "manifest.json").is_file()


def recordings_in(path: Path) -> list[Path]:
    """The path if it is a recording, else the recordings in it, as the session of a group leaves them."""
    if is_recording(path):
        return [path]
    return sorted(filter(is_recording, path.iterdir())) if path.is_dir() else []


def agreement(paths: Sequence[Path]) -> Agreement:
    """Compare recordings pair by pair, bit for bit.

    Raises:
        UsageError: fewer than two, or recordings of different models or inputs.
        NoCertificate, RunFailed: one has no good certificate, or is not complete.
    """
    recordings = [Recording.open(path) for path in paths]
    if len(recordings) < 2:
        raise UsageError(f"Boards are compared by two or more recordings. Received: {', '.join(map(str, paths))}.")
    first = recordings[0]
    for recording in recordings:
        _comparable(first, recording)
    graph = lift(first.model_bytes()).main
    names = _names(recordings)
    pairs = tuple(_pair(graph, a, b) for a, b in combinations(zip(names, recordings, strict=True), 2))
    return Agreement(names, first.sample_count, pairs)


def _comparable(first: Recording, other: Recording) -> None:
    other.check_counts()
    if other.manifest.model_sha256 != first.manifest.model_sha256:
        raise UsageError(f"Boards are compared on one model. {other.path} is of another than {first.path}.")
    same = other.sample_count == first.sample_count and all(
        _equal(first.inputs(i), other.inputs(i)) for i in range(first.sample_count)
    )
    if not same:
        raise UsageError(f"Boards are compared on the same inputs. {other.path} has others than {first.path}.")


def _pair(graph: Graph, one: tuple[str, Recording], other: tuple[str, Recording]) -> Pair:
    (a, first), (b, second) = one, other
    counts: dict[int, tuple[int, int]] = {}  # tensor -> elements that differ, elements
    for sample in range(first.sample_count):
        ours, theirs = first.tensors(sample), second.tensors(sample)
        for tensor in ours.keys() & theirs.keys() - set(graph.inputs):
            before = counts.get(tensor, (0, 0))
            counts[tensor] = (before[0] + _differing(ours[tensor], theirs[tensor]), before[1] + ours[tensor].size)
    if not counts:
        raise UsageError(f"Two recordings share a tensor. {first.path} and {second.path} share none.")
    order = [t for node in graph.nodes for t in node.outputs if t in counts]
    parting = next((t for t in order if counts[t][0]), None)
    differing, elements = counts[parting] if parting is not None else (0, 0)
    equal = sum(not count for count, _ in counts.values())
    label = None if parting is None else graph.label(parting)
    return Pair(a, b, len(counts), equal, label, differing, elements)


def _differing(a: NDArray[Any], b: NDArray[Any]) -> int:
    """Elements whose bits differ: NaN equals the same NaN, -0 does not equal 0."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return max(a.size, 1)
    if a.dtype == object:
        return int(np.sum(a != b))
    width = a.dtype.itemsize
    bits = [np.ascontiguousarray(x).reshape(-1).view(np.uint8).reshape(-1, width) for x in (a, b)]
    return int(np.any(bits[0] != bits[1], axis=1).sum())


def _equal(a: dict[int, NDArray[Any]], b: dict[int, NDArray[Any]]) -> bool:
    return a.keys() == b.keys() and not any(_differing(a[i], b[i]) for i in a)


def _names(recordings: Sequence[Recording]) -> tuple[str, ...]:
    """The folders' own names where these tell them apart, else their paths."""
    names = tuple(recording.path.name for recording in recordings)
    return names if len(set(names)) == len(names) else tuple(str(recording.path) for recording in recordings)
