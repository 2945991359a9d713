"""Boards beside each other: real recordings of one model, some with bits changed on purpose."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import small_models
from liteback.comparison.agreement import agreement, recordings_in
from liteback.errors import NoCertificate, UsageError
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.recording import Recording, RecordingWriter
from liteback.session.board import Board, RunOptions

MODEL = small_models.chain(4)


def record(board: Board, path: Path, seed: int = 0, model: bytes = MODEL, kernels: str = "default") -> Path:
    inputs = random_inputs(lift(model).main, 3, seed)
    board.capture(model, inputs, path, options=RunOptions(kernels=kernels))
    return path


@pytest.fixture
def two(board: Board, tmp_path: Path) -> Path:
    """A folder of two recordings."""
    record(board, tmp_path / "pair" / "one")
    record(board, tmp_path / "pair" / "other", kernels="reference")
    return tmp_path / "pair"


def altered(source: Path, target: Path, tensor: int) -> Path:
    """The same recording, with the lowest bit of one element of a tensor changed in sample 1."""
    old = Recording.open(source)
    assert old.manifest.certificate is not None
    fresh = old.manifest.__class__.from_json(
        {**old.manifest.to_json(), "certificate": None, "files": {}, "invoke_ns": {}}
    )
    writer = RecordingWriter.create(target, old.model_bytes(), fresh)
    for sample in range(old.sample_count):
        writer.write_inputs(sample, old.inputs(sample))
        writer.write(sample, -1, old.plain(sample), 1)
        tensors = {t: old.tensors(sample)[t].copy() for t in old.manifest.passes[0]}
        if sample == 1:
            tensors[tensor].reshape(-1).view(np.uint8)[0] ^= 1
        writer.write(sample, 0, tensors, 1)
    writer.finish(old.manifest.certificate)
    return target


def test_the_same_bits(two: Path) -> None:
    found = agreement(recordings_in(two))
    (pair,) = found.pairs
    assert (found.boards, found.samples, found.bit_equal) == (("one", "other"), 3, True)
    assert (pair.tensors, pair.equal, pair.first) == (4, 4, None)


def test_where_two_boards_part(two: Path) -> None:
    graph = lift(MODEL).main
    third = graph.nodes[2].outputs[0]
    altered(two / "one", two / "third", third)
    found = agreement(recordings_in(two))
    by_boards = {(pair.a, pair.b): pair for pair in found.pairs}
    assert not found.bit_equal
    assert by_boards["one", "other"].first is None
    for pair in (by_boards["one", "third"], by_boards["other", "third"]):
        assert (pair.equal, pair.tensors, pair.first) == (3, 4, graph.label(third))
        assert (pair.differing, pair.elements) == (1, 3 * int(np.prod(graph.tensors[third].shape)))
    assert found.to_json()["pairs"][1]["boards"] == ["one", "third"]


def test_what_cannot_be_compared(board: Board, two: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two or more recordings"):
        agreement([two / "one"])
    with pytest.raises(UsageError, match="same inputs"):
        agreement([two / "one", record(board, tmp_path / "inputs", seed=1)])
    with pytest.raises(UsageError, match="on one model"):
        agreement([two / "one", record(board, tmp_path / "model", model=small_models.chain(5))])
    shutil.copytree(two / "one", tmp_path / "cut")
    manifest = tmp_path / "cut" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"deterministic": true', '"deterministic": false'))
    with pytest.raises(NoCertificate):
        agreement([two / "one", tmp_path / "cut"])
    assert recordings_in(tmp_path / "nothing") == []
