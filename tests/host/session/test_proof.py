"""Two files on the board, side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import liteback
import tflite_build as build
from liteback.errors import GateFailed
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.proof import prove
from liteback.session.board import Board


def absolute(x: int) -> bytes:
    """y = |x|, with x at this index of the file's tensors and y at the other."""
    tensors = [build.Tensor([1, 4], name=name) for name in ("xy" if x == 0 else "yx")]
    return build.build_model(build.Subgraph(tensors, [build.Op("ABS", [x], [1 - x])], [x], [1 - x]))


def test_a_file_that_numbers_its_tensors_otherwise(board: Board, tmp_path: Path) -> None:
    """As one that was converted anew: inputs and outputs are paired by their place in the interface."""
    old, new = absolute(0), absolute(1)
    proof = prove(board, {"old": old, "new": new}, random_inputs(lift(old).main, 2, 0), tmp_path, runs=2)
    assert proof.passed
    assert proof.to_json()["identical"]


def test_a_file_of_another_interface_does_not_pass(board: Board, tmp_path: Path) -> None:
    """As where a gate fails: the command was right, the new file is not."""
    tensors = [build.Tensor([1, 4]), build.Tensor([1, 5]), build.Tensor([1, 4])]
    wider = build.build_model(build.Subgraph(tensors, [build.Op("ABS", [0], [2])], [1, 0], [2]))
    old = absolute(0)
    with pytest.raises(GateFailed) as failed:
        prove(board, {"old": old, "new": wider}, random_inputs(lift(old).main, 1, 0), tmp_path)
    assert failed.value.exit_code == 1
    assert "  - 1 input became 2\n  - input 0: float32 [1, 4] became float32 [1, 5]\nSo nothing" in str(failed.value)
    assert not list(tmp_path.iterdir())


def test_from_python_files_and_arrays_are_given_as_they_are(board: Board, tmp_path: Path) -> None:
    old, samples = tmp_path / "model.tflite", np.ones([3, 4], np.float32)
    old.write_bytes(absolute(0))
    proof = liteback.prove(board, old, absolute(1), samples, tmp_path / "proof", runs=2)
    assert proof.passed
    assert (proof.old.name, proof.new.name, proof.comparison.samples) == ("model.tflite (old)", "new", 3)
    assert repr(proof) == "<Proof passed: model.tflite (old) and new, 3 samples>"
    same_name = liteback.prove(board, old, old, {"in_0": samples}, tmp_path / "again", runs=2)
    assert (same_name.old.name, same_name.new.name) == ("model.tflite (old)", "model.tflite (new)")
