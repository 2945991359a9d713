"""The README's commands for a board, run on one; the options of every command that the docs show exist."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from board.namespaces import NamespaceBox
from deploy.cli import Cli

ROOT = Path(__file__).parents[2]


def commands(path: Path, heading: str) -> list[str]:
    """The commands of the first shell block under a heading."""
    section = path.read_text().partition(f"\n## {heading}\n")[2]
    match = re.search(r"^```sh\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1].splitlines()


@pytest.mark.board
@pytest.mark.slow
def test_the_readme_s_board(new_box: Callable[..., NamespaceBox], cli: Cli, tmp_path: Path) -> None:
    box = new_box()
    cli.boards.write_text(f'[boards."pi@raspberrypi"]\ntarget = "box"\nssh_config = "{box.ssh_config}"\n')
    subprocess.run([sys.executable, "-m", "liteback.demo", "demo-out"], cwd=tmp_path, check=True, capture_output=True)
    lines = commands(ROOT / "README.md", "On a real board")
    assert len(lines) >= 4
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "liteback"
        result = subprocess.run(
            cli.command(*arguments),
            cwd=tmp_path,
            env=cli.env(),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, f"{line}\n{result.stderr}"
    assert (tmp_path / "trip-pi" / "report.html").is_file()


def test_the_boards_file_of_the_manual(tmp_path: Path) -> None:
    from liteback_deploy import boards

    (text,) = re.findall(r"^```toml\n(.*?)^```", (ROOT / "docs" / "boards.md").read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "boards.toml").write_text(text)
    assert set(boards.read(tmp_path / "boards.toml").boards) == {"kitchen", "coral"}
