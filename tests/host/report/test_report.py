"""The page opens offline, says what matters, and takes any name a model may hold for mere text."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from host.compare_data import GRAPH, FakeTwin, record
from liteback.comparison.compare import RecordingCandidate, compare
from liteback.comparison.gates import broken_gates, parse_gate
from liteback.comparison.metrics import Meter
from liteback.comparison.result import Comparison
from liteback.ir import Graph
from liteback.recording import Recording
from liteback.report import ReportData, RoundTrip, junit, render
from liteback.report.html import beside, max_error, number, share, verdict


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    untappable = (("weights <1>", "a constant"),)
    return record(tmp_path_factory.mktemp("report") / "rec", untappable=untappable)


@pytest.fixture(scope="module")
def faulty(recording: Recording) -> Comparison:
    return compare(GRAPH, recording, FakeTwin({2: lambda v: v + np.float32(0.6), 4: lambda v: v * np.float32(np.nan)}))


class Page(HTMLParser):
    """The page's text, its elements, and everything its markup or styles would load."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.tags.append(tag)
        loading = {"src", "href", "srcset", "data", "action", "poster", "xlink:href"}
        self.loads += [f"{tag} {name}={value}" for name, value in attrs if name in loading]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.loads += re.findall(r"url\(.*?\)|@import.*", data)
        (self.scripts if self._inside == "script" else self.text).append(data)

    def says(self, words: str) -> bool:
        return words in " ".join(" ".join(self.text).split())


def page(recording: Recording, comparison: Comparison, **changes: object) -> Page:
    return Page(render(replace(ReportData("net.tflite", recording.manifest, comparison), **changes)))


