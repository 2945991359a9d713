"""The boxes themselves: what the tests of a deployment rely on."""

from __future__ import annotations

import subprocess

import pytest

from board.namespaces import NamespaceBox

pytestmark = pytest.mark.board


def ssh(box: NamespaceBox, command: str) -> str:
    """What `command` prints in the box, through OpenSSH's client with a strict check of the host key."""
    return subprocess.run(
        ["ssh", "-F", box.ssh_config, "box", command], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_openssh_logs_in(box: NamespaceBox) -> None:
    assert ssh(box, "id -un; uname -m; python3 -V").split("\n") == ["pi", "x86_64", "Python 3.11.2"]
