"""The exact twin of the networks beside what the aarch64 wheel computed once: every element of every tensor.

`tests/arm/record_networks.py` made the recordings on an emulated board: hashes of each tensor in eight samples. The
twin runs by itself, from the network's inputs. Where all of it has the board's bits, so has each layer that is fed the
board's own values. Of the hybrid operators of the conformance cases it recorded the outputs.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conformance import feeds
from exactness import results

from absent import absent
from arm.record_networks import HYBRIDS, NETWORKS, RECORDED, SAMPLES, hashes, hybrid_cases, samples_of
from liteback.emit.build import emit
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile
from liteback.reconstruction import reconstruct
from liteback.twin import KerasTwin

PROFILES = {k: f"tflite_runtime-2.14-{k}-aarch64" for k in ("builtin", "reference")}
HYBRID: dict[str, dict[str, dict[str, str]]] = json.loads(HYBRIDS.read_text())
CONFORMANCE = Path(__file__).parents[4] / "shared" / "conformance"
CASES = hybrid_cases(CONFORMANCE) if CONFORMANCE.is_dir() else {}
RECORDINGS: dict[str, dict[str, str]] = json.loads(RECORDED.read_text())


def test_every_network_is_recorded() -> None:
    assert sorted(RECORDINGS) == sorted(NETWORKS)


@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_tensor_is_the_boards(name: str, shared_models: Path) -> None:
    data = (shared_models / "networks" / f"{name}.tflite").read_bytes()
    model, inputs, recorded = lift(data), samples_of(data), RECORDINGS[name]
    twin = KerasTwin.of(emit(model, "exact", profile=KernelProfile.named(PROFILES["builtin"])))
    assert hashes(inputs[sample] for sample in range(SAMPLES)).items() <= recorded.items()
    computed = dict(results(model.main))
    found = hashes(twin.cumulative(inputs[sample]) for sample in range(SAMPLES))
    assert {computed[t] for t in computed if found[str(t)] != recorded[str(t)]} == set()


def test_every_hybrid_case_is_recorded() -> None:
    if not CASES:
        absent(f"the conformance cases are not here: {CONFORMANCE}")
    assert HYBRID.keys() == PROFILES.keys()
    assert all(recorded.keys() == CASES.keys() for recorded in HYBRID.values())


@pytest.mark.slow
@pytest.mark.parametrize("kernels", PROFILES)
@pytest.mark.parametrize("name", CASES)
def test_every_hybrid_operator_is_the_boards(name: str, kernels: str) -> None:
    data = CASES[name].path.read_bytes()
    graph = lift(data).main
    inputs = feeds(graph, CASES[name].arrays())
    outputs = reconstruct(data, "exact", profile=PROFILES[kernels])(inputs[0] if len(inputs) == 1 else inputs)
    found = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    assert hashes([{t: np.asarray(v) for t, v in zip(graph.outputs, found, strict=True)}]) == HYBRID[kernels][name]
