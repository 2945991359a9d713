"""Two files on the board, side by side."""

from __future__ import annotations

from pathlib import Path

import tflite_build as build
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.prove import prove
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
