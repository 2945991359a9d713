"""The import rules between the four code folders, and the syntax floor of what runs on a board.

The table is DESIGN's: who may import what. It is checked on the text of every file, whatever branch an import hides
in; that the agent's server and `liteback inspect` really start without the heavy packages is tested where they are.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RUNTIMES = ("tflite_runtime", "ai_edge_litert")

# Source root -> top-level packages it must never import.
FORBIDDEN = {
    "proto/liteback_proto": {"liteback", "liteback_agent", "liteback_deploy", "tensorflow", "keras", "paramiko"},
    "device_agent/liteback_agent": {"liteback", "liteback_deploy", "tensorflow", "keras", "paramiko", "cryptography"},
    "host/liteback": {"liteback_agent", "tflite_runtime", "paramiko"},
    "deploy/liteback_deploy": {"tensorflow", "keras", "liteback_agent", "liteback"},
}
# What one module alone may import: package -> the module.
CONFINED = {
    "device_agent/liteback_agent": {runtime: "interpreter.py" for runtime in RUNTIMES},
    "deploy/liteback_deploy": {"paramiko": "ssh.py", "cryptography": "certificates.py"},
}


def files(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"no code in {folder}"
    return found


def imports(path: Path) -> Iterator[str]:
    """The absolute names a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_no_forbidden_import(folder: str) -> None:
    broken = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in imports(path)
        if name.split(".")[0] in FORBIDDEN[folder]
    ]
    assert not broken


@pytest.mark.parametrize("folder", CONFINED)
def test_confined_packages_are_imported_in_one_module(folder: str) -> None:
    broken = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files(folder)
        for name in imports(path)
        if CONFINED[folder].get(name.split(".")[0], path.name) != path.name
    ]
    assert not broken


def test_the_host_takes_only_the_schema_from_a_runtime_package() -> None:
    """`ai_edge_litert` holds the schema classes and an interpreter; TensorFlow and an interpreter share no process."""
    broken = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files("host/liteback")
        for name in imports(path)
        if name.startswith("ai_edge_litert") and name not in ("ai_edge_litert", "ai_edge_litert.schema_py_generated")
    ]
    assert not broken


@pytest.mark.parametrize("folder", ["proto/liteback_proto", "device_agent/liteback_agent"])
def test_board_code_has_the_syntax_of_python_3_7(folder: str) -> None:
    for path in files(folder):
        ast.parse(path.read_text(), feature_version=(3, 7))


@pytest.mark.parametrize("module", ["inspection", "lift", "passes", "recording", "comparison.compare", "session.board"])
def test_a_module_that_needs_no_tensorflow_does_not_load_it(module: str) -> None:
    code = f"import sys, liteback.{module}; print([m for m in ('tensorflow', 'keras') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


def test_no_path_of_a_machine_in_the_repository() -> None:
    """What is committed speaks of the project alone."""
    result = subprocess.run(
        ["git", "grep", "-nIE", r"(^|[^\w.])/(work|root|home)/\w", "--", ".", ":!tests/test_boundaries.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    boards_own = "/home/" + "pi"  # the user of a Raspberry Pi, and of the tests' boxes
    assert [line for line in result.stdout.splitlines() if boards_own not in line] == []
