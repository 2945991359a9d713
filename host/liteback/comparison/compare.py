"""Compare a candidate with what the board computed, tensor by tensor, one sample in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol

from numpy.typing import NDArray

from liteback.comparison.metrics import Meter, Metrics
from liteback.comparison.result import MODES, Comparison, Missing, Mode, Output, Row, Thresholds, drifted, first_fault
from liteback.comparison.summands import Summands
from liteback.errors import UsageError
from liteback.ir import ABSENT, Graph, Node
from liteback.numerics.affine import dequantize
from liteback.numerics.operator import MOVING
from liteback.recording import Recording

Arrays = Mapping[int, NDArray[Any]]


class Candidate(Protocol):
    """What is compared with the board.

    A value of a quantized tensor is real when it is floating point, and codes when it has the tensor's
    integer type. layers: node -> the layer it is in the candidate, where that has another name.
    """

    name: str
    numerics: str
    layers: Mapping[str, str]

    def cumulative(self, inputs: Arrays) -> Arrays:
        """Codes of the graph's inputs -> the value of every tensor it can show, by tensor index."""

    def isolated(self, device: Arrays) -> Arrays:
        """Every recorded tensor's codes -> each node's outputs, each node fed the device's own inputs."""


def compare(
    graph: Graph,
    recording: Recording,
    candidate: Candidate,
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (frozen)
    progress: Callable[[int, int], None] | None = None,
    samples: Sequence[int] | None = None,
) -> Comparison:
    """Run the candidate on recorded samples, on all of them if none are named, and measure each tensor in both modes.

    progress: called as (samples done, samples).
    Raises: UsageError when there is nothing to compare, or the recording is of another graph.
    """
    drift = drifting(graph)
    inside = rounding(graph) if candidate.numerics == "float" else set()
    summands = Summands(graph)
    gauges = {t: _Gauge(graph, t, t in drift, t in inside) for t in _recorded(graph, recording)}
    samples = range(recording.sample_count) if samples is None else samples
    for done, sample in enumerate(samples, 1):
        device = recording.tensors(sample)
        for mode in MODES:
            cumulative = mode == "cumulative"
            shown = candidate.cumulative(recording.inputs(sample)) if cumulative else candidate.isolated(device)
            for tensor in gauges.keys() & shown.keys() & device.keys():
                gauges[tensor].add(mode, device[tensor], shown[tensor])
                if not cumulative:
                    gauges[tensor].summand = max(gauges[tensor].summand, summands.largest(tensor, device))
        if progress:
            progress(done, len(samples))
    return _comparison(graph, recording, candidate, thresholds, gauges, len(samples))


class RecordingCandidate:
    """Another recording as the candidate: two boards, two runtimes, an old file and a new one.

    Cumulative only: a recording cannot compute. graph: of the other recording's model; with it, codes become
    real values, so that files with different scales compare. tensors: index here -> index there, where the
    two files number their tensors differently.
    """

    layers: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self, recording: Recording, graph: Graph | None = None, tensors: Mapping[int, int] | None = None
    ) -> None:
        manifest = recording.manifest
        self.name = str(recording.path)
        self.numerics = f"{manifest.runtime} {manifest.runtime_version}, {manifest.kernels} kernels"
        self._recording = recording
        self._graph = graph
        self._tensors = tensors
        self._samples = {_digest(recording.inputs(i)): i for i in range(recording.sample_count)}

    def cumulative(self, inputs: Arrays) -> Arrays:
        """Raises: UsageError when the other recording has no sample of these inputs."""
        sample = self._samples.get(_digest(self._there(inputs)))
        if sample is None:
            raise UsageError(
                f"Two recordings are compared on the same inputs. {self.name} has no such sample. "
                "Capture both with the same --inputs."
            )
        theirs = {t: self._real(t, array) for t, array in self._recording.tensors(sample).items()}
        if self._tensors is None:
            return theirs
        return {ours: theirs[t] for ours, t in self._tensors.items() if t in theirs}

    def isolated(self, device: Arrays) -> Arrays:
        """Nothing."""
        return {}

    def _there(self, inputs: Arrays) -> Arrays:
        names = self._tensors or {}
        return {names.get(t, t): array for t, array in inputs.items()}

    def _real(self, index: int, codes: NDArray[Any]) -> NDArray[Any]:
        tensor = self._graph.tensors[index] if self._graph else None
        if tensor is None or tensor.quantization is None or not tensor.is_quantized:
            return codes
        return dequantize(codes, tensor.quantization)


