"""The kernels of this machine on the gallery of operators: each computes as its kernel set's profile says."""

from __future__ import annotations

import pytest
from gallery import trials, undecided, wrong

from liteback.numerics.profile import KernelProfile
from liteback.session.board import Board, RunOptions

PROFILES = {"builtin": "tflite_runtime-2.14-builtin-x86_64", "reference": "reference"}


@pytest.mark.slow
@pytest.mark.parametrize("kernels", PROFILES)
def test_every_operator_is_computed_as_its_profile_says(kernels: str, board: Board) -> None:
    options = RunOptions(runtime="tflite_runtime", kernels=kernels)
    found = trials(board, options, KernelProfile.named(PROFILES[kernels]))
    assert wrong(found) == []
    assert undecided(found) == set()
