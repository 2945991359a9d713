"""The exact twin of every network that computes on codes: every element, isolated and chained, is the device's.

Eight random samples each, on the kernel sets of this machine. What cannot be the device's is listed, with the reason;
an entry that is true no more fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from exactness import differing, has_codes
from test_networks import CRASHES_THE_RUNTIME, REFUSED_BY_LITEBACK, SHARED, where_it_may_crash

from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose
from liteback.session.board import Board, RunOptions

SAMPLES = 8
KERNEL_SETS = {
    "builtin": (RunOptions(runtime="tflite_runtime", kernels="builtin"), "tflite_runtime-2.14-builtin-x86_64"),
    "reference": (RunOptions(runtime="tflite_runtime", kernels="reference"), "reference"),
    "xnnpack": (RunOptions(runtime="ai_edge_litert", kernels="default"), "ai_edge_litert-2.3-xnnpack-x86_64"),
}
NO_TWIN = {*REFUSED_BY_LITEBACK, CRASHES_THE_RUNTIME}
NETWORKS = [
    path.stem
    for path in sorted(SHARED.glob("networks/*.tflite"))
    if f"networks/{path.stem}" not in NO_TWIN and has_codes(lift(path.read_bytes()))
]


@dataclass(frozen=True)
class Gap:
    """drift: mode and node -> (share of elements, error), at most."""

    reason: str
    drift: dict[str, tuple[float, float]] = field(default_factory=dict)


AFTER_SOFTMAX = Gap("a layer of real values before it", drift={"cumulative quantize_003": (1e-3, 1)})
AFTER_SIGMOIDS = Gap(
    "sigmoids of real values before it", drift={"cumulative dense_019": (1, 1e-6), "cumulative dense_037": (1, 1e-6)}
)
GAPS = {
    ("model_quant_1", "builtin"): AFTER_SIGMOIDS,
    ("model_quant_1", "reference"): AFTER_SIGMOIDS,
    ("model_quant_1", "xnnpack"): AFTER_SIGMOIDS,
    ("partly_quantized_mnist", "builtin"): AFTER_SOFTMAX,
    ("partly_quantized_mnist", "reference"): AFTER_SOFTMAX,
}


def test_the_networks_are_here(shared_models: Path) -> None:
    assert len(NETWORKS) >= 18
    assert {name for name, _ in GAPS} <= set(NETWORKS)


@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_element_is_the_devices(name: str, kernels: str, board: Board, tmp_path: Path) -> None:
    path, (options, profile) = SHARED / "networks" / f"{name}.tflite", KERNEL_SETS[kernels]
    inputs = random_inputs(lift(path.read_bytes()).main, SAMPLES, seed=1)
    with where_it_may_crash(f"networks/{name}"):
        recording = board.capture(path, inputs, tmp_path / "recording", options=options)
    assert propose(recording.manifest) == KernelProfile.named(profile)
    gap = GAPS.get((name, kernels), Gap(""))
    found = differing(recording, propose(recording.manifest))
    assert found.keys() == gap.drift.keys(), found
    for node, (share, error) in gap.drift.items():
        assert found[node].wrong <= share * found[node].elements
        assert found[node].error <= error
