"""A comparison as one HTML file that opens offline: styles, scripts and plotly.js lie inside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from liteback.comparison.metrics import Metrics, badness
from liteback.comparison.result import MODES, Comparison, Mode, Row
from liteback.inputs.synthetic import RANDOM
from liteback.ir import Tensor
from liteback.report.data import ReportData, RoundTrip
from liteback.words import counted

NOTHING, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def render(report: ReportData) -> str:
    """The page. It loads nothing: no script, style, font or image from anywhere."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names of layers and tensors come out of the model file: anybody's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(counted=counted)
    environment.filters.update(
        number=number,
        share=share,
        sort_key=sort_key,
        sort_number=sort_number,
        flips=flips,
        max_error=max_error,
        beside=beside,
    )
    return environment.get_template("report.html").render(
        report=report,
        manifest=report.manifest,
        comparison=report.comparison,
        verdict=verdict(report),
        board=board_facts(report.manifest.board),
        random=report.manifest.inputs.startswith(RANDOM),
        rows=report.comparison.worst_first(),
        panels=[panel for panel in _panels(report.comparison) if panel["layers"]],
        coded=any(row.tensor.is_quantized for row in report.comparison.rows),
        plotly_js=get_plotlyjs(),
    )


def verdict(report: ReportData) -> tuple[str, str]:
    """("pass", "drift", "undecided", "fail" or "void", the sentence a reader takes away)."""
    comparison, certificate = report.comparison, report.manifest.certificate
    outputs = counted(len(comparison.rows), "layer output")
    if certificate is None or not certificate.good:
        return "void", "No verdict: without a good certificate nothing below can be relied on."
    if comparison.passed and not report.gates:
        where = f"{'all ' if len(comparison.rows) > 1 else ''}{outputs}, {counted(comparison.samples, 'sample')}"
        return "pass", f"The candidate ({comparison.candidate}) agrees with the board on {where}."
    drift = sum(row.drift for row in comparison.rows)
    adds_up = f"end to end, roundings add up beyond the threshold in {drift} of {outputs}."
    if comparison.agrees and not report.gates:
        return "drift", f"Every layer of the candidate ({comparison.candidate}) agrees with the board; {adds_up}"
    undecided = [f"Undecided: {comparison.undecided}."] if comparison.undecided else []
    if undecided and not comparison.faulty and not report.gates:
        return "undecided", f"No fault of the candidate ({comparison.candidate}) is found. {undecided[0]}"
    parts = []
    if comparison.first_fault:
        fault = comparison.first_fault
        parts.append(f"The first fault is {fault.layer} ({fault.op}): it fails while all that feeds it passes.")
    own = len(comparison.isolated_faults)
    if own:
        parts.append(f"Fed the board's own inputs, {own} of {outputs} {'is' if own == 1 else 'are'} wrong.")
    elif drift and not undecided:
        parts.append(f"Every layer by itself agrees with the board; {adds_up}")
    parts += undecided
    if comparison.constant:
        parts.append(f"Constant on the board: {comparison.constant}.")
    if report.gates:
        parts.append(f"{counted(len(report.gates), 'number')} outside the gates.")
    return "fail", f"The candidate ({comparison.candidate}) does not agree with the board. {' '.join(parts)}"


def beside(trip: RoundTrip) -> str:
    """What the new file is to the old one, in a sentence."""
    outputs = [output.metrics for output in trip.comparison.outputs] if trip.comparison is not None else []
    measured = [metrics for metrics in outputs if metrics is not None]
    apart = f"outputs at {number(min((m.sqnr_db for m in measured), default=None))} dB SQNR from the old file's"
    same = len(measured) == len(outputs) and all(m.max_abs == 0 for m in measured)
    facts = [f"{what} {old} → {new}" for what, old, new in trip.facts]
    first = "the same outputs in every element" if same else apart
    return f"The new file ({trip.new}) on the board: {'; '.join([*([first] if outputs else []), *facts])}."


