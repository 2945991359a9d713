"""Gates judge what they name; what cannot be judged never passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host.compare_data import GRAPH, FakeTwin, record
from liteback.comparison.compare import RecordingCandidate, compare
from liteback.comparison.gates import Gate, check_gates, parse_gate
from liteback.comparison.result import Comparison
from liteback.errors import UsageError


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    recording = record(tmp_path_factory.mktemp("gates") / "rec")
    return compare(GRAPH, recording, FakeTwin({2: lambda v: v + np.float32(0.6)}))


@pytest.mark.parametrize("text", ["isolated.lsb_max<=1", " isolated.lsb_max  <= 1.0 ", "isolated.lsb_max<=1e0"])
def test_a_gate_is_read(text: str) -> None:
    assert parse_gate(text) == Gate("isolated", "lsb_max", "<=", 1.0)
    assert str(parse_gate(text)) == "isolated.lsb_max<=1"


@pytest.mark.parametrize(
    "text",
    ["", "lsb_max<=1", "isolated.lsb_max", "isolated.speed<=1", "inner.lsb_max<=1", "isolated.lsb_max=1"]
    + [
        "isolated.lsb_max<=one",
        "isolated.lsb_max<=nan",
        "isolated.lsb_max<=1 2",
        "isolated.lsb_histogram<=1",
    ],
)
def test_a_bad_gate_lists_what_there_is(text: str) -> None:
    with pytest.raises(UsageError, match=r"Received: .*Metrics: .*sqnr_db.*nfr"):
        parse_gate(text)


def failures(comparison: Comparison, *texts: str) -> list[str]:
    return [str(failure) for failure in check_gates([parse_gate(text) for text in texts], comparison)]


def test_a_failure_names_layer_value_and_bound(comparison: Comparison) -> None:
    assert failures(comparison, "isolated.lsb_max<=1") == ["conv2d_001: lsb_max is 3; the gate is isolated.lsb_max<=1"]
    assert failures(comparison, "isolated.lsb_max<=3", "output.sqnr_db>=15") == []


@pytest.mark.parametrize(
    ("operator", "accepted"),
    [("<=", [2, 3]), (">=", [3, 4]), ("<", [2]), (">", [4]), ("==", [3])],
)
def test_every_operator(operator: str, accepted: list[int]) -> None:
    gate = parse_gate(f"cumulative.lsb_max{operator}3")
    assert [value for value in (2, 3, 4) if gate.accepts(value)] == accepted


@pytest.mark.parametrize("operator", ["<=", ">=", "<", ">", "=="])
def test_nan_passes_no_gate(operator: str) -> None:
    assert not parse_gate(f"output.sqnr_db{operator}1").accepts(float("nan"))


def test_a_layer_that_could_not_be_measured_fails_every_gate(tmp_path: Path) -> None:
    recording = record(tmp_path / "rec")
    comparison = compare(GRAPH, recording, FakeTwin({2: lambda v: v[None]}))
    (failure,) = failures(comparison, "isolated.lsb_max<=100")
    assert "conv2d_001 (cumulative: shape (1, 1, 4, 10) against" in failure
    comparison = compare(GRAPH, recording, FakeTwin({4: lambda v: v[0]}))
    (failure,) = failures(comparison, "output.sqnr_db>=-1000")
    assert failure.startswith("output t4")


@pytest.mark.parametrize("text", ["isolated.lsb_max<=1", "output.nfr<=1"])
def test_a_gate_that_judges_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    """A recording computes nothing in isolation; the output is float."""
    recording = record(tmp_path / "rec")
    comparison = compare(GRAPH, recording, RecordingCandidate(recording))
    with pytest.raises(UsageError, match="judges at least one number"):
        failures(comparison, text)


def test_no_gates_no_failures(comparison: Comparison) -> None:
    assert failures(comparison) == []
