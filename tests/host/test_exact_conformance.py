"""Every quantized single-op case in exact numerics, against the kernel sets that run on this machine: bit for bit.

What cannot be the same is listed, by kernel set, with its reason in exact_conformance_gaps.json; a listed case whose
bits are the same fails, so that the list stays honest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conformance import Case
from exact_conformance import KERNEL_SETS, check_exact, exact_cases

from absent import absent
from liteback.session.board import Board

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[3] / "shared" / "conformance"
GAPS: dict[str, dict[str, str]] = json.loads((Path(__file__).parent / "exact_conformance_gaps.json").read_text())
CASES = list(exact_cases(FOLDER)) if FOLDER.is_dir() else []


def test_the_cases_are_here() -> None:
    if not CASES:
        absent(f"the conformance cases are not here: {FOLDER}")
    assert GAPS.keys() <= KERNEL_SETS.keys()
    assert {name for gaps in GAPS.values() for name in gaps} <= {case.name for case in CASES}


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_bit_is_the_kernels(case: Case, kernels: str, board: Board) -> None:
    verdict = check_exact(case, board, KERNEL_SETS[kernels])
    reason = GAPS.get(kernels, {}).get(case.name)
    if verdict is None:
        pytest.skip(f"{kernels} does not run it")
    if reason is not None:
        assert not verdict.ok, f"{case.name} is the same by now: take it off the list ({reason})"
    else:
        assert verdict.ok, verdict.reason
