"""The compatibility matrix: what each board gets, why another gets nothing, and that the wheels are there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.facts_of import board
from liteback_deploy.errors import BadRequest, Unsuitable
from liteback_deploy.matrix import RUNTIMES, SUPPORT, Selection, select

# board -> (machine, Python, glibc) and the runtime it gets.
BOARDS = {
    "Coral Dev Board, Mendel": (("aarch64", "3.7.3", "2.28"), "tflite-runtime==2.11.0"),
    "Raspberry Pi OS bullseye 64": (("aarch64", "3.9.2", "2.31"), "tflite-runtime==2.13.0"),
    "Raspberry Pi OS bullseye 32": (("armv7l", "3.9.2", "2.31"), "tflite-runtime==2.13.0"),
    "Ubuntu 22.04 arm64": (("aarch64", "3.10.12", "2.35"), "tflite-runtime==2.14.0"),
    "Raspberry Pi OS bookworm 64": (("aarch64", "3.11.2", "2.36"), "tflite-runtime==2.14.0"),
    "Raspberry Pi OS bookworm 32": (("armv7l", "3.11.2", "2.36"), "tflite-runtime==2.14.0"),
    "Ubuntu 24.04 arm64": (("aarch64", "3.12.3", "2.39"), "ai-edge-litert==2.3.0"),
    "Raspberry Pi OS trixie 64": (("aarch64", "3.13.5", "2.41"), "ai-edge-litert==2.3.0"),
    "Debian bookworm amd64": (("x86_64", "3.11.2", "2.36"), "tflite-runtime==2.14.0"),
}


@pytest.mark.parametrize("name", BOARDS)
def test_what_a_board_gets(name: str) -> None:
    (machine, python, glibc), runtime = BOARDS[name]
    selection = select(board(machine, python, glibc))
    assert runtime in selection.pins
    assert selection.board_numpy == (machine == "armv7l")
    assert any(pin.startswith("numpy==") for pin in selection.pins) != selection.board_numpy
    if runtime.startswith("tflite"):
        assert not any(pin.startswith("numpy==2") for pin in selection.pins)


def test_a_32_bit_userland_under_a_64_bit_kernel() -> None:
    selection = select(board("aarch64", "3.11.2", "2.36", python_bits=32, bits=32))
    assert selection.machine == "armv7l"


def test_the_tags_are_named_one_by_one() -> None:
    selection = select(board("aarch64", "3.11.2", "2.36"))
    assert selection.platforms[0] == "manylinux_2_36_aarch64"
    assert {"manylinux_2_34_aarch64", "manylinux2014_aarch64", "linux_aarch64"} <= set(selection.platforms)
    assert selection.abis == ("cp311", "abi3", "none")
    assert select(board("aarch64", "3.7.3", "2.28")).abis[0] == "cp37m"


def test_a_wanted_runtime() -> None:
    pi = board("aarch64", "3.11.2", "2.36")
    assert "ai-edge-litert==2.3.0" in select(pi, "ai_edge_litert").pins
    with pytest.raises(BadRequest, match=r"tflite_runtime or ai_edge_litert.*'onnx'"):
        select(pi, "onnx")


@pytest.mark.parametrize(
    ("machine", "python", "glibc", "runtime", "reason"),
    [
        ("armv6l", "3.11.2", "2.36", "", r"architecture is in the way.*armv6l"),
        ("riscv64", "3.13.0", "2.41", "", r"architecture is in the way"),
        ("aarch64", "3.11.2", "", "", r"C library is in the way.*musl"),
        ("armv7l", "3.13.5", "2.41", "", r"Python is in the way.*3\.8, 3\.9, 3\.10, 3\.11\.(.|\n)*64-bit system"),
        ("armv7l", "3.11.2", "2.36", "ai_edge_litert", r"runtime is in the way.*no wheel for armv7l"),
        ("aarch64", "3.6.9", "2.27", "", r"Python is in the way.*3\.7, 3\.8, 3\.9"),
        ("aarch64", "3.15.0", "2.41", "", r"Python is in the way"),
        ("aarch64", "3.12.3", "2.39", "tflite_runtime", r"Python is in the way: tflite_runtime"),
        ("armv7l", "3.11.2", "2.31", "", r"glibc is in the way.*2\.34 or newer.*Received: armv7l, glibc 2\.31"),
        ("aarch64", "3.12.0", "2.26", "", r"glibc is in the way.*2\.27"),
    ],
)
def test_what_is_in_the_way(machine: str, python: str, glibc: str, runtime: str, reason: str) -> None:
    with pytest.raises(Unsuitable, match=reason):
        select(board(machine, python, glibc), runtime)


def test_every_python_of_a_runtime_has_its_support() -> None:
    assert {python for r in RUNTIMES for python in r.pythons} == set(SUPPORT)


def resolved(selection: Selection, folder: Path) -> set[str]:
    """What pip finds for exactly these tags, without downloading it."""
    words = [w for tag in selection.platforms for w in ("--platform", tag)]
    words += [w for tag in selection.abis for w in ("--abi", tag)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", "-", "--ignore-installed"]
    command += ["--no-deps", "--only-binary", ":all:", "--target", str(folder), "--implementation", "cp"]
    command += ["--python-version", ".".join(map(str, selection.python)), "--ignore-requires-python", *words]
    result = subprocess.run([*command, *selection.pins], capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    found = (item["metadata"] for item in json.loads(result.stdout)["install"])
    return {f"{item['name'].lower().replace('_', '-').replace('.', '-')}=={item['version']}" for item in found}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_the_wheels_are_there(name: str, tmp_path: Path) -> None:
    selection = select(board(*BOARDS[name][0]))
    assert resolved(selection, tmp_path) == set(selection.pins)
