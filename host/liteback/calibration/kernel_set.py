"""Which kernels a board computed with, found from what it computed.

Each node's operator is computed from the device's own inputs in every way in which kernel sets are known to compute
it. A way that gives the device's own result, bit for bit, on every sample is one that the device may have taken.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.state import variables_of, zeros
from liteback.ir import ABSENT, Graph, Node
from liteback.numerics.operator import Operator, compute, is_moving, variants_of
from liteback.numerics.profile import KernelProfile
from liteback.passes.fold_dequantize import held
from liteback.recording import Recording

Codes = Mapping[int, NDArray[Any]]  # tensor index -> what the device had
REACH = 4  # LSB; a histogram's bins beyond it are one on each side


@dataclass(frozen=True)
class NodeFit:
    """How a node's known variants compare with the device.

    differing: variant -> elements in which it differs from the device; a variant that cannot compute the node is not
    among them. telling: elements in which the variants differ from each other. histogram: of the nearest variant,
    code - device's code -> elements. reason: why nothing was compared.
    """

    node: str
    index: int
    kind: str
    elements: int = 0
    differing: Mapping[str, int] = field(default_factory=dict)
    telling: int = 0
    histogram: Mapping[str, int] = field(default_factory=dict)
    reason: str = ""

    @property
    def exact(self) -> tuple[str, ...]:
        """The variants that gave the device's bits, the reference's first."""
        return tuple(v for v, count in self.differing.items() if count == 0)

    @property
    def nearest(self) -> str:
        return min(self.differing, key=lambda v: self.differing[v], default="")

    @property
    def undetermined(self) -> bool:
        """Several variants are exact: no element of these samples tells one from the other."""
        return len(self.exact) > 1

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "kind": self.kind,
            "elements": self.elements,
            "exact": list(self.exact),
            "undetermined": self.undetermined,
            "telling": self.telling,
            "differing": dict(self.differing),
        }


@dataclass(frozen=True)
class KernelSet:
    """The profile that fits a recording best, and what each node said of it.

    alike: shipped profiles that fit these samples just as well.
    """

    profile: KernelProfile
    fits: tuple[NodeFit, ...]
    alike: tuple[str, ...] = ()

    @property
    def unmatched(self) -> tuple[NodeFit, ...]:
        """Nodes that no known variant reproduces."""
        return tuple(f for f in self.fits if not f.exact)


def find_kernel_set(
    graph: Graph,
    recording: Recording,
    samples: Sequence[int],
    proposals: Sequence[KernelProfile],
    progress: Callable[[int, int], None] | None = None,
) -> KernelSet:
    """Find the kernel set that a recording was made with.

    graph: simplified for codes. samples: those to look at. proposals: known profiles, the likeliest first. The profile
    is the proposal that disagrees with the fewest nodes, with the variants that the device shows instead where it
    disagrees; what these samples do not determine stays as the proposal has it.
    """
    trials = [t for node in graph.nodes if (t := _Trial.of(node, graph)) is not None]
    for done, sample in enumerate(samples, 1):
        device = recording.tensors(sample)
        for trial in trials:
            trial.add(device)
        if progress is not None:
            progress(done, len(samples))
    fits = tuple(t.fit() for t in trials)
    misfits = [sum(not _agrees(p, f) for f in fits) for p in proposals]
    best = misfits.index(min(misfits))
    alike = tuple(
        p.name for p, m in zip(proposals, misfits, strict=True) if m == misfits[best] and p != proposals[best]
    )
    return KernelSet(adapted(proposals[best], fits), fits, alike)


def adapted(profile: KernelProfile, fits: Iterable[NodeFit]) -> KernelProfile:
    """The profile itself where it agrees with every node that has an exact variant; else a copy that does."""
    known = [f for f in fits if f.exact]
    by_kind: dict[str, list[NodeFit]] = defaultdict(list)
    for fit in known:
        by_kind[fit.kind].append(fit)
    changed = {}
    for kind, group in by_kind.items():
        if not all(_agrees(profile, f) for f in group):
            votes = Counter(v for f in group for v in f.exact)
            changed[kind] = max(votes, key=lambda v: votes[v])
    if not changed:
        return profile
    new = replace(profile, name=f"{profile.name}-adapted", variants={**profile.variants, **changed})
    return new.with_nodes({f.index: f.exact[0] for f in known if not _agrees(new, f)})


def _agrees(profile: KernelProfile, fit: NodeFit) -> bool:
    """Whether a profile's variant is one of the exact ones; where there is none, no profile is better than another."""
    variant = profile.variant(fit.kind, fit.index) or next(iter(fit.differing), "")
    return not fit.exact or variant in fit.exact