def test_the_page_loads_nothing(recording: Recording, faulty: Comparison) -> None:
    read = page(recording, faulty)
    assert read.loads == []
    assert not {"link", "img", "iframe", "object", "embed", "base"} & set(read.tags)
    own = read.scripts[-1]
    assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(|new Image", own)
    assert read.scripts[0].lstrip().startswith("/**\n* plotly.js")  # inlined


def test_the_page_says_what_was_found(recording: Recording, faulty: Comparison) -> None:
    read = page(recording, faulty)
    for words in (
        "net.tflite",
        recording.manifest.model_sha256,
        "does not agree with the board. The first fault is conv2d_001 (CONV_2D)",
        "2 of 4 layer outputs are wrong",
        "RANDOM INPUTS.",
        "good: the taps left the outputs as they are",
        "Raspberry Pi 4 Model B",
        "tflite_runtime 2.14.0",
        "first fault",
        "3 LSB",
        "undefined",
        "weights <1>",
        "How to read this page",
    ):
        assert read.says(words), words


def test_a_file_may_be_called_random(recording: Recording, faulty: Comparison) -> None:
    real = replace(recording.manifest, inputs="random_crops.npz, 16 samples")
    assert not page(recording, faulty, manifest=real).says("RANDOM INPUTS.")


def test_layers_stand_worst_first(recording: Recording, faulty: Comparison) -> None:
    text = " ".join(page(recording, faulty).text)
    table = text[text.index("Layers, worst first") :]
    order = ["dequantize_003", "conv2d_001", "add_002", "relu_000"]  # undefined, wrong, inherited, good
    assert sorted(order, key=table.index) == order


def test_the_largest_errors_sort_as_they_are_shown(recording: Recording, faulty: Comparison) -> None:
    html = render(ReportData("net.tflite", recording.manifest, faulty))
    cells = re.findall(r'data-key="([^"]+)">([\d.]+) LSB<', html)
    assert len(cells) > 4
    assert all(float(key) == float(codes) for key, codes in cells)  # a code is what each may be off by


def test_the_chart_holds_every_layer(recording: Recording, faulty: Comparison) -> None:
    script = page(recording, faulty).scripts[-1]
    codes, floats = json.loads(re.search(r"const panels = (\[.*\]);\n", script)[1])
    assert [layer["layer"] for layer in codes["layers"]] == ["relu_000", "conv2d_001", "add_002"]
    assert codes["layers"][1]["isolated"] == {"value": 3.0, "undefined": False, "passed": False, "drift": False}
    assert codes["fault"] == "conv2d_001"
    assert floats["layers"][0]["isolated"] == {"value": None, "undefined": True, "passed": False, "drift": False}


def test_a_faithful_twin_on_real_data(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin())
    manifest = replace(recording.manifest, inputs="images of photos/")
    read = page(recording, comparison, manifest=manifest)
    assert read.says("agrees with the board on all 4 layer outputs, 2 samples.")
    assert not read.says("RANDOM")
    assert not read.says("does not agree")


def test_names_are_text_and_never_markup(recording: Recording) -> None:
    hostile = "</script><script>alert(1)</script><img src=https://example.org/x onerror=alert(2)>"
    tensors = tuple(replace(tensor, name=hostile) for tensor in GRAPH.tensors)
    graph = Graph(0, "main", tensors, GRAPH.nodes, GRAPH.inputs, GRAPH.outputs)
    manifest = replace(recording.manifest, inputs=hostile, board={"board": hostile}, untappable=((hostile, hostile),))
    read = page(recording, compare(graph, recording, FakeTwin()), model=hostile, manifest=manifest, notes=(hostile,))
    assert read.tags.count("script") == 2
    assert "img" not in read.tags
    assert read.loads == []
    assert read.says("alert(2)")


def test_without_a_good_certificate_there_is_no_verdict(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin())
    certificate = replace(recording.manifest.certificate, outputs_equal=False, differing=("scores",))
    for manifest in (
        replace(recording.manifest, certificate=None),
        replace(recording.manifest, certificate=certificate),
    ):
        data = ReportData("net.tflite", manifest, comparison)
        assert verdict(data)[0] == "void"
        assert Page(render(data)).says("No verdict: without a good certificate")
    assert Page(render(data)).says("differ with taps: scores")


def test_a_broken_gate_fails_the_page(recording: Recording) -> None:
    gates = ("conv2d_001: lsb_max is 3; the gate is isolated.lsb_max<=1",)
    read = page(recording, compare(GRAPH, recording, FakeTwin()), gates=gates)
    assert read.says(f"Gate: {gates[0]}")
    assert read.says("1 number outside the gates")


def test_drift_without_a_culprit_is_said(recording: Recording) -> None:
    class Drifting(FakeTwin):
        def cumulative(self, inputs: dict) -> dict:
            return {t: value + 3 for t, value in super().cumulative(inputs).items()}

    drifting = ReportData("m", recording.manifest, compare(GRAPH, recording, Drifting()))
    kind, words = verdict(drifting)
    assert kind == "drift"
    assert "Every layer of the candidate (twin) agrees" in words
    assert "beyond the threshold in 4 of 4" in words
    assert Page(render(drifting)).says("drift: beyond the cumulative threshold")
    kind, words = verdict(replace(drifting, gates=("output.sqnr_db is 3; the gate is output.sqnr_db>=30",)))
    assert kind == "fail"
    assert "Every layer by itself agrees" in words


def test_what_float_cannot_tell_is_said(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin())
    unsure = replace(found.rows[-1], passed={"cumulative": False, "isolated": False}, undecided=True)
    undecided = ReportData("m", recording.manifest, replace(found, rows=(*found.rows[:-1], unsure)))
    kind, words = verdict(undecided)
    assert kind == "undecided"
    assert "No fault of the candidate (twin) is found. Undecided: float cannot tell" in words
    assert Page(render(undecided)).says("undecided: the board's kernel rounds inside what float does not")
    root = ElementTree.fromstring(junit(undecided.comparison))
    assert not root.findall(".//failure")
    assert len(root.findall(".//skipped")) == 2


def test_two_recordings_have_no_isolated_column_to_show(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, RecordingCandidate(recording))
    assert page(recording, comparison).says("not shown by the candidate")


def test_a_round_trip_and_notes(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin(hidden={1}))
    trip = RoundTrip("old.tflite", "new.tflite", comparison, (("size", "10 kB", "11 kB"),), ("measured apart",))
    found: dict[str, Any] = {"notes": ("91.2 % before", "kernels: builtin"), "exact": (False, "99 %")}
    read = page(recording, comparison, round_trip=trip, **found)
    assert read.says("(new.tflite) on the board: outputs at 39.4 dB SQNR from the old file's; size 10 kB → 11 kB.")
    (output,) = comparison.outputs
    assert output.metrics is not None
    equal = replace(comparison, outputs=(replace(output, metrics=replace(output.metrics, max_abs=0.0)),))
    assert beside(replace(trip, comparison=equal)).startswith(
        "The new file (new.tflite) on the board: the same outputs in every element; size"
    )
    for words in ("99 %", "old.tflite", "11 kB", "measured apart", "91.2 % before", "kernels: builtin", "relu_000: t1"):
        assert read.says(words), words


def test_a_layer_that_could_not_be_measured_says_why(recording: Recording) -> None:
    read = page(recording, compare(GRAPH, recording, FakeTwin({4: lambda v: v[0]})))
    assert read.says("shape (4, 10) against the device's (1, 4, 10)")


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "\N{EN DASH}"), (np.nan, "undefined"), (np.inf, "∞"), (0.0, "0"), (1234567.0, "1.23e6")]
    + [(1.5e-7, "1.5e\N{MINUS SIGN}7"), (-2.25, "\N{MINUS SIGN}2.25")],
)
def test_numbers_in_words(value: float | None, words: str) -> None:
    assert number(value) == words


