"""The exact twin of real networks against the aarch64 wheel: every element of every quantized tensor is the device's.

Eight samples, and one of the large networks: emulation is slow. `record_networks.py` has kept eight of those as well,
which `tests/host/numerics/test_arm_recordings.py` holds the twin to.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from exactness import differing

from arm.record_networks import NETWORKS, SAMPLES
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose
from liteback.session.board import Board, RunOptions

LARGE = {  # of which one sample, of a hundred tensors or more, has to do
    "movenet_single_pose_lightning_ptq",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29",
    "detection",
}
PROFILES = {"builtin": "tflite_runtime-2.14-builtin-aarch64", "reference": "tflite_runtime-2.14-reference-aarch64"}


@pytest.mark.aarch64
def test_the_emulated_board_is_aarch64(arm_board: Board) -> None:
    assert (arm_board.info.machine, arm_board.info.bits) == ("aarch64", 64)
    assert [(r.name, r.version) for r in arm_board.info.runtimes] == [("tflite_runtime", "2.14.0")]


@pytest.mark.aarch64
@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kernels"), [*((name, "builtin") for name in NETWORKS), ("pretrainedResnet_quant", "reference")]
)
def test_every_quantized_tensor_is_the_devices(
    name: str, kernels: str, shared_models: Path, arm_board: Board, tmp_path: Path
) -> None:
    path = shared_models / "networks" / f"{name}.tflite"
    inputs = random_inputs(lift(path.read_bytes()).main, 1 if name in LARGE else SAMPLES, seed=1)
    options = RunOptions(runtime="tflite_runtime", kernels=kernels)
    recording = arm_board.capture(path, inputs, tmp_path / "recording", options=options)
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good
    profile = propose(recording.manifest)
    assert profile == KernelProfile.named(PROFILES[kernels])
    assert differing(recording, profile) == {}
