"""The kernels of this machine on the gallery of operators: each computes as its kernel set's profile says."""

from __future__ import annotations

import pytest
from gallery import hybrid_transposed, trials, undecided, wrong

from liteback.numerics.profile import KernelProfile
from liteback.session.board import Board, RunOptions

PROFILES = {
    ("tflite_runtime", "builtin"): "tflite_runtime-2.14-builtin-x86_64",
    ("tflite_runtime", "reference"): "reference",
    ("ai_edge_litert", "builtin"): "ai_edge_litert-2.3-builtin-x86_64",
}
# Of which no profile tells: LiteRT 2.3 reads a bias of 32 bits as one of 64.
UNDEFINED = {"ai_edge_litert": ["CONV_2D/int16"]}
# The gallery's sums are too small to tell 64 bits from 32.
TOO_SMALL = {"ai_edge_litert": {"TRANSPOSE_CONV/int16"}}


@pytest.mark.slow
@pytest.mark.parametrize(("runtime", "kernels"), PROFILES)
def test_every_operator_is_computed_as_its_profile_says(runtime: str, kernels: str, board: Board) -> None:
    options = RunOptions(runtime=runtime, kernels=kernels)
    found = trials(board, options, KernelProfile.named(PROFILES[runtime, kernels]))
    assert [trial.kind for trial in wrong(found)] == UNDEFINED.get(runtime, [])
    assert undecided(found) == TOO_SMALL.get(runtime, set())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernels", "profile"), {"builtin": "builtin", "reference": "builtin", "default": "xnnpack"}.items()
)
def test_hybrid_transposed_convolutions_are_litert_s(kernels: str, profile: str, board: Board) -> None:
    options = RunOptions(runtime="ai_edge_litert", kernels=kernels)
    named = KernelProfile.named(f"ai_edge_litert-2.3-{profile}-x86_64")
    assert wrong(trials(board, options, named, list(hybrid_transposed()))) == []
