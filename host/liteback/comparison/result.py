"""The result of a comparison: one row per node output, the graph's outputs, and where the fault begins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from liteback.comparison.metrics import METRICS, Metrics, badness, json_number
from liteback.errors import UsageError
from liteback.ir import Graph, Tensor
from liteback.words import counted, some

Mode = Literal["cumulative", "isolated"]
MODES: tuple[Mode, ...] = ("cumulative", "isolated")


@dataclass(frozen=True)
class Thresholds:
    """When a tensor passes. NaN never does.

    Isolated, the candidate computes one layer from the device's own inputs, so only that layer's arithmetic
    differs: two kernel sets differ by one code at most (measured on convolutions, pooling and additions of
    five networks), two float kernels by some 2e-6 of the range. Cumulative, such differences add up and are
    amplified: whole quantized networks drift by tens of codes between correct kernel sets, so what is asked
    is that the signal stands 30 dB (a factor of 1000 in power) above the drift, or that the drift is one
    code, since SQNR means little where there is almost no signal. A float tensor that is computed from
    quantized ones, or by a kernel that quantizes its activations, carries their drift, so cumulatively it is
    asked what they are asked. Where what is summed cancels, as in the mean of a layer that is normalized
    already, or is cut off, as by a RELU6 behind a convolution of large numbers, the result's range does not
    tell how it was rounded: it may differ by rounding of the largest summand.

    A float16 tensor is rounded to 11 bits: two right results of one layer differ by a step, and those of a chain drift
    as codes do.

    Some kernels round inside what a candidate in real numbers does not: hybrid ones the activations, those on int16
    codes their tables. Of such a layer a float candidate cannot tell that from a fault, as long as it is small (hybrid
    layers of two networks stand at 40 dB and more); what does not pass is then undecided.
    """

    float_isolated: float = 1e-5  # max_abs_over_range
    float16_isolated: float = 2**-10  # the same, of a float16 tensor: its step
    float_cancelled: float = 1e-6  # max_abs over the largest summand; 8 times float32's own step. Isolated
    float_cumulative: float = 1e-4  # max_abs_over_range
    lsb_isolated: float = 1  # lsb_max
    lsb_cumulative: float = 1  # lsb_max, or:
    sqnr_cumulative: float = 30.0  # sqnr_db, of quantized tensors and of what is computed from them
    sqnr_undecided: float = 20.0  # sqnr_db, isolated: at least, where the kernel rounds inside and the candidate not
    integer_isolated: float = 0.0  # differ; indices and booleans are right or wrong
    integer_cumulative: float = 0.01  # differ; an argmax may flip where two values are as good as equal

    def passes(self, tensor: Tensor, mode: Mode, metrics: Metrics, drifts: bool, summand: float = 0.0) -> bool:
        """drifts: the tensor is quantized or float16, or computed from one that is, or by a hybrid kernel. summand: the
        largest magnitude of what a float result is the sum of.
        """
        isolated = mode == "isolated"
        error, bound = self._error(tensor, mode, metrics)
        if metrics.lsb_max is None and not tensor.dtype.startswith(("float", "complex")):
            return metrics.differ <= (self.integer_isolated if isolated else self.integer_cumulative)
        if isolated:
            return error <= bound or metrics.max_abs <= self.float_cancelled * summand
        return error <= bound or (drifts and metrics.sqnr_db >= self.sqnr_cumulative)

    def excess(self, tensor: Tensor, mode: Mode, metrics: Metrics) -> float:
        """The largest error in multiples of its bound, by which codes and shares of a range rank side by side."""
        error, bound = self._error(tensor, mode, metrics)
        return error / bound if bound else math.inf if error else 0.0

    def _error(self, tensor: Tensor, mode: Mode, metrics: Metrics) -> tuple[float, float]:
        """The largest error, in codes where there are codes, else over the range; and what it may be."""
        isolated = mode == "isolated"
        if metrics.lsb_max is not None:
            return metrics.lsb_max, self.lsb_isolated if isolated else self.lsb_cumulative
        by_itself = self.float16_isolated if tensor.dtype == "float16" else self.float_isolated
        return metrics.max_abs_over_range, by_itself if isolated else self.float_cumulative


@dataclass(frozen=True)
class Row:
    """One output of one node. `cumulative`, `isolated`: None where the candidate does not show the tensor.

    layer: what the candidate calls the node; a loop `while_005` may be its layer `lstm_005`.
    passed: mode -> verdict. note: why a tensor could not be measured; it has then failed. drift: cumulatively it is
    beyond the threshold, but by itself it agrees with the device, and so does every layer before it: what differs are
    roundings that added up. undecided: by itself it is beyond the threshold, by no more than the roundings may be that
    the device's kernel has and the candidate has not (see `Thresholds`).
    """

    index: int
    node: str
    layer: str
    op: str
    tensor: Tensor
    cumulative: Metrics | None
    isolated: Metrics | None
    passed: Mapping[Mode, bool]
    note: str = ""
    drift: bool = False
    undecided: bool = False

    @property
    def agrees(self) -> bool:
        """Within the thresholds, or drift alone."""
        return self.drift or all(self.passed.values())

    def metrics(self, mode: Mode) -> Metrics | None:
        """The metrics in one mode; None where the candidate does not show the tensor."""
        return self.cumulative if mode == "cumulative" else self.isolated

    def value(self, mode: Mode, metric: str) -> float | None:
        """One metric in one mode; None where it does not apply."""
        metrics = self.metrics(mode)
        value = getattr(metrics, metric) if metrics else None
        return None if value is None else float(value)

    def to_json(self) -> dict[str, Any]:
        return {
            "index": self.index,
            **_names(self),
            **_tensor_json(self.tensor),
            **{mode: m.to_json() if (m := self.metrics(mode)) else {} for mode in MODES},
            "passed": dict(self.passed),
            "drift": self.drift,
            "undecided": self.undecided,
            "note": self.note,
        }


@dataclass(frozen=True)
class Output:
    """One output of the graph, cumulative. Without metrics it could not be measured: see `note`.

    drift, undecided: as in `Row`.
    """

    tensor: Tensor
    metrics: Metrics | None
    passed: bool
    note: str = ""
    drift: bool = False
    undecided: bool = False

    def to_json(self) -> dict[str, Any]:
        metrics = self.metrics.to_json() if self.metrics else {}
        verdict = {"passed": self.passed, "drift": self.drift, "undecided": self.undecided, "note": self.note}
        return {**_tensor_json(self.tensor), **metrics, **verdict}


@dataclass(frozen=True)
class Missing:
    """A tensor the device recorded and the candidate has no value for."""

    node: str
    tensor: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """A candidate against a recording. Rows stand in the graph's order of execution."""

    candidate: str
    numerics: str
    model_sha256: str
    samples: int
    thresholds: Thresholds
    rows: tuple[Row, ...]
    outputs: tuple[Output, ...]
    missing: tuple[Missing, ...]
    first_fault: Row | None

    @property
    def isolated_faults(self) -> tuple[Row, ...]:
        """Nodes whose own arithmetic is at fault, whatever came before them."""
        return tuple(row for row in self.rows if row.passed.get("isolated") is False and not row.undecided)

    @property
    def undecided(self) -> str:
        """The layers of which this comparison cannot tell, in a sentence with the remedy; empty where there is none."""
        names = [row.layer for row in self.rows if row.undecided]
        if not names:
            return ""
        return (
            "float cannot tell whether these are right, for the board's kernels round inside; compare a fakequant "
            f"reconstruction: {some(names)}"
        )

    @property
    def constant(self) -> str:
        """The layers of which the board gives the same on all inputs, in a sentence with the remedy; empty if none.

        Kernels that know one scale for all weights take 0 for it where the file has more: runtimes older than the file
        run it so without a word, and of BATCH_MATMUL on codes all do.
        """
        found = [(row.layer, row.isolated) for row in self.isolated_faults if row.isolated]
        names = [layer for layer, m in found if m.reference_all_zero or m.reference_constant]
        if not names:
            return ""
        return (
            "whatever it is fed, the board gives zeros, or a bias alone, as a runtime does whose kernel knows no scale "
            f"for each channel of the file's weights; a newer one may (--runtime): {some(names)}"
        )

    @property
    def faulty(self) -> bool:
        """Something is wrong that is neither drift nor undecided."""
        return self.first_fault is not None or bool(self.isolated_faults)

    @property
    def passed(self) -> bool:
        return all(all(row.passed.values()) for row in self.rows) and all(o.passed for o in self.outputs)

    @property
    def agrees(self) -> bool:
        """Every layer does, by itself; end to end there may be drift."""
        return all(row.agrees for row in self.rows)

    def __str__(self) -> str:
        good = sum(all(row.passed.values()) for row in self.rows)
        outputs, samples = counted(len(self.rows), "layer output"), counted(self.samples, "sample")
        return f"{self.candidate}: {good} of {outputs} within the thresholds on {samples}; {self._where_to_look()}"

    def __repr__(self) -> str:
        return f"<Comparison of {self}>"

    def _where_to_look(self) -> str:
        """Errors that add up have a first layer, those of a layer by itself need none."""
        if self.first_fault:
            return f"first fault: {self.first_fault.layer}"
        if self.agrees and not self.passed:
            return "no fault: each layer by itself agrees, roundings add up (~~)"
        if own := [row.layer for row in self.isolated_faults]:
            return f"fed the board's own inputs, wrong: {some(own)}; it does not add up"
        return "first fault: none"

    def worst(self, mode: Mode = "isolated", key: str = "sqnr_db") -> tuple[Row, ...]:
        """The rows that have the metric, worst first; where they are as bad, as `worst_first` has them.

        By default: ranked by the error each layer injects.

        Raises: UsageError for a mode or a metric that does not exist.
        """
        if mode not in MODES:
            raise UsageError(f"Errors are {' or '.join(MODES)}. Received: {mode!r}.")
        if key not in METRICS:
            raise UsageError(f"Rows are ranked by one of {', '.join(METRICS)}. Received: {key!r}.")
        ranked = sorted(self.rows, key=lambda row: self._severity(row, mode), reverse=True)
        valued = [(value, row) for row in ranked if (value := row.value(mode, key)) is not None]
        return tuple(row for _, row in sorted(valued, key=lambda pair: badness(key, pair[0]), reverse=True))

    def worst_first(self) -> tuple[Row, ...]:
        """Every row: faults, what is undecided, drift, the others.

        Each by what a table shows, the error that the layer injects first.
        """

        def rank(row: Row) -> tuple[Any, ...]:
            *isolated, noise = self._severity(row, "isolated")
            *cumulative, _, inherited = self._severity(row, "cumulative")
            return not row.agrees, not row.undecided, row.drift, isolated, cumulative, inherited, noise

        return tuple(sorted(self.rows, key=rank, reverse=True))

    def _severity(self, row: Row, mode: Mode) -> tuple[bool, float, float, float]:
        """Larger is worse: the largest error, the share that differs, the noise. What could not be measured is worse
        than any number, what is not shown better."""
        m = row.metrics(mode)
        excess = self.thresholds.excess(row.tensor, mode, m) if m else math.nan
        if m is None or math.isnan(excess):
            return mode in row.passed, 0.0, 0.0, -math.inf
        return False, excess, m.differ if m.lsb_differ is None else m.lsb_differ, -m.sqnr_db

    def to_json(self) -> dict[str, Any]:
        """JSON's own types; non-finite numbers as strings, see `Metrics.to_json`."""
        fault = self.first_fault
        return {
            "candidate": self.candidate,
            "numerics": self.numerics,
            "model_sha256": self.model_sha256,
            "samples": self.samples,
            "passed": self.passed,
            "layers": [row.to_json() for row in self.rows],
            "outputs": [output.to_json() for output in self.outputs],
            "first_fault": fault and {**_names(fault), **_tensor_json(fault.tensor)},
            "isolated_faults": [row.node for row in self.isolated_faults],
            "undecided": self.undecided,
            "constant": self.constant,
            "missing": [asdict(missing) for missing in self.missing],
            "thresholds": {name: json_number(value) for name, value in asdict(self.thresholds).items()},
        }

    def to_pandas(self) -> Any:
        """A DataFrame, one row per node output, metrics in columns such as `isolated.lsb_max`.

        Raises: UsageError when pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("A DataFrame needs pandas, which is not here. `pip install pandas`.") from None
        return pandas.DataFrame([_flat(row) for row in self.rows])


def first_fault(graph: Graph, rows: Sequence[Row], mode: Mode = "cumulative") -> Row | None:
    """The first node, in order of execution, that fails while every one of its inputs passes.

    Drift is no failure, nor is what is undecided. An input that was not measured counts as its producer's inputs do;
    the graph's inputs and constants pass.
    """
    verdicts = {row.tensor.index: row.passed[mode] or row.drift or row.undecided for row in rows if mode in row.passed}
    row_of = {row.tensor.index: row for row in rows}
    healthy: dict[int, bool] = {}
    for node in graph.nodes:
        inputs_pass = all(healthy.get(t, True) for t in node.inputs)
        for t in node.outputs:
            healthy[t] = verdicts.get(t, inputs_pass)
            if inputs_pass and not healthy[t]:
                return row_of[t]
    return None


def drifted(graph: Graph, rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows, with `drift` where that is all that is wrong."""
    verdicts = {row.tensor.index: {**row.passed, "isolated": _right(row)} for row in rows}
    healthy = dict.fromkeys(graph.inputs, True)  # of what depends on the inputs: no layer up to here is wrong
    for node in graph.nodes:
        before = [healthy[t] for t in node.inputs if t in healthy]
        if before and node.op not in ("SHAPE", "RANK"):  # a shape depends on no values, and is known to the candidate
            healthy.update({t: all(before) and verdicts.get(t, {}).get("isolated", False) for t in node.outputs})
    drift = {t for t, passed in verdicts.items() if passed.get("cumulative") is False and healthy.get(t, False)}
    return tuple(replace(row, drift=row.tensor.index in drift and not row.undecided) for row in rows)


def _right(row: Row) -> bool:
    """By itself, as far as the comparison can tell."""
    return row.undecided or row.passed.get("isolated", False)


def _names(row: Row) -> dict[str, str]:
    return {"node": row.node, "layer": row.layer, "op": row.op}


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    return {
        "tensor": tensor.name,
        "tensor_index": tensor.index,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
    }


def _flat(row: Row) -> dict[str, Any]:
    flat = {name: value for name, value in row.to_json().items() if not isinstance(value, dict)}
    for mode in MODES:
        flat[f"{mode}.passed"] = row.passed.get(mode)
        flat.update({f"{mode}.{metric}": row.value(mode, metric) for metric in METRICS})
    return flat