class _Trial:
    """One node in all its variants, sample after sample."""

    def __init__(self, node: Node, graph: Graph, operator: Operator) -> None:
        self.node, self.graph, self.operator = node, graph, operator
        self.reason = ""
        self.elements = self.telling = 0
        self.differing = dict.fromkeys(variants_of(operator.kind), 0)
        self.histograms: dict[str, Counter[int]] = {v: Counter() for v in self.differing}
        self.computed: dict[str, Any] = {}

    @classmethod
    def of(cls, node: Node, graph: Graph) -> _Trial | None:
        """The trial of a node that computes with codes; None for what only moves them, or has real values."""
        operator = Operator.of(node, graph)
        return cls(node, graph, operator) if operator.on_codes and not is_moving(operator) else None

    def add(self, device: Codes) -> None:
        unseen = [t for t in (*self._computed_inputs(), *self.node.outputs) if t not in device]
        if unseen:
            self.reason = f"the recording does not hold {self.graph.label(unseen[0])}"
        if self.reason:
            return
        feeds = [tf.constant(device[t]) for t in self._computed_inputs()]
        wanted = [device[t] for t in self.node.outputs]
        results = {v: r for v in list(self.differing) if (r := self._result(v, feeds)) is not None}
        self.elements += sum(a.size for a in wanted)
        for variant, values in results.items():
            pairs = list(zip(values, wanted, strict=True))
            self.differing[variant] += sum(int(_differ(a, b).sum()) for a, b in pairs)
            for a, b in pairs:
                self.histograms[variant].update(_steps(a, b))
        self.telling += _disagreements(list(results.values()))

    def fit(self) -> NodeFit:
        kind, name = self.operator.kind, self.node.name
        if self.reason or not self.differing:
            return NodeFit(name, self.node.index, kind, reason=self.reason or f"no exact kernel for {kind}")
        nearest = min(self.differing, key=lambda v: self.differing[v])
        histogram = _words(self.histograms[nearest]) if self.differing[nearest] else {}
        return NodeFit(name, self.node.index, kind, self.elements, self.differing, self.telling, histogram)

    def _result(self, variant: str, feeds: Sequence[Any]) -> list[NDArray[Any]] | None:
        """What a variant gives; None, and the variant is out, where it cannot compute the node."""
        try:
            if variant not in self.computed:  # traced once: what a kernel prepares of its constants, it prepares once
                computation = tf.function(self._computation(variant), autograph=False)
                self.computed[variant] = computation.get_concrete_function(*feeds)
            values = self.computed[variant](*feeds)
        except NotImplementedError as error:
            del self.differing[variant]
            self.reason = "" if self.differing else str(error)
            return None
        values = values if isinstance(values, (list, tuple)) else [values]
        return [np.asarray(v) for v in values][: len(self.node.outputs)]

    def _computation(self, variant: str) -> Callable[..., Any]:
        operator = self.operator.in_variant(variant)

        def run(*feeds: Any) -> Any:
            given = dict(zip(self._computed_inputs(), feeds, strict=True))
            return compute(operator, [given[t] if t in given else self._held(t) for t in self.node.inputs])

        return run

    def _computed_inputs(self) -> list[int]:
        """The inputs that the device computed, each once."""
        tensors = self.graph.tensors
        computed = (t for t in self.node.inputs if t != ABSENT and not tensors[t].is_constant)
        return list(dict.fromkeys(t for t in computed if not tensors[t].is_variable))

    def _held(self, index: int) -> Any:
        """A constant's codes; what a variable holds when a sample begins, None where that is no state that lasts."""
        if index == ABSENT:
            return None
        tensor = self.graph.tensors[index]
        lasting = tensor.is_variable and index in variables_of(self.graph)
        return zeros(tensor, codes=True) if lasting else held(self.graph, tensor)


def _differ(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Element by element: other bits. Of another shape, all of them."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.ones(b.shape, np.bool_)
    if a.dtype.kind == "f":
        return np.asarray((a != b) & ~(np.isnan(a) & np.isnan(b)))
    return np.asarray(a != b)


def _disagreements(results: Sequence[Sequence[NDArray[Any]]]) -> int:
    """Elements in which not all results are the same."""
    if len(results) < 2:
        return 0
    others = zip(*results, strict=True)
    return sum(int(np.logical_or.reduce([_differ(first, r) for r in rest]).sum()) for first, *rest in others)


def _steps(a: NDArray[Any], b: NDArray[Any]) -> Counter[int]:
    """Code differences, those beyond REACH as REACH + 1; none for real values."""
    if a.dtype.kind not in "iu" or a.shape != b.shape:
        return Counter()
    beyond = REACH + 1
    values, counts = np.unique(np.clip(a.astype(np.int64) - b.astype(np.int64), -beyond, beyond), return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _words(counts: Counter[int]) -> dict[str, int]:
    """A histogram's bins in words, as `Metrics.lsb_histogram` has them."""
    return {f"<{-REACH}" if q < -REACH else f">{REACH}" if q > REACH else str(q): counts[q] for q in sorted(counts)}
