"""Whether the exact twin is the device, element by element."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liteback.emit.build import emit
from liteback.ir import Graph, Model
from liteback.lift import lift
from liteback.numerics.operator import Operator
from liteback.numerics.profile import KernelProfile
from liteback.recording import Recording
from liteback.twin import KerasTwin


@dataclass
class Difference:
    """Of how many elements some differ, and by how much: in codes, or as a share of the largest real value."""

    elements: int = 0
    wrong: int = 0
    error: float = 0.0

    def add(self, value: NDArray[np.generic], expected: NDArray[np.generic]) -> None:
        assert (value.dtype, value.shape) == (expected.dtype, expected.shape)
        self.elements += value.size
        differ = value != expected
        if differ.any():
            self.wrong += int(np.count_nonzero(differ))
            unit = np.abs(expected).max() if expected.dtype.kind == "f" else 1
            off = np.abs(value[differ].astype(np.float64) - expected[differ].astype(np.float64)).max()
            self.error = max(self.error, float(off / unit))


def has_codes(model: Model) -> bool:
    """Whether an operator of the model, in any of its graphs, computes on codes."""
    return any(Operator.of(node, graph).on_codes for graph in model.graphs for node in graph.nodes)


def differing(recording: Recording, profile: KernelProfile) -> dict[str, Difference]:
    """By mode and node, what differs of what the operators that read or write codes compute; real values too."""
    model = lift(recording.model_bytes())
    twin = KerasTwin.of(emit(model, "exact", profile=profile))
    computed = dict(results(model.main))
    found: dict[str, Difference] = {}
    for sample in range(recording.sample_count):
        inputs, device = recording.inputs(sample), recording.tensors(sample)
        for mode, values in (("cumulative", twin.cumulative(inputs)), ("isolated", twin.isolated(device))):
            for tensor in computed.keys() & device.keys():
                found.setdefault(f"{mode} {computed[tensor]}", Difference()).add(values[tensor], device[tensor])
    assert found
    return {name: difference for name, difference in found.items() if difference.wrong}


def results(graph: Graph) -> Iterator[tuple[int, str]]:
    """What operators on codes compute, and their names."""
    for node in graph.nodes:
        if Operator.of(node, graph).on_codes:
            yield from ((tensor, node.name) for tensor in node.outputs)
