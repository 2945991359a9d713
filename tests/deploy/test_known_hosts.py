"""known_hosts as OpenSSH reads it, with ssh-keygen as the judge of hashed lines."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest

from liteback_deploy.known_hosts import fingerprint, known_as, known_keys, line_for

BLOB = base64.b64decode("AAAAC3NzaC1lZDI1NTE5AAAAIAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g")
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()}"


def keys(tmp_path: Path, text: str, name: str) -> list[str]:
    file = tmp_path / "known_hosts"
    file.write_text(text)
    return [f"{key.line}{'!' if key.revoked else ''}" for key in known_keys([file, tmp_path / "none"], name)]


@pytest.mark.parametrize(
    ("names", "name", "known"),
    [
        ("board", "board", True),
        ("board,10.0.0.7", "10.0.0.7", True),
        ("board", "boards", False),
        ("Board", "BOARD", True),
        ("[board]:2222", "[board]:2222", True),
        ("board", "[board]:2222", False),
        ("*.lab,!dmz.lab", "pi.lab", True),
        ("*.lab,!dmz.lab", "dmz.lab", False),
        ("pi?", "pi4", True),
        ("[10.0.0.?]:22*", "[10.0.0.7]:2222", True),
        ("[ab]c", "ac", False),  # a bracket is a bracket here
    ],
)
def test_names_and_patterns(names: str, name: str, known: bool, tmp_path: Path) -> None:
    assert bool(keys(tmp_path, f"{names} {KEY}\n", name)) == known


def test_other_lines(tmp_path: Path) -> None:
    lines = ["# a comment", "", f"board {KEY} me@here", f"@revoked board {KEY}", f"@cert-authority board {KEY}"]
    text = "\n".join([*lines, "board ssh-ed25519 ?", "board"])
    assert keys(tmp_path, text, "board") == ["3", "4!"]


def test_a_file_that_openssh_hashed(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"[board]:2222 {KEY}\nother {KEY}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "board" not in file.read_text()
    assert [key.line for key in known_keys([file], "[board]:2222")] == [1]
    assert known_keys([file], "board") == []
    (tmp_path / "broken").write_text(f"|1|?|? {KEY}\n")
    assert known_keys([tmp_path / "broken"], "board") == []


def test_the_fingerprint_is_openssh_s(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(KEY + "\n")
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "key.pub")], check=True, capture_output=True, text=True
    )
    assert fingerprint(BLOB) in said.stdout.split()


def test_a_line_is_found_again(tmp_path: Path) -> None:
    name = known_as("board", 2222)
    assert keys(tmp_path, line_for(name, "ssh-ed25519", BLOB) + "\n", name) == ["1"]
    assert known_as("board", 22) == "board"
