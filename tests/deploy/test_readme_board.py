"""The README's commands for a board, run on one; the options of every command that the docs show exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import small_models
from board.namespaces import NamespaceBox
from deploy.cli import Cli

ROOT = Path(__file__).parents[2]


def commands(path: Path, heading: str) -> list[str]:
    """The commands of the first shell block under a heading."""
    section = path.read_text().partition(f"\n## {heading}\n")[2]
    match = re.search(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1].splitlines()


def run(cli: Cli, folder: Path, lines: list[str]) -> None:
    """Run commands in a folder; each must end well."""
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "liteback"
        result = subprocess.run(
            cli.command(*arguments),
            cwd=folder,
            env=cli.env(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, f"{line}\n{result.stderr}"


@pytest.mark.board
@pytest.mark.slow
def test_the_readme_s_board(new_box: Callable[..., NamespaceBox], cli: Cli, tmp_path: Path) -> None:
    raspberry_pi(cli, new_box())
    subprocess.run([sys.executable, "-m", "liteback.demo", "demo-out"], cwd=tmp_path, check=True, capture_output=True)
    lines = commands(ROOT / "README.md", "On a real board")
    assert len(lines) >= 4
    run(cli, tmp_path, lines)
    assert (tmp_path / "trip-pi" / "report.html").is_file()


@pytest.mark.board
def test_the_manual_s_direct_connections(new_box: Callable[..., NamespaceBox], cli: Cli, tmp_path: Path) -> None:
    box = new_box()
    raspberry_pi(cli, box)
    (tmp_path / "model.tflite").write_bytes(small_models.chain(3))
    np.savez(tmp_path / "samples.npz", in_0=np.ones((2, 1, 8), np.float32))
    lines = commands(ROOT / "docs" / "boards.md", "Direct connections")
    assert len(lines) == 3
    # Its own port is not one that this box is reached at.
    run(cli, tmp_path, [f"{lines[0]} --direct-port {box.direct_port}", *lines[1:]])
    assert (tmp_path / "recording" / "manifest.json").is_file()


def raspberry_pi(cli: Cli, box: NamespaceBox) -> None:
    """The box as the manual's board."""
    cli.boards.write_text(f'[boards."pi@raspberrypi"]\ntarget = "box"\nssh_config = "{box.ssh_config}"\n')


def test_the_boards_file_of_the_manual(tmp_path: Path) -> None:
    from liteback_deploy import boards

    (text,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "boards.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "boards.toml").write_text(text)
    assert set(boards.read(tmp_path / "boards.toml").boards) == {"kitchen", "coral"}
