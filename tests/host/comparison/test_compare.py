"""Faults put into a known candidate are found where they were put, and nowhere else."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from host.compare_data import GRAPH, FakeTwin, Fault, a_tensor, record
from liteback.comparison.compare import RecordingCandidate, compare, drifting, rounding
from liteback.comparison.result import Comparison, Row, Thresholds, drifted
from liteback.errors import UsageError
from liteback.ir import Graph, Node
from liteback.recording import Certificate, Recording, RecordingWriter
from liteback.roundtrip import summary


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("compare") / "rec")


def test_a_faithful_twin_passes(recording: Recording) -> None:
    progress: list[tuple[int, int]] = []
    comparison = compare(GRAPH, recording, FakeTwin(), progress=lambda *done: progress.append(done))
    assert comparison.passed
    assert comparison.first_fault is None
    assert comparison.isolated_faults == ()
    assert comparison.samples == 2
    assert [row.node for row in comparison.rows] == ["relu_000", "conv2d_001", "add_002", "dequantize_003"]
    assert [output.tensor.index for output in comparison.outputs] == [4]
    assert comparison.rows[1].isolated.lsb_max == 0
    assert comparison.rows[1].isolated.elements == 80
    assert progress == [(1, 2), (2, 2)]


FAULTS: dict[str, Fault] = {
    "a swapped channel": lambda v: v[..., [1, 0, *range(2, 10)]],
    "a bias of three steps": lambda v: v + np.float32(0.6),
    "NaN": lambda v: np.where(np.arange(10) == 3, np.float32(np.nan), v),
    "infinity": lambda v: np.where(np.arange(10) == 3, np.float32(np.inf), v),
    "zeros": np.zeros_like,
    "another shape": lambda v: v.reshape(4, 10),
    "codes of another type": lambda v: v.astype(np.int32),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_first_fault_is_where_it_was_put(recording: Recording, fault: Fault) -> None:
    comparison = compare(GRAPH, recording, FakeTwin({2: fault}))
    assert not comparison.passed
    assert comparison.first_fault is not None
    assert comparison.first_fault.node == "conv2d_001"
    assert [row.node for row in comparison.isolated_faults] == ["conv2d_001"]


def test_a_float_tensor_drifts_with_the_codes_it_is_computed_from(recording: Recording) -> None:
    """The output's last bits are not the twin's: the device rounded to codes on the way, the twin did not."""
    output = compare(GRAPH, recording, FakeTwin()).outputs[0]
    assert output.metrics.max_abs_over_range > Thresholds().float_cumulative
    assert output.passed
    strict = compare(GRAPH, recording, FakeTwin(), Thresholds(sqnr_cumulative=200))
    assert not strict.outputs[0].passed


def test_what_a_hybrid_kernel_computes_drifts_too() -> None:
    weights = replace(a_tensor(1, "int8", 0.5), data=np.ones((10, 10), np.int8))
    tensors = (a_tensor(0, "float32"), weights, *(a_tensor(i, "float32") for i in (2, 3, 4)))
    dense, after = Node(0, "FULLY_CONNECTED", (0, 1), (2,)), Node(1, "RELU", (2,), (3,))
    hybrid = Graph(0, "hybrid", tensors, (dense, after), (0,), (3,))
    assert drifting(hybrid) == {2, 3}
    weights_only = (Node(0, "DEQUANTIZE", (1,), (4,)), replace(dense, inputs=(0, 4)), after)
    assert drifting(replace(hybrid, nodes=weights_only)) == set()


def test_a_fault_spreads_cumulatively_and_not_in_isolation(recording: Recording) -> None:
    class Spreading(FakeTwin):
        def cumulative(self, inputs: dict) -> dict:
            values = super().cumulative(inputs)
            return {t: value + np.float32(8) * (t >= 2) for t, value in values.items()}

    comparison = compare(GRAPH, recording, Spreading({2: lambda v: v + 1}))
    assert [row.passed["cumulative"] for row in comparison.rows] == [True, False, False, False]
    assert [row.passed["isolated"] for row in comparison.rows] == [True, False, True, True]
    assert comparison.first_fault.node == "conv2d_001"
    assert comparison.worst()[0].node == "conv2d_001"
    assert comparison.worst("isolated", "lsb_max")[0].isolated.lsb_max == 5


def test_what_adds_up_behind_layers_that_are_right_is_drift(recording: Recording) -> None:
    class Drifting(FakeTwin):
        def cumulative(self, inputs: dict) -> dict:
            values = super().cumulative(inputs)
            return {t: value + np.float32(0.3) * t * (t >= 2) for t, value in values.items()}

    comparison = compare(GRAPH, recording, Drifting())
    assert not comparison.passed
    assert comparison.agrees
    assert comparison.first_fault is None
    assert [row.drift for row in comparison.rows] == [not row.passed["cumulative"] for row in comparison.rows]
    assert [row.drift for row in comparison.rows][-1]
    faulty = compare(GRAPH, recording, Drifting({1: lambda v: v + 5}))
    assert not any(row.drift for row in faulty.rows)
    assert not faulty.agrees
    unknown = compare(GRAPH, recording, Drifting(hidden={1}))
    assert not any(row.drift for row in unknown.rows), "a layer nobody measured may be the fault"


class Means:
    """Takes the mean over the last axis, `off` by that much."""

    name, numerics = "means", "float"
    layers: Mapping[str, str] = {}

    def __init__(self, off: float) -> None:
        self.off = off

    def cumulative(self, inputs: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return self.isolated(inputs)

    def isolated(self, device: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {1: device[0].mean(-1, dtype=np.float64).astype(np.float32) + np.float32(self.off)}


@pytest.mark.parametrize(("off", "agrees"), [(1e-7, True), (1e-4, False), (math.nan, False)])
def test_a_mean_of_what_cancels_differs_by_rounding(off: float, agrees: bool, tmp_path: Path) -> None:
    """Its own range is rounding. By itself it agrees; so it is drift, not a fault."""
    x = np.random.default_rng(0).standard_normal((1, 8, 96)).astype(np.float32)
    x -= x.mean(-1, keepdims=True)
    mean = x.mean(-1)
    assert 0 < np.ptp(mean) < 1e-6
    tensors = (replace(a_tensor(0, "float32"), shape=x.shape), replace(a_tensor(1, "float32"), shape=mean.shape))
    graph = Graph(0, "main", tensors, (Node(0, "MEAN", (0,), (1,)),), (0,), (1,))
    manifest = replace(record(tmp_path / "other").manifest, samples=1, passes=((0, 1),))
    writer = RecordingWriter.create(tmp_path / "recording", b"a model", manifest)
    writer.write_inputs(0, {0: x})
    writer.write(0, 0, {0: x, 1: mean}, 1_000_000)
    found = compare(graph, writer.finish(Certificate(1, True, (), True, True)), Means(off))
    assert found.rows[0].passed == {"cumulative": False, "isolated": agrees}
    assert found.rows[0].drift is agrees
    assert (found.first_fault is None) is agrees


class Scaled:
    """Gives what the device gave: of the first layer 1 + `off` times as much, end to end 1 + 2 `off` times.

    Where the device has zeros, the first layer gives ones.
    """

    name = "scaled"
    layers: Mapping[str, str] = {}

    def __init__(self, off: float, numerics: str) -> None:
        self.off, self.numerics = np.float32(off), numerics

    def cumulative(self, inputs: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {t: (1 + 2 * self.off) * inputs[0] for t in (2, 3)}

    def isolated(self, device: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        return {2: (1 + self.off) * device[2] + (not device[2].any()), 3: device[3]}


def scaled(path: Path, off: float, numerics: str = "float", op: str = "FULLY_CONNECTED", gain: float = 1) -> Comparison:
    """A hybrid layer, or with another `op` one of real numbers, and a layer behind it. gain: of what the device has."""
    weights = replace(a_tensor(1, "int8", 0.5), data=np.ones((10, 10), np.int8))
    nodes = Node(0, op, (0, 1) if op == "FULLY_CONNECTED" else (0,), (2,)), Node(1, "ABS", (2,), (3,))
    tensors = (a_tensor(0, "float32"), weights, a_tensor(2, "float32"), a_tensor(3, "float32"))
    manifest = replace(record(path / "other").manifest, samples=1, passes=((2, 3),))
    writer = RecordingWriter.create(path / "recording", b"a model", manifest)
    values = np.random.default_rng(0).standard_normal(tensors[0].shape).astype(np.float32)
    writer.write_inputs(0, {0: values})
    writer.write(0, 0, {2: gain * values, 3: gain * values}, 1_000_000)
    recording = writer.finish(Certificate(1, True, (), True, True))
    return compare(Graph(0, "main", tensors, nodes, (0,), (3,)), recording, Scaled(off, numerics))


def test_a_float_candidate_cannot_tell_of_a_kernel_that_rounds_inside(tmp_path: Path) -> None:
    found = scaled(tmp_path, 0.02)
    assert [row.undecided for row in found.rows] == [True, False]
    assert [row.drift for row in found.rows] == [False, True]
    assert found.rows[0].passed == {"cumulative": False, "isolated": False}, "no threshold is another one"
    assert not found.passed
    assert not found.faulty
    assert found.undecided.endswith("compare a fakequant reconstruction: dense_000")
    assert found.to_json()["undecided"] == found.undecided
    assert found.to_json()["layers"][0]["undecided"] is True
    assert [row.node for row in found.worst_first()] == ["dense_000", "abs_001"]


def test_a_board_that_gives_nothing_but_zeros_is_too_old_for_the_file(tmp_path: Path) -> None:
    found = scaled(tmp_path, 0.0, gain=0)
    assert [row.node for row in found.isolated_faults] == ["dense_000"]
    assert found.constant.endswith("(--runtime): dense_000")
    assert found.to_json()["constant"] == found.constant
    assert scaled(tmp_path / "sound", 0.5).constant == ""


@pytest.mark.parametrize(
    ("off", "how"),
    [(0.5, {}), (0.02, {"numerics": "fakequant"}), (0.02, {"op": "EXP"})],
    ids=["more than it rounds", "a candidate that rounds too", "a kernel that does not"],
)
def test_what_no_rounding_explains_is_a_fault(off: float, how: dict[str, str], tmp_path: Path) -> None:
    found = scaled(tmp_path, off, **how)
    assert found.undecided == ""
    assert found.isolated_faults == (found.rows[0],)
    assert found.first_fault == found.rows[0]


def halves(path: Path, steps: float) -> Comparison:
    """Two layers of float16, each `steps` of it off at the top of the range; end to end twice as much."""
    tensors = tuple(a_tensor(i, "float16") for i in range(4))
    nodes = Node(0, "EXP", (0,), (2,)), Node(1, "ABS", (2,), (3,))
    manifest = replace(record(path / "other").manifest, samples=1, passes=((2, 3),))
    writer = RecordingWriter.create(path / "recording", b"a model", manifest)
    values = np.random.default_rng(0).uniform(1, 2, tensors[0].shape).astype(np.float16)
    writer.write_inputs(0, {0: values})
    writer.write(0, 0, {2: values, 3: values}, 1_000_000)
    recording = writer.finish(Certificate(1, True, (), True, True))
    return compare(Graph(0, "main", tensors, nodes, (0,), (3,)), recording, Scaled(steps * 2**-11, "float"))


def test_float16_is_right_to_a_step_and_drifts(tmp_path: Path) -> None:
    found = halves(tmp_path, 1)
    assert [row.passed["isolated"] for row in found.rows] == [True, True]
    assert found.first_fault is None
    assert found.passed


def test_what_is_steps_of_float16_off_is_a_fault(tmp_path: Path) -> None:
    assert halves(tmp_path, 8).isolated_faults


@pytest.mark.parametrize(("op", "rounds"), [("LOGISTIC", True), ("RESHAPE", False)])
def test_tables_on_int16_codes_round_inside(op: str, rounds: bool) -> None:
    tensors = (a_tensor(0, "int16", 0.1), a_tensor(1, "int16", 0.1))
    assert rounding(Graph(0, "main", tensors, (Node(0, op, (0,), (1,)),), (0,), (1,))) == ({1} if rounds else set())


def test_a_shape_that_nobody_measured_is_no_layer_that_may_be_wrong() -> None:
    """Files for any batch calculate shapes; a candidate knows them when it is built, and does not show them."""
    x, shape, size, y = a_tensor(0, "int8", 0.5), a_tensor(1, "int32"), a_tensor(2, "int32"), a_tensor(3, "int8", 0.5)
    nodes = (Node(0, "SHAPE", (0,), (1,)), Node(1, "PACK", (1,), (2,)), Node(2, "RESHAPE", (0, 2), (3,)))
    graph = Graph(0, "any batch", (x, shape, size, y), nodes, (0,), (3,))
    row = Row(2, "reshape_002", "reshape_002", "RESHAPE", y, None, None, {"cumulative": False, "isolated": True})
    assert drifted(graph, [row])[0].drift


def test_an_unrecorded_tensor_hands_its_inputs_verdict_on(tmp_path: Path) -> None:
    partial = record(tmp_path / "rec", tensors=(1, 3, 4))

    class Isolated(FakeTwin):
        def isolated(self, device: dict) -> dict:
            return {}

    comparison = compare(GRAPH, partial, Isolated({1: lambda v: v + 5, 3: lambda v: v + 5}))
    assert comparison.first_fault.node == "relu_000"  # and not add_002, which lies behind it
    comparison = compare(GRAPH, partial, Isolated({3: lambda v: v + 5}))
    assert comparison.first_fault.node == "add_002"
    assert "isolated" not in comparison.rows[0].passed


def test_a_layer_the_candidate_does_not_show_is_listed(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin(hidden={2}))
    assert [row.node for row in comparison.rows] == ["relu_000", "add_002", "dequantize_003"]
    assert [(m.node, m.tensor) for m in comparison.missing] == [("conv2d_001", "t2")]
    assert "does not show it" in comparison.missing[0].reason


def test_nothing_in_common_is_an_error(recording: Recording, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to compare"):
        compare(GRAPH, recording, FakeTwin(hidden=range(5)))
    with pytest.raises(UsageError, match="needs a sample"):
        compare(GRAPH, record(tmp_path / "empty", samples=0), FakeTwin())
    with pytest.raises(UsageError, match="the file computes nothing"):
        compare(replace(GRAPH, nodes=()), recording, FakeTwin())


def test_a_recording_of_a_larger_graph_is_refused(recording: Recording) -> None:
    small = Graph(0, "", GRAPH.tensors[:3], GRAPH.nodes[:2], (0,), (2,))
    with pytest.raises(UsageError, match="holds tensor #4"):
        compare(small, recording, FakeTwin())


def test_two_recordings_match_by_their_inputs_in_any_order(recording: Recording, tmp_path: Path) -> None:
    other = record(tmp_path / "other", samples=3)
    comparison = compare(GRAPH, recording, RecordingCandidate(other))
    assert comparison.passed
    assert all(row.cumulative.differ == 0 and row.isolated is None for row in comparison.rows)
    assert comparison.rows[0].to_json()["isolated"] == {}
    with pytest.raises(UsageError, match="on the same inputs"):
        compare(GRAPH, other, RecordingCandidate(recording))


def test_recordings_of_differently_numbered_files(recording: Recording) -> None:
    candidate = RecordingCandidate(recording, GRAPH, tensors={0: 0, 3: 3, 4: 4})
    comparison = compare(GRAPH, recording, candidate)
    assert [row.tensor.index for row in comparison.rows] == [3, 4]
    assert comparison.rows[0].cumulative.lsb_max == 0


def as_json(comparison: Comparison) -> dict:
    return json.loads(json.dumps(comparison.to_json(), allow_nan=False))


def test_a_summary_is_for_any_json_reader(recording: Recording) -> None:
    document = summary(compare(GRAPH, recording, FakeTwin({2: FAULTS["NaN"]})))
    assert document["worst"]["isolated.lsb_max"]["value"] == "NaN"
    json.dumps(document, allow_nan=False)


def test_the_json_contract(recording: Recording) -> None:
    document = as_json(compare(GRAPH, recording, FakeTwin({2: FAULTS["NaN"]})))
    layer = document["layers"][1]
    assert layer["node"] == "conv2d_001"
    assert layer["op"] == "CONV_2D"
    assert layer["tensor"] == "t2"
    assert math.isnan(float(layer["isolated"]["sqnr_db"]))
    assert layer["cumulative"]["nan"] == 8
    assert document["first_fault"]["node"] == "conv2d_001"
    assert document["outputs"][0]["tensor"] == "t4"
    assert "top1" in document["outputs"][0]
    assert as_json(compare(GRAPH, recording, FakeTwin()))["first_fault"] is None


def test_rows_rank_by_any_metric(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin({2: FAULTS["NaN"], 3: lambda v: v + 1}))
    assert [row.node for row in comparison.worst("isolated", "sqnr_db")][:2] == ["conv2d_001", "add_002"]
    assert len(comparison.worst("isolated", "nfr")) == 3  # the float tensor has none
    with pytest.raises(UsageError, match="Received: 'speed'"):
        comparison.worst("isolated", "speed")


def test_layers_stand_in_the_order_of_the_errors_that_are_shown(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin())
    shown = [  # in codes where there are codes, and against what is heard of it
        {"lsb_max": 0.0, "lsb_differ": 0.0, "sqnr_db": 20.0},
        {"lsb_max": 1.0, "lsb_differ": 0.01, "sqnr_db": 40.0},
        {"lsb_max": 1.0, "lsb_differ": 0.2, "sqnr_db": 50.0},
        {"max_abs_over_range": 5e-6, "sqnr_db": 10.0},
    ]
    rows = tuple(replace(r, isolated=replace(r.isolated, **m)) for r, m in zip(found.rows, shown, strict=True))
    ranked = replace(found, rows=rows)
    order = [row.node for row in ranked.worst_first()]
    assert order == ["add_002", "conv2d_001", "dequantize_003", "relu_000"]
    assert [row.node for row in ranked.worst("isolated", "lsb_max")] == ["add_002", "conv2d_001", "relu_000"]

    drift, fault = {"passed": {"cumulative": False, "isolated": True}, "drift": True}, {"passed": {"isolated": False}}
    changes: list[dict] = [fault, {}, {}, drift]
    judged = replace(found, rows=tuple(replace(r, **c) for r, c in zip(rows, changes, strict=True)))
    assert [row.node for row in judged.worst_first()] == ["relu_000", "dequantize_003", "add_002", "conv2d_001"]

    alike = replace(found.rows[0].isolated, sqnr_db=30.0)
    heard = tuple(replace(r, isolated=alike, cumulative=r.isolated) for r in rows)  # what adds up decides
    order = [row.node for row in replace(found, rows=heard).worst_first()]
    assert order == ["conv2d_001", "add_002", "dequantize_003", "relu_000"]


def test_to_pandas(recording: Recording) -> None:
    pytest.importorskip("pandas")
    frame = compare(GRAPH, recording, FakeTwin()).to_pandas()
    assert list(frame["node"])[1] == "conv2d_001"
    assert frame["isolated.lsb_max"].max() == 0


def test_to_pandas_without_pandas(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UsageError, match="pip install pandas"):
        compare(GRAPH, recording, FakeTwin()).to_pandas()
