"""Gates: bounds on a comparison's numbers, written by the user, that decide a command's exit code.

isolated.lsb_max<=1        every layer that has this metric, fed the device's own inputs
cumulative.cosine>=0.99    every layer, fed by the layers before it
output.sqnr_db>=30         every output of the graph
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from liteback.comparison.metrics import METRICS, Metrics
from liteback.comparison.result import Comparison, Mode
from liteback.errors import UsageError

SCOPES = ("isolated", "cumulative", "output")
_OPERATORS = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
_GATE = re.compile(r"\s*(\w+)\.(\w+)\s*(<=|>=|==|<|>)\s*(\S+)\s*")


@dataclass(frozen=True)
class Gate:
    """A bound on one metric: scope.metric OPERATOR bound."""

    scope: str
    metric: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        return f"{self.scope}.{self.metric}{self.comparison}{self.bound:g}"

    def accepts(self, value: float) -> bool:
        """NaN passes no gate."""
        return bool(_OPERATORS[self.comparison](value, self.bound))


@dataclass(frozen=True)
class GateFailure:
    """A value that broke its bound."""

    gate: Gate
    where: str
    value: float

    def __str__(self) -> str:
        return f"{self.where}: {self.gate.metric} is {self.value:.6g}; the gate is {self.gate}"


def parse_gate(text: str) -> Gate:
    """`isolated.lsb_max<=1` -> Gate.

    Raises: UsageError that lists the scopes and the metrics.
    """
    match = _GATE.fullmatch(text)
    bound = _number(match[4]) if match else None
    if match is None or bound is None or match[1] not in SCOPES or match[2] not in METRICS:
        raise UsageError(
            "A gate is SCOPE.METRIC, one of <= >= < > ==, and a number, for example 'isolated.lsb_max<=1'. "
            f"Received: {text!r}. Scopes: {', '.join(SCOPES)}. Metrics: {', '.join(METRICS)}."
        )
    return Gate(match[1], match[2], match[3], bound)


def check_gates(gates: Sequence[Gate], comparison: Comparison) -> list[GateFailure]:
    """Every value that breaks a gate, gate by gate; empty when all pass.

    Raises: UsageError when a gate finds nothing to judge: it would pass whatever happened.
    """
    failures: list[GateFailure] = []
    for gate in gates:
        values = list(_values(gate, comparison))
        if not values:
            raise UsageError(
                f"A gate judges at least one number. Received: {str(gate)!r}, but this comparison has no "
                f"{_SUBJECT[gate.scope]} with {gate.metric}. (Only quantized tensors have lsb_max, "
                "lsb_differ, nfr and saturated; only outputs have top1 and top5.)"
            )
        failures += [GateFailure(gate, where, value) for where, value in values if not gate.accepts(value)]
    return failures


def broken_gates(gates: Sequence[Gate], comparison: Comparison) -> dict[str, list[str]]:
    """Each gate -> what breaks it, in words: every value, or that it finds nothing to judge; empty where it holds."""
    found: dict[str, list[str]] = {}
    for gate in gates:
        try:
            found[str(gate)] = [str(failure) for failure in check_gates([gate], comparison)]
        except UsageError as error:
            found[str(gate)] = [str(error)]
    return found


_SUBJECT = {"isolated": "isolated layer", "cumulative": "cumulative layer", "output": "output"}


def _values(gate: Gate, comparison: Comparison) -> Iterator[tuple[str, float]]:
    """What the gate judges: (where, value). What could not be measured is NaN, which no gate accepts."""
    for where, metrics, note in _subjects(gate, comparison):
        if metrics is None:
            yield f"{where} ({note})", math.nan
        elif (value := getattr(metrics, gate.metric)) is not None:
            yield where, float(value)


def _subjects(gate: Gate, comparison: Comparison) -> Iterator[tuple[str, Metrics | None, str]]:
    if gate.scope == "output":
        for output in comparison.outputs:
            yield f"output {output.tensor.name or output.tensor.index}", output.metrics, output.note
        return
    mode: Mode = "isolated" if gate.scope == "isolated" else "cumulative"
    for row in comparison.rows:
        if mode in row.passed:
            yield row.layer, row.metrics(mode), row.note


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value