def number(value: float | None, digits: int = 3) -> str:
    """For people: three significant digits, infinity and NaN in words."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "undefined"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("e+0", "e").replace("-", MINUS)


def share(value: float | None) -> str:
    """0.0123 -> 1.23 %."""
    return NOTHING if value is None else f"{number(100 * value)} %"


def sort_key(row: Row, mode: Mode, metric: str) -> str:
    """What the table sorts a cell by: larger is worse; empty where there is no number."""
    value = row.value(mode, metric)
    return "" if value is None else sort_number(math.nan if math.isnan(value) else badness(metric, value)[1])


def sort_number(value: float) -> str:
    """A number as a script reads it; NaN is the largest."""
    return "1e308" if math.isnan(value) else f"{min(max(value, -1e307), 1e307):.9g}"


def flips(metrics: Metrics | None) -> list[tuple[str, float, str]]:
    """The LSB histogram in three parts, for a bar: (class, share, words)."""
    if metrics is None or metrics.lsb_histogram is None or not metrics.elements:
        return []
    one = sum(metrics.lsb_histogram[key] for key in ("-1", "1"))
    exact = metrics.lsb_histogram["0"]
    more = metrics.elements - exact - one
    parts = (("exact", exact, "equal"), ("one", one, "one code off"), ("more", more, "more than one code off"))
    return [(name, count / metrics.elements, words) for name, count, words in parts]


def max_error(metrics: Metrics) -> str:
    """The largest error in the tensor's own unit: codes where it has codes, else a share of its range."""
    if metrics.lsb_max is not None:
        return f"{number(metrics.lsb_max)} LSB"
    if metrics.reference_all_zero:
        return "board is all zero"
    ratio = number(metrics.max_abs_over_range)
    if metrics.max_abs_over_range == 0:
        return ratio
    return f"{ratio} of range" if math.isfinite(metrics.max_abs_over_range) else ratio


BOARD_FACTS = (
    ("board", "Board"),
    ("hostname", "Host"),
    ("cpu", "CPU"),
    ("cpu_count", "Cores"),
    ("machine", "Architecture"),
    ("ram_bytes", "RAM"),
    ("os", "System"),
    ("kernel", "Kernel"),
    ("libc", "C library"),
    ("python", "Python"),
    ("temperature_c", "Temperature, °C"),
    ("throttled", "Throttled"),
)


def board_facts(board: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a reader asks of a board: (label, value) for what the recording knows."""
    known = [(name, label, board[name]) for name, label in BOARD_FACTS if board.get(name)]
    return [(label, f"{value / 2**30:.1f} GiB" if name == "ram_bytes" else str(value)) for name, label, value in known]


def _panels(comparison: Comparison) -> list[dict[str, Any]]:
    """The charts: quantized layers in codes, the others by error over range."""
    bounds = comparison.thresholds
    share = "max_abs_over_range"
    kinds = (
        ("codes", "Quantized layers: largest error in codes (LSB)", "lsb_max", bounds.lsb_isolated),
        ("floats", "Float layers: largest error over the tensor's range", share, bounds.float_isolated),
        ("halves", "Float16 layers: largest error over the tensor's range", share, bounds.float16_isolated),
    )
    return [
        {
            "id": name,
            "title": title,
            "codes": name == "codes",
            "threshold": threshold,
            "fault": comparison.first_fault.layer if comparison.first_fault else None,
            "layers": [_point(row, metric) for row in comparison.rows if _kind(row.tensor) == name],
        }
        for name, title, metric, threshold in kinds
    ]


def _kind(tensor: Tensor) -> str:
    """The chart that a tensor is in."""
    if tensor.is_quantized:
        return "codes"
    return "halves" if tensor.dtype == "float16" else "floats"


def _point(row: Row, metric: str) -> dict[str, Any]:
    point: dict[str, Any] = {"layer": row.layer, "op": row.op, "tensor": row.tensor.name}
    for mode in MODES:
        value = row.value(mode, metric)
        defined = value is not None and math.isfinite(value)
        point[mode] = {
            "value": value if defined else None,
            "undefined": mode in row.passed and not defined,  # drawn as a cross at the top
            "passed": row.passed.get(mode, True),
            "drift": row.drift or row.undecided,  # no fault: in the colour of a warning
        }
    return point
