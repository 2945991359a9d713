"""The exact twin on real networks: every element of every quantized tensor, isolated and chained, is the device's."""

from __future__ import annotations

from pathlib import Path

import pytest
from exactness import differing

from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile, propose
from liteback.session.board import Board, RunOptions

SAMPLES = 8
NETWORKS = [
    "pretrainedResnet_quant",
    "mobilenet_v1_0.25_128_quant",
    "model_ToyCar_quant_fullint",
    "model_ToyCar_quant_fullint_micro_intio",
    "keyword_spotting_pacman",
    "micro_speech_quantized",
    "rock_paper_scissors",
    "hello_world_int8",
    "detection",
    "okay_nabu",
    "conv0",
    "movenet_single_pose_lightning_ptq",
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29",
    "deeplabv3_mnv2_dm05_pascal_quant",
]
KERNEL_SETS = {
    "builtin": (RunOptions(runtime="tflite_runtime", kernels="builtin"), "tflite_runtime-2.14-builtin-x86_64"),
    "reference": (RunOptions(runtime="tflite_runtime", kernels="reference"), "reference"),
    "xnnpack": (RunOptions(runtime="ai_edge_litert", kernels="default"), "ai_edge_litert-2.3-xnnpack-x86_64"),
}


@pytest.mark.networks
@pytest.mark.slow
@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_quantized_tensor_is_the_devices(
    name: str, kernels: str, shared_models: Path, board: Board, tmp_path: Path
) -> None:
    path, (options, profile) = shared_models / "networks" / f"{name}.tflite", KERNEL_SETS[kernels]
    inputs = random_inputs(lift(path.read_bytes()).main, SAMPLES, seed=1)
    recording = board.capture(path, inputs, tmp_path / "recording", options=options)
    assert propose(recording.manifest) == KernelProfile.named(profile)
    assert differing(recording, propose(recording.manifest)) == {}
