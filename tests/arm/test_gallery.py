"""The aarch64 wheel's kernels on the gallery of operators: each computes as its kernel set's profile says."""

from __future__ import annotations

import pytest
from gallery import trials, undecided, wrong

from liteback.numerics.profile import KernelProfile
from liteback.session.board import Board, RunOptions


@pytest.mark.aarch64
@pytest.mark.slow
@pytest.mark.parametrize("kernels", ["builtin", "reference"])
def test_every_operator_is_computed_as_its_profile_says(kernels: str, arm_board: Board) -> None:
    options = RunOptions(runtime="tflite_runtime", kernels=kernels)
    found = trials(arm_board, options, KernelProfile.named(f"tflite_runtime-2.14-{kernels}-aarch64"))
    assert wrong(found) == []
    assert undecided(found) == set()
