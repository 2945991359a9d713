"""`liteback calibrate` from the outside: what it leaves, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calibration.network import network
from cli.running import document, liteback

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file and a recording of it."""
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "net.tflite").write_bytes(network())
    document("capture", folder / "net.tflite", "--random", 8, "-o", folder / "rec")
    return folder / "net.tflite", folder / "rec"


def test_the_profile_it_finds_makes_an_exact_model(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    model, recording = recorded
    found = document("calibrate", model, recording, "-o", tmp_path, "--gate", "cumulative.lsb_max==0")
    assert found["profile"]["name"] == "tflite_runtime-2.14-builtin-x86_64"
    assert found["exact_share"] == found["isolated_share"] == 1
    assert found["unmatched"] == []
    assert found["corrections"] == []
    assert json.loads((tmp_path / "calibration.json").read_text())["exact_share"] == 1
    assert not (tmp_path / "corrected.keras").exists()

    made = document(
        "reconstruct",
        model,
        "-o",
        tmp_path / "exact.keras",
        "--numerics",
        "exact",
        "--profile",
        tmp_path / "profile.json",
    )
    assert made["numerics"] == "exact"
    gates = ["--gate", "isolated.lsb_max==0", "--gate", "cumulative.lsb_max==0"]
    assert document("compare", tmp_path / "exact.keras", recording, *gates)["gates"] == []
    assert document("compare", model, recording, "--numerics", "exact", "--profile", tmp_path / "profile.json", *gates)


def test_another_kernel_set_is_not_the_boards(recorded: tuple[Path, Path]) -> None:
    model, recording = recorded
    other = ("--numerics", "exact", "--profile", "ai_edge_litert-2.3-xnnpack-x86_64", "--gate", "isolated.lsb_max==0")
    result = liteback("compare", model, recording, *other)
    assert result.returncode == 1
    assert "the gate is isolated.lsb_max==0" in result.stderr


def test_people_read_the_kernel_set_and_its_proof(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    result = liteback("calibrate", *recorded, "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    assert "100 % of all codes as the board does" in result.stdout
    assert "CONV_2D/int8" in result.stdout
    assert "nothing to gain" in result.stdout
    assert result.stderr == ""


def test_a_model_with_a_fault_is_corrected(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    import keras

    from liteback.reconstruction import reconstruct

    model = reconstruct(recorded[0])
    layer = model.get_layer("conv2d_000")
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel, bias + 1])
    model.save(tmp_path / "faulty.keras")
    found = document("calibrate", *recorded, "-o", tmp_path / "out", "--correct", tmp_path / "faulty.keras")
    assert found["corrections_kept"] == ["conv2d_000"]
    mended = keras.models.load_model(tmp_path / "out/corrected.keras").get_layer("conv2d_000").get_weights()
    assert abs(mended[1] - bias).max() < 0.1
    document("calibrate", *recorded, "-o", tmp_path / "out")
    assert not (tmp_path / "out/corrected.keras").exists(), "nothing was corrected this time"


def test_another_file_is_refused(recorded: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "other.tflite").write_bytes(network(seed=1))
    result = liteback("calibrate", tmp_path / "other.tflite", recorded[1], "-o", tmp_path / "out")
    assert result.returncode == 2
    assert "is not the file of the recording" in result.stderr
    assert not (tmp_path / "out").exists()
