"""From nothing to a finished round trip on an arm64 board: real aarch64 wheels, real networks, emulated CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from board.namespaces import NamespaceBox
from deploy.cli import Cli

pytestmark = [pytest.mark.arm, pytest.mark.networks, pytest.mark.slow]

NETWORKS = ["pretrainedResnet_quant.tflite", "mobilenet_v1_0.25_128_quant.tflite"]


@pytest.fixture(scope="module")
def deployed(arm_box: NamespaceBox) -> NamespaceBox:
    """A board on which nothing was before; the first test deploys to it, the others find the agent there."""
    return arm_box


@pytest.mark.parametrize("network", NETWORKS)
def test_from_nothing_to_a_round_trip(
    network: str, deployed: NamespaceBox, cli: Cli, shared_models: Path, tmp_path: Path
) -> None:
    cli.knows(arm=deployed)
    result = cli.document("deploy", "arm", timeout=600)
    assert result["bundle"]["runtime"] == "tflite_runtime 2.14.0"
    assert result["facts"]["machine"] == "aarch64"

    model = shared_models / "networks" / network
    trip = cli.document("roundtrip", model, "--random", 2, "--target", "arm", "-o", tmp_path / "trip", timeout=900)
    assert trip["capture"]["certificate"]["good"]
    assert trip["prove"]["passed"]
    assert all(certificate["good"] for certificate in trip["prove"]["certificates"].values())
    assert trip["export"]["identical_bytes"]
    manifest = (tmp_path / "trip" / "recording" / "manifest.json").read_text()
    assert '"aarch64"' in manifest
    assert '"2.14.0"' in manifest
    assert trip["calibrate"]["exact_share"] == 1.0
