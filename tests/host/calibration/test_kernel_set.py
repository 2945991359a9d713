"""The kernel set is found from captured tensors alone, and a node that no kernel reproduces is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from calibration.network import POINTWISE, network

import tflite_build as build
from liteback.calibration.calibrate import calibrate
from liteback.calibration.kernel_set import NodeFit, adapted, find_kernel_set
from liteback.errors import UsageError
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, shipped
from liteback.passes import simplify
from liteback.reconstruction import reconstruct
from liteback.recording import PLAIN, Recording, RecordingWriter
from liteback.session.board import Board, RunOptions

KERNEL_SETS = {
    "builtin": (RunOptions(runtime="tflite_runtime", kernels="builtin"), "tflite_runtime-2.14-builtin-x86_64"),
    "reference": (RunOptions(runtime="tflite_runtime", kernels="reference"), "reference"),
    "xnnpack": (RunOptions(runtime="ai_edge_litert", kernels="default"), "ai_edge_litert-2.3-xnnpack-x86_64"),
}
Capture = Callable[..., Recording]


@pytest.fixture
def capture(board: Board, tmp_path: Path) -> Capture:
    def run(data: bytes, samples: int = 8, kernels: str = "builtin") -> Recording:
        inputs = random_inputs(lift(data).main, samples, seed=1)
        return board.capture(data, inputs, tmp_path / "recording", options=KERNEL_SETS[kernels][0])

    return run


def without_facts(recording: Recording) -> Recording:
    """The same, and nothing in it says what it was made with."""
    path = recording.path / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest |= {"runtime": "", "runtime_version": "", "kernels": "", "delegate": "", "board": {}}
    path.write_text(json.dumps(manifest))
    return Recording.open(recording.path)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_recording_without_facts_tells_its_kernel_set(kernels: str, capture: Capture) -> None:
    result = calibrate(without_facts(capture(network(), 16, kernels)))
    assert KERNEL_SETS[kernels][1] in (result.profile.name, *result.kernel_set.alike)
    assert result.kernel_set.unmatched == ()
    assert result.exact_share == result.isolated_share == 1


@pytest.mark.networks
@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_of_a_real_network_too(kernels: str, shared_models: Path, capture: Capture) -> None:
    data = (shared_models / "networks/pretrainedResnet_quant.tflite").read_bytes()
    result = calibrate(without_facts(capture(data, 8, kernels)))
    assert result.profile.name == KERNEL_SETS[kernels][1]
    assert result.exact_share == 1
    assert {f.node for f in result.kernel_set.fits if f.undetermined}  # ADD never ties


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_a_hybrid_layer_tells_its_kernel_set_in_real_values(kernels: str, capture: Capture) -> None:
    w = np.random.default_rng(1).integers(-127, 128, (12, 30)).astype(np.int8)
    tensors = [
        build.Tensor((4, 30), "float32"),
        build.Tensor(w.shape, "int8", w, scale=0.01, zero_point=0),
        build.Tensor((12,), "float32", np.linspace(-1, 1, 12, dtype=np.float32)),
        build.Tensor((4, 12), "float32"),
    ]
    data = build.build_model(build.Subgraph(tensors, [build.Op("FULLY_CONNECTED", [0, 1, 2], [3])], [0], [3]))
    result = calibrate(without_facts(capture(data, 4, kernels)))
    assert KERNEL_SETS[kernels][1] in (result.profile.name, *result.kernel_set.alike)
    assert result.exact
    assert (result.exact_share, result.hybrid_share) == (None, 1)
    assert "100 % of the hybrid layers' values" in result.proof


def test_codes_beside_hybrid_layers_do_not_speak_for_them(capture: Capture) -> None:
    """One tensor with codes is no proof of the layers without: both are told of, and both must be the board's."""
    w = np.random.default_rng(1).integers(-127, 128, (12, 30)).astype(np.int8)
    tensors = [
        build.Tensor((4, 30), "float32"),
        build.Tensor(w.shape, "int8", w, scale=0.01, zero_point=0),
        build.Tensor((4, 12), "float32"),
        build.Tensor((4, 30), "int8", scale=0.1, zero_point=0),
    ]
    nodes = [build.Op("FULLY_CONNECTED", [0, 1, -1], [2]), build.Op("QUANTIZE", [0], [3])]
    result = calibrate(capture(build.build_model(build.Subgraph(tensors, nodes, [0], [2, 3])), 4, "builtin"))
    assert (result.exact_share, result.hybrid_share, result.exact) == (1, 1, True)
    assert "100 % of all codes" in result.proof
    assert "100 % of the hybrid layers' values" in result.proof
    assert result.twin
    wrong = [replace(row, isolated=row.isolated and replace(row.isolated, differ=0.5)) for row in result.twin.rows]
    other = replace(result, twin=replace(result.twin, rows=tuple(wrong)))
    assert (other.exact_share, other.hybrid_share, other.exact) == (1, 0.5, False)
    refused = replace(result, twin=None, refusals=("no exact kernel",))
    assert (refused.provable, refused.exact) == (True, False), "a twin that cannot be built proves nothing"


