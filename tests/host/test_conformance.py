"""Every single-op case that is here, in the numerics of its quantization, against TensorFlow Lite's own results.

What cannot agree is listed with its reason in conformance_gaps.json; a listed case that agrees fails, so that the
list stays honest.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conformance import Case, cases, check

from absent import absent

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[3] / "shared" / "conformance"
GAPS: dict[str, str] = json.loads((Path(__file__).parent / "conformance_gaps.json").read_text())
CASES = list(cases(FOLDER)) if FOLDER.is_dir() else []


def test_the_cases_are_here() -> None:
    if not CASES:
        absent(f"the conformance cases are not here: {FOLDER}")
    assert GAPS.keys() <= {case.name for case in CASES}


@pytest.mark.filterwarnings("ignore:You are using a softmax")  # over one element: some cases do
@pytest.mark.filterwarnings("ignore:Exception encountered when calling Softmax")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_agrees(case: Case) -> None:
    verdict = check(case)
    if case.name in GAPS:
        assert not verdict.ok, f"{case.name} agrees by now: take it off the list ({GAPS[case.name]})"
    else:
        assert verdict.ok, verdict.reason