class _Gauge:
    """The meters of one tensor, one for each mode."""

    def __init__(self, graph: Graph, tensor: int, drifts: bool, rounds: bool = False) -> None:
        self.tensor = graph.tensors[tensor]
        self.summand = 0.0  # the largest magnitude of what it is a sum of
        self.drifts, self.rounds = drifts, rounds
        self.top = (1, 5) if tensor in graph.outputs else ()
        self.meters: dict[Mode, Meter] = {}
        self.problems: dict[Mode, str] = {}

    def add(self, mode: Mode, device: NDArray[Any], candidate: NDArray[Any]) -> None:
        try:
            self.meters.setdefault(mode, Meter(self.tensor, self.top)).add(device, candidate)
        except ValueError as error:
            self.problems[mode] = str(error)

    def metrics(self, mode: Mode) -> Metrics | None:
        return self.meters[mode].result() if mode in self.meters and mode not in self.problems else None

    def passed(self, thresholds: Thresholds) -> dict[Mode, bool]:
        measured = {mode: m for mode in MODES if (m := self.metrics(mode))}
        verdicts = {
            mode: thresholds.passes(self.tensor, mode, m, self.drifts, self.summand) for mode, m in measured.items()
        }
        return {**dict.fromkeys(self.problems, False), **verdicts}

    def undecided(self, thresholds: Thresholds) -> bool:
        """Whether what is beyond the isolated threshold may be what the board's kernel rounds inside."""
        own = self.metrics("isolated")
        if not self.rounds or own is None or self.passed(thresholds)["isolated"]:
            return False
        return own.sqnr_db >= thresholds.sqnr_undecided


def drifting(graph: Graph) -> set[int]:
    """Tensors that nodes compute as codes or by way of codes, or in float16, or from such."""
    coarse = {t.index for t in graph.tensors if t.is_quantized or t.dtype == "float16"}
    found = coarse.intersection(graph.inputs)
    for node in graph.nodes:
        inherited = not found.isdisjoint(node.inputs) or _has_coded_weights(node, graph)
        found.update(t for t in node.outputs if inherited or t in coarse)
    return found


def _has_coded_weights(node: Node, graph: Graph) -> bool:
    """Whether a node computes with weights that are codes: of real activations, by a hybrid kernel."""
    weights = (graph.tensors[t] for t in node.inputs if t != ABSENT)
    return node.op != "DEQUANTIZE" and any(w.is_constant and w.is_quantized for w in weights)


def rounding(graph: Graph) -> set[int]:
    """Tensors of nodes whose kernels round inside what real numbers do not: hybrid ones, and those on int16 codes."""
    found: set[int] = set()
    for node in graph.nodes:
        taken = [graph.tensors[t] for t in node.inputs if t != ABSENT and not graph.tensors[t].is_constant]
        given = [graph.tensors[t] for t in node.outputs]
        hybrid = any(t.dtype == "float32" for t in taken) and _has_coded_weights(node, graph)
        if node.op not in MOVING and (hybrid or any(t.dtype == "int16" and t.is_quantized for t in (*taken, *given))):
            found.update(node.outputs)
    return found


def _recorded(graph: Graph, recording: Recording) -> list[int]:
    """Tensors that nodes compute and the recording holds."""
    if not recording.sample_count:
        raise UsageError(f"A comparison needs a sample. {recording.path} has none.")
    held = recording.tensors(0).keys()
    if max(held, default=0) >= len(graph.tensors):
        raise UsageError(
            f"A recording is compared with its own graph. The graph has {len(graph.tensors)} tensors. "
            f"Received: {recording.path}, which holds tensor #{max(held)}."
        )
    computed = [t for node in graph.nodes for t in node.outputs]
    return [t for t in computed if t in held]


def _comparison(
    graph: Graph,
    recording: Recording,
    candidate: Candidate,
    thresholds: Thresholds,
    gauges: Mapping[int, _Gauge],
    samples: int,
) -> Comparison:
    producers = graph.producers()
    measured, missing = [], []
    for t, gauge in gauges.items():
        node, passed = producers[t], gauge.passed(thresholds)
        if passed:
            note = "; ".join(f"{mode}: {problem}" for mode, problem in gauge.problems.items())
            metrics = gauge.metrics("cumulative"), gauge.metrics("isolated")
            layer = candidate.layers.get(node.name, node.name)
            row = Row(node.index, node.name, layer, node.op, gauge.tensor, *metrics, passed=passed, note=note)
            measured.append(replace(row, undecided=gauge.undecided(thresholds)))
        else:
            missing.append(Missing(node.name, gauge.tensor.name, f"{candidate.name} does not show it"))
    if not graph.nodes:
        raise UsageError("There is nothing to compare: the file computes nothing, its outputs are constants or inputs.")
    if not measured:
        raise UsageError(
            f"There is nothing to compare: {candidate.name} and {recording.path} share no tensor that a "
            "node computes. Check that both are of the same model, and the capture's --select."
        )
    rows = drifted(graph, measured)
    by_tensor = {row.tensor.index: row for row in rows}
    shown = [by_tensor[t] for t in graph.outputs if t in by_tensor and "cumulative" in by_tensor[t].passed]
    return Comparison(
        candidate=candidate.name,
        numerics=candidate.numerics,
        model_sha256=recording.manifest.model_sha256,
        samples=samples,
        thresholds=thresholds,
        rows=rows,
        outputs=tuple(
            Output(r.tensor, r.cumulative, r.passed["cumulative"], r.note, r.drift, r.undecided) for r in shown
        ),
        missing=tuple(missing),
        first_fault=first_fault(graph, rows),
    )


def _digest(arrays: Arrays) -> str:
    """Identity of a sample: its inputs, in the order of their indices."""
    digest = hashlib.sha256()
    for index in sorted(arrays):
        array: NDArray[Any] = arrays[index]
        # An array of strings has no bytes of its own, only pointers.
        content = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
        digest.update(f"{index} {array.dtype} {array.shape}".encode() + content)
    return digest.hexdigest()
