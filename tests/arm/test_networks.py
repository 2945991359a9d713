"""The exact twin of real networks against the aarch64 wheel: every element of every quantized tensor is the device's.

Fewer samples than on this machine's own kernels, two, and one of the large networks: emulation is slow.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from exactness import differing

from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose
from liteback.session.board import Board, RunOptions

SAMPLES = 2
LARGE = {  # of which one sample, of a hundred tensors or more, has to do
    "movenet_single_pose_lightning_ptq",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29",
    "detection",
}
PROFILES = {"builtin": "tflite_runtime-2.14-builtin-aarch64", "reference": "tflite_runtime-2.14-reference-aarch64"}
NETWORKS = [
    "pretrainedResnet_quant",
    "model_ToyCar_quant_fullint",
    "model_ToyCar_quant_fullint_micro_intio",
    "mobilenet_v1_0.25_128_quant",
    "keyword_spotting_pacman",
    "micro_speech_quantized",
    "movenet_single_pose_lightning_ptq",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29",
    "trained_lstm_int8",
    "okay_nabu",
    "detection",
    "conv0",
    "rock_paper_scissors",
    "hello_world_int8",
]


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
