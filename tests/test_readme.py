"""The README's commands, and the page for Python, run: the files come from the demo, each from top to bottom."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from absent import absent

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BIN = Path(sys.executable).parent


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def session() -> list[tuple[str, str]]:
    """Every (command, what the README shows of its output)."""
    parts = re.split(r"^\$ (.*)\n", "".join(blocks("console")), flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("readme")
    result = run([sys.executable, "-m", "liteback.demo", "demo-out"], folder)
    assert result.returncode == 0, result.stderr
    assert "the fine-tuned file on the device" in result.stdout
    return folder


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "96", "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False
    )


def shape(text: str) -> list[str]:
    """The words of a text without its numbers, which are another machine's."""
    return re.findall(r"[a-z_]{4,}", re.sub(r"\S*\d\S*", "", text))


def test_the_session(demo: Path) -> None:
    assert len(session()) >= 7
    for command, shown in session():
        result = run(shlex.split(command), demo)
        assert result.returncode == 0, f"{command}\n{result.stderr}"
        first = shown.partition("\n")[0]
        assert set(shape(first)) <= set(shape(result.stdout)), f"{command} says\n{result.stdout}\nthe README\n{first}"


def test_the_python_example(demo: Path) -> None:
    (code,) = blocks("python")
    result = run([sys.executable, "-c", code], demo)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_the_page_for_python(demo: Path) -> None:
    code = "\n".join(blocks("python", (ROOT / "docs" / "python.md").read_text()))
    result = run([sys.executable, "-c", code], demo)
    assert result.returncode == 0, result.stderr
    tuned, errors, compared, *_ = result.stdout.splitlines()
    assert "<Proof passed:" in tuned
    before, after = map(float, errors.split())
    assert after < before / 2
    assert "first fault: conv2d_000" in compared


def test_the_two_commands_are_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", "".join(blocks("sh")), flags=re.MULTILINE)) <= targets
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_the_package_is_found_from_the_folder_that_the_clone_is_in(tmp_path: Path) -> None:
    """A namespace package of the clone's name would be found first."""
    if not (Path(sysconfig.get_path("purelib")) / "liteback_roots.pth").exists():
        absent("this environment was not made by make")
    (tmp_path / "liteback").mkdir()
    result = run([sys.executable, "-c", "import liteback; print(liteback.inspect)"], tmp_path)
    assert result.returncode == 0, result.stderr


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
