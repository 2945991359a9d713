"""What commands print, drawn without running them."""

from __future__ import annotations

import contextlib
import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import tflite_build as build
from host.compare_data import GRAPH, FakeTwin, record
from liteback.calibration.calibrate import Calibration
from liteback.calibration.corrections import Corrections
from liteback.calibration.kernel_set import KernelSet
from liteback.cli import group as cli_group
from liteback.cli import shared, tables
from liteback.cli.main import app
from liteback.cli.terminal import Terminal
from liteback.comparison.compare import RecordingCandidate, compare
from liteback.inspection import inspect
from liteback.numerics.profile import KernelProfile
from liteback.proof import Proof, Side
from liteback.recording import Recording

NAMED = "w[/][red]b :x:"  # what a console would take for styles and pictures


def shown(draw: Any, *arguments: Any, width: int = 100) -> str:
    console = Terminal()
    console.file, console.width = io.StringIO(), width
    draw(console, *arguments)
    text: str = console.file.getvalue()
    return text


def tiny(name: str) -> bytes:
    tensors = [build.Tensor([1, 8], name=name), build.Tensor([1, 8], name="y")]
    graph = build.Subgraph(tensors, [build.Op("RELU", [0], [1])], [0], [1])
    return build.build_model(graph, description=name)


def test_names_are_shown_as_they_are() -> None:
    text = shown(tables.inspection, f"{NAMED}.tflite", inspect(tiny(NAMED)), True)
    assert text.count(NAMED) == 3  # the file's, its description, its input's


def test_what_does_not_fit_goes_on_in_its_column() -> None:
    lines = shown(tables.inspection, "m.tflite", inspect(tiny("long " * 30)), False, width=60).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("input"))
    assert lines[at + 1].startswith(" " * 14 + "long")


def test_every_operator_on_a_narrow_terminal_takes_two_lines() -> None:
    text = shown(tables.inspection, "m.tflite", inspect(tiny("x")), True, width=60)
    assert text.splitlines()[-2:] == ["relu_000  #0 -> #1", "    float32 1×8  32 bytes"]


def test_one_is_no_plural(recording: Recording) -> None:
    one = {**CAPTURED, "tensors": 1, "samples": 1, "passes": 1}
    text = shown(tables.recording, one, width=200)
    assert "recorded 1 tensor × 1 sample in 1 pass, 1,200 bytes" in text
    assert "the untouched model's bits on 1 sample: yes" in text
    found = compare(GRAPH, recording, FakeTwin({}))
    text = shown(tables.comparison, replace(found, rows=found.rows[:1], samples=1))
    assert "1 of 1 layer output within the thresholds on 1 sample;" in text


CAPTURED = {
    "tensors": 2,
    "samples": 2,
    "passes": 2,
    "bytes": 1200,
    "runtime": "tflite_runtime 2.14.0",
    "kernels": "default",
    "machine": "x86_64",
    "recording": "rec",
    "recorded_before": False,
    "inputs": "in.npz",
    "certificate": {
        "good": True,
        "samples": 1,
        "outputs_equal": True,
        "deterministic": True,
        "shared_equal": True,
    },
    "untappable": [],
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("tables") / "rec")


def test_a_layer_that_is_wrong_by_itself_is_named(recording: Recording) -> None:
    found = replace(compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6})), first_fault=None)
    assert found.isolated_faults
    text = shown(tables.comparison, found)
    assert "first fault" not in text
    assert f"wrong: {found.isolated_faults[0].node}" in text


def test_names_are_whole_at_80_columns(recording: Recording) -> None:
    """Also where some errors are in codes and others shares of a range."""
    found = compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6}))
    named = tuple(replace(row, layer=f"batch_matmul_{k}21", op="BATCH_MATMUL") for k, row in enumerate(found.rows))
    lines = shown(tables.comparison, replace(found, rows=named), width=80).splitlines()
    assert lines[0].split() == ["isolated", "cumulative"]
    assert lines[1].split()[2:6] == ["LSB,", "range", "differ", "LSB,"]
    assert all(f"{row.layer}  BATCH_MATMUL  " in "\n".join(lines) for row in named)
    assert len(lines) == 2 + len(named) + 1