def test_of_float_kernels_there_is_nothing_to_prove(capture: Capture) -> None:
    tensors = [build.Tensor((1, 4), "float32"), build.Tensor((1, 4), "float32")]
    data = build.build_model(build.Subgraph(tensors, [build.Op("RELU", [0], [1])], [0], [1]))
    result = calibrate(capture(data, 2, "builtin"))
    assert not result.provable
    assert not result.exact
    assert "No tensor of the file is quantized" in result.proof


def test_a_node_that_computes_otherwise_gets_its_own_variant() -> None:
    fits = [
        NodeFit("conv2d_000", 0, "CONV_2D/int8", 10, {"double": 1, "half-up": 0}, 1),
        NodeFit("conv2d_001", 1, "CONV_2D/int8", 10, {"double": 2, "half-up": 0}, 2),
        NodeFit("conv2d_002", 2, "CONV_2D/int8", 10, {"double": 0, "half-up": 3}, 3),
        NodeFit("add_003", 3, "ADD/int8", 10, {"double": 0, "single": 0}),
        NodeFit("softmax_004", 4, "SOFTMAX/int8", 10, {"plain": 4}),
    ]
    profile = adapted(shipped()["reference"], fits)
    kinds = [("CONV_2D/int8", 0), ("CONV_2D/int8", 1), ("CONV_2D/int8", 2), ("ADD/int8", 3)]
    assert [profile.variant(kind, node) for kind, node in kinds] == ["half-up", "half-up", "double", ""]
    assert profile.name != "reference"


def test_a_profile_that_fits_is_taken_as_it_is() -> None:
    fits = [NodeFit("conv2d_000", 0, "CONV_2D/int8", 10, {"double": 0, "half-up": 0})]
    assert adapted(shipped()["reference"], fits) is shipped()["reference"]


def test_a_node_that_no_kernel_reproduces_is_told_with_its_histogram(capture: Capture, tmp_path: Path) -> None:
    recording = tampered(capture(network()), lift(network()).main.outputs[0], tmp_path / "tampered")
    result = calibrate(recording)
    (missed,) = result.kernel_set.unmatched
    assert missed.node == POINTWISE
    assert missed.histogram["-2"] == 4 * 3  # three elements of each sample that was fitted to
    assert "no known kernel reproduces conv2d_002" in result.proof
    assert result.isolated_share is not None
    assert result.isolated_share < 1


def tampered(recording: Recording, tensor: int, path: Path) -> Recording:
    """A copy in which the device had two more in the first three elements of a tensor, in every sample."""
    manifest = replace(recording.manifest, certificate=None, files={}, invoke_ns={})
    writer = RecordingWriter.create(path, recording.model_bytes(), manifest)
    for sample in range(recording.sample_count):
        writer.write_inputs(sample, recording.inputs(sample))
        writer.write(sample, PLAIN, recording.plain(sample), 1)
        for number, tensors in enumerate(manifest.passes):
            arrays = {t: np.array(recording.tensors(sample)[t]) for t in tensors}
            if tensor in arrays:
                arrays[tensor].reshape(-1)[:3] = np.clip(arrays[tensor].reshape(-1)[:3], -128, 125) + 2
            writer.write(sample, number, arrays, 1)
    certificate = recording.manifest.certificate
    assert certificate is not None
    return writer.finish(certificate)


def test_what_was_not_captured_is_unmatched_and_says_so(board: Board, tmp_path: Path) -> None:
    data = network()
    inputs = random_inputs(lift(data).main, 2)
    recording = board.capture(data, inputs, tmp_path / "part", select=["conv2d_002"])
    graph = simplify(lift(data).main, codes=True)
    found = find_kernel_set(graph, recording, [0], [KernelProfile("reference")])
    reasons = {f.node: f.reason for f in found.unmatched}
    assert reasons[POINTWISE] == "the recording does not hold #6"


def test_one_sample_proves_nothing(capture: Capture) -> None:
    with pytest.raises(UsageError, match="Capture more"):
        calibrate(capture(network(), 1))


def test_corrections_are_of_a_float_model(capture: Capture) -> None:
    with pytest.raises(UsageError, match="Received: one in fakequant"):
        calibrate(capture(network(), 2), reconstruct(network(), "fakequant"))