def test_units(faulty: Comparison) -> None:
    assert share(0.0123) == "1.23 %"
    assert max_error(faulty.rows[1].isolated) == "3 LSB"
    assert max_error(faulty.rows[3].isolated) == "undefined"
    assert max_error(replace(faulty.rows[1].isolated, lsb_max=None, max_abs_over_range=0.0)) == "0"


def test_a_dead_kernel_of_the_board_is_named() -> None:
    meter = Meter(GRAPH.tensors[4])
    meter.add(np.zeros(3, np.float32), np.ones(3, np.float32))
    assert max_error(meter.result()) == "board is all zero"


def test_junit_has_a_case_for_each_layer_and_mode(recording: Recording, faulty: Comparison) -> None:
    root = ElementTree.fromstring(junit(faulty))
    suites = {suite.get("name"): suite for suite in root}
    assert {name: suite.get("tests") for name, suite in suites.items()} == {"cumulative": "4", "isolated": "4"}
    assert suites["isolated"].get("failures") == "2"
    failed = {case.get("name"): case.find("failure") for case in suites["isolated"]}
    assert "lsb_max 3" in failed["conv2d_001 t2"].get("message")
    assert failed["relu_000 t1"] is None
    unmeasured = junit(compare(GRAPH, recording, FakeTwin({4: lambda v: v[0]})))
    assert "shape (4, 10)" in unmeasured


def test_junit_fails_where_a_gate_does(recording: Recording) -> None:
    comparison = compare(GRAPH, recording, FakeTwin())
    gates = [parse_gate(text) for text in ("isolated.lsb_max<=1", "isolated.sqnr_db>=1e9", "output.lsb_max<=1")]
    root = ElementTree.fromstring(junit(comparison, broken_gates(gates, comparison)))
    suite = root.find("testsuite[@name='gates']")
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    holds, broken, vain = (case.find("failure") for case in suite)
    assert holds is None
    assert "conv2d_001: sqnr_db is " in broken.get("message")
    assert "no output with lsb_max" in vain.get("message")
    assert "gates" not in junit(comparison)


def test_junit_is_xml_whatever_the_names(recording: Recording, tmp_path: Path) -> None:
    tensors = tuple(replace(tensor, name="\x00\x1b<&\"'\ud800ß") for tensor in GRAPH.tensors)
    graph = Graph(0, "main", tensors, GRAPH.nodes, GRAPH.inputs, GRAPH.outputs)
    text = junit(compare(graph, recording, FakeTwin()))
    case = ElementTree.fromstring(text.encode()).find("testsuite/testcase")
    assert case.get("name").endswith("<&\"'�ß")