def test_nothing_is_padded(recording: Recording) -> None:
    for text in (
        shown(tables.inspection, "m.tflite", inspect(tiny("long " * 30 + "end")), True, width=60),
        shown(tables.comparison, compare(GRAPH, recording, FakeTwin())),
    ):
        assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_rows_that_are_not_shown_are_none_worse(recording: Recording) -> None:
    """In an exact twin all errors are 0: none is smaller."""
    found = compare(GRAPH, recording, FakeTwin())
    text = shown(tables.comparison, replace(found, rows=found.rows * 4))
    assert "... and 4 more layers, none worse (--json, --html: all of them)\n" in text


def test_codes_have_their_unit_where_nothing_is_isolated(recording: Recording) -> None:
    """As of a SavedModel, which shows its outputs alone."""
    found = compare(GRAPH, recording, RecordingCandidate(recording))
    text = shown(tables.comparison, replace(found, rows=found.rows[:2]))
    assert "0 LSB" in text
    assert "range" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_cuts_nothing_off(recording: Recording, width: int) -> None:
    found = compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6}))
    long = replace(found, rows=tuple(replace(r, layer=f"depthwise_conv2d_{k}23") for k, r in enumerate(found.rows)))
    lines = shown(tables.comparison, long, width=width).splitlines()[:-1]
    assert all(len(line) <= width for line in lines)
    assert sum(line[:2] in ("ok", "!!") for line in lines) == len(long.rows)
    names = "".join(line[4:].split(" ")[0] for line in lines)
    everything = "".join("".join(line.split()) for line in lines)
    for row in long.rows:
        assert row.layer in names
    if width >= 60:  # in one line, the names aside
        assert {"isolated", "differ", "cumulative", "SQNR"} < set(" ".join(lines).split())
        assert "0.00%" in everything
        assert "2.9e-02" in everything


def proof(recording: Recording, **changes: Any) -> Proof:
    name = "a_model_of_a_name_that_is_as_long_as_such_names_are.tflite"
    sides = [Side(f"{name} ({age})", 1000, recording, (1_234_000,)) for age in ("old", "new")]
    return replace(Proof(*sides, compare(GRAPH, recording, FakeTwin()), ()), **changes)


COMMANDS = [[c.callback.__name__] for c in app.registered_commands if c.callback] + [["agent", "logs"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_word_of_the_help_is_cut(command: list[str]) -> None:
    text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "60"}, terminal_width=60).output
    assert "--help" in text
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 60


@pytest.mark.parametrize("command", ["compare", "calibrate", "prove", "roundtrip"])
def test_the_examples_of_gates_are_whole(command: str) -> None:
    text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "60"}).output
    for example in ("isolated.lsb_max<=1", "cumulative.cosine>=0.99", "output.sqnr_db>=30"):
        assert f"'{example}'" in text


@pytest.mark.parametrize("width", [60, 80])
def test_long_names_leave_room_for_what_was_measured(recording: Recording, width: int) -> None:
    (line,) = (row for row in shown(tables.proof, proof(recording), width=width).splitlines() if "p50" in row)
    assert line.split() == ["latency", "p50", "1.234", "ms", "1.234", "ms"]


def test_a_proof_that_fails_does_not_say_that_the_interface_is_the_same(recording: Recording) -> None:
    assert "interface" in shown(tables.proof, proof(recording))
    assert "interface" not in shown(tables.proof, proof(recording, interface=("input 0: name x became y",)))


def test_of_a_file_quantized_in_part_every_layer_is_shown(recording: Recording) -> None:
    """What fails comes first, whether its error is told in codes or as a share of its range."""
    found = compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6}))
    coded = [row for row in found.rows if row.value("isolated", "lsb_max") is not None]
    assert coded
    assert len(coded) < len(found.rows)
    lines = shown(tables.comparison, found).splitlines()[2:]
    assert {row.layer for row in found.rows} <= {line.split()[1] for line in lines}
    assert lines[0].startswith("!!")


