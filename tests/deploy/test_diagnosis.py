"""What doctor says of a board: each thing that can be wrong, by its facts; and of a real one."""

from __future__ import annotations

from typing import Any

import pytest

from board.namespaces import NamespaceBox
from deploy.cli import Cli
from deploy.facts_of import facts
from liteback_deploy.diagnosis import Finding, findings

SOUND = {"version": "0.1.0-a", "current": "0.1.0-a", "service": "user", "linger": "yes", "running": "active"}


def wrong(**changes: Any) -> list[Finding]:
    return [finding for finding in findings(facts(**{**SOUND, **changes})) if not finding.ok]


def test_a_sound_board() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("changes", "name", "code", "remedy"),
    [
        ({"python": "", "python_path": ""}, "python (board)", 5, "apt install python3"),
        ({"machine": "riscv64"}, "runtime that fits", 5, "architecture is in the way"),
        ({"libstdcxx": ""}, "libstdc++", 5, "apt install libstdc++6"),
        ({"writable": ""}, "home", 5, "findmnt"),
        ({"disk_kib": 1000}, "home", 1, "du -xh"),
        ({"ram_kib": 1000}, "memory", 1, "end what else runs"),
        ({"linger": ""}, "services", 1, "sudo loginctl enable-linger"),
        ({"version": "", "current": ""}, "agent", 5, "liteback deploy"),
        ({"running": "failed"}, "agent runs", 5, "liteback agent logs"),
        ({"coral": "18d1:9302 480", "libedgetpu": "16.0TF2.14.0-1"}, "Edge TPU", 1, "USB 2 port or cable"),
        ({"coral": "1a6e:089a 5000"}, "libedgetpu", 5, "apt install libedgetpu1-std"),
        ({"coral": "18d1:9302 5000", "libedgetpu": "16.0"}, "libedgetpu", 1, "built with TF2.14"),
        ({"libedgetpu": "16.0TF2.17.1-1"}, "libedgetpu", 1, "built with TF2.14"),
        ({"millicelsius": 84000}, "temperature", 1, "Cool it"),
        ({"throttled": "throttled=0x50005"}, "throttling", 1, "under-voltage, throttled"),
        ({"clock": 1000 - 3600}, "clock", 1, "timedatectl"),
    ],
)
def test_what_is_wrong_and_how_to_mend_it(changes: dict[str, Any], name: str, code: int, remedy: str) -> None:
    (finding,) = wrong(**changes)
    assert (finding.name, finding.exit_code) == (name, code)
    assert remedy in finding.detail


def test_what_is_well() -> None:
    assert wrong(coral="18d1:9302 5000", libedgetpu="16.0TF2.14.0-1", millicelsius=50000) == []
    assert wrong(coral="pci 0", libedgetpu="16.0", python="3.7.3", glibc="glibc 2.28") == []
    throttled = [f for f in findings(facts(throttled="throttled=0x50000")) if f.name == "throttling"]
    assert throttled[0].ok  # it was, and is not now
    assert "since the start: under-voltage, throttled" in throttled[0].detail


@pytest.mark.board
def test_a_real_board(box: NamespaceBox, cli: Cli) -> None:
    cli.knows(box=box)
    before = cli("doctor", "--target", "box", "--json")
    assert before.returncode == 5
    assert '"agent"' in before.stdout
    cli.document("deploy", "box")
    checks = cli.document("doctor", "--target", "box")["checks"]
    names = [check["name"] for check in checks]
    order = ["reachable", "host key", "login", "forwarding", "python (board)", "libstdc++", "architecture", "home"]
    order += ["memory", "services", "agent", "agent runs", "clock", "connection", "runtime"]
    assert [name for name in names if name in order] == order
    with box.fault("host-key"):
        changed = cli("doctor", "--target", "box", "--json")
    assert changed.returncode == 4
    cli.document("agent", "uninstall", "box", "--purge")


def test_no_board(cli: Cli) -> None:
    assert cli("doctor", "--target", "pi@127.0.0.1:1").returncode == 3
    assert cli("doctor", "--target", "@nobody").returncode == 2