def test_a_candidate_without_layers_is_not_taken_for_a_whole_one(recording: Recording) -> None:
    """As a SavedModel, which shows its outputs alone."""
    found = compare(GRAPH, recording, FakeTwin(hidden=frozenset({1, 2, 3})))
    alone = replace(found, rows=tuple(replace(row, isolated=None) for row in found.rows))
    assert "twin shows its outputs alone: 3 layers are not compared, and none by itself" in shown(
        tables.comparison, alone
    )
    assert "not compared" not in shown(tables.comparison, found)


def test_the_header_has_a_unit_that_all_share(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6}))
    floats = [row for row in found.rows if row.value("isolated", "lsb_max") is None]
    lines = shown(tables.comparison, replace(found, rows=tuple(floats)), width=80).splitlines()
    assert lines[0].split() == ["isolated", "cumulative"]
    assert lines[1].split() == ["layer", "operator", "of", "range", "of", "range", "SQNR", "dB"]
    assert "2.9e-02" in "".join(lines[2:])
    assert not any("of range" in line for line in lines[2:])


def test_a_board_that_gave_nothing_but_zeros_is_named(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin({2: lambda v: v + 0.6}))
    row = next(row for row in found.rows if row.value("isolated", "lsb_max") is None)
    assert row.isolated is not None
    dead = replace(row, isolated=replace(row.isolated, reference_all_zero=True))
    assert shown(tables.comparison, replace(found, rows=(dead,))).split().count("zero") == 1


def test_drift_is_no_fault(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin())
    assert found.passed
    drifted = replace(found.rows[-1], passed={"cumulative": False, "isolated": True}, drift=True)
    lines = shown(tables.comparison, replace(found, rows=(*found.rows[:-1], drifted))).splitlines()
    assert sum(line.startswith("~~") for line in lines) == 2  # the layer's, and the last
    assert "no fault" in lines[-1]
    assert not any(line.startswith("!!") for line in lines)


def test_what_float_cannot_tell_is_no_fault(recording: Recording) -> None:
    found = compare(GRAPH, recording, FakeTwin())
    unsure = replace(found.rows[-1], passed={"cumulative": False, "isolated": False}, undecided=True)
    lines = shown(tables.comparison, replace(found, rows=(*found.rows[:-1], unsure))).splitlines()
    assert sum(line.startswith("??") for line in lines) == 3  # the layer's, the verdict, and the sentence
    assert "first fault: none" in lines[-2]
    assert lines[-1].endswith("compare a fakequant reconstruction: dequantize_003")
    assert not any(line.startswith("!!") for line in lines)


def test_a_file_without_codes_has_no_kernel_set(tmp_path: Path) -> None:
    kernels = KernelSet(KernelProfile.named("reference"), (), alike=("another",))
    found = Calibration(kernels, (0,), (1,), None, (), Corrections(reason="float"))
    text = shown(tables.calibration, found, tmp_path)
    assert "kernel set" not in text
    assert "corrections   none: float" in text


@pytest.mark.parametrize("group", [False, True])
def test_no_bar_on_a_terminal_that_cannot_go_back(group: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    console = Terminal()
    console.file = io.StringIO()
    for module in (shared, cli_group):
        monkeypatch.setattr(module, "err", console)
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(cli_group._bars(["pi"]))["pi"] if group else stack.enter_context(shared.progress())
        report(1, 2, "comparing")
    assert console.file.getvalue() == ""


@pytest.mark.parametrize("group", [False, True])
def test_no_bar_before_there_is_something_to_tell(group: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then a board may ask for a password, which a bar would be drawn over."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    console, screen = Terminal(), io.StringIO()
    console.file = screen
    for module in (shared, cli_group):
        monkeypatch.setattr(module, "err", console)
    with contextlib.ExitStack() as stack:
        report = stack.enter_context(cli_group._bars(["pi"]))["pi"] if group else stack.enter_context(shared.progress())
        time.sleep(0.3)
        assert screen.getvalue() == ""
        report(1, 2, "comparing")
        assert "comparing" in screen.getvalue()
