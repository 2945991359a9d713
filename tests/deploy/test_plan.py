"""Facts and bundle -> steps: what is still to be done, and what stands in the way."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from deploy.facts_of import facts
from liteback_deploy import service
from liteback_deploy.bundle import Bundle
from liteback_deploy.errors import Unsuitable
from liteback_deploy.plan import plan, preflight

BUNDLE = Bundle(
    "0.1.0-abc", Path("bundle.tar.gz"), "00", 25 << 20, 90 << 20, "tflite_runtime 2.14.0", ("numpy==1.26.4",)
)


def installed(**changes: Any) -> dict[str, Any]:
    """The lines of a board on which BUNDLE runs."""
    unit = service.unit(facts(), "user")
    sound = {"version": BUNDLE.id, "current": BUNDLE.id, "service": "user", "linger": "yes", "running": "active"}
    sound.update(unit_sum=hashlib.sha256(unit.encode()).hexdigest(), token="yes", address="127.0.0.1:1")
    return {**sound, **changes}


def steps(board_numpy: bool = False, system: bool = False, **changes: Any) -> list[str]:
    return [step.name for step in plan(facts(**changes), BUNDLE, board_numpy, system).steps]


def test_a_new_board() -> None:
    assert steps() == ["upload", "unpack", "check", "service", "activate"]


def test_an_installed_board_has_nothing_to_do() -> None:
    assert steps(**installed()) == []


@pytest.mark.parametrize(
    ("changes", "todo"),
    [
        ({"running": "failed"}, ["activate"]),
        ({"address": ""}, ["activate"]),
        ({"linger": ""}, ["service", "activate"]),
        ({"unit_sum": "another"}, ["service", "activate"]),
        ({"current": "0.1.0-old"}, ["check", "activate"]),
        ({"version": "0.1.0-old", "current": "0.1.0-old"}, ["upload", "unpack", "check", "activate"]),
        ({"systemd": "", "service": "user"}, ["remove service", "service", "activate"]),
        ({"service": "background"}, ["remove service", "service", "activate"]),
    ],
)
def test_only_what_is_missing(changes: dict[str, str], todo: list[str]) -> None:
    assert steps(**installed(**changes)) == todo


def test_an_upload_goes_on_where_it_stopped() -> None:
    def upload(partial: str) -> tuple[str, ...]:
        return plan(facts(partial=partial), BUNDLE, False).steps[0].arguments

    assert upload(f".incoming-{BUNDLE.id} 1000") == (BUNDLE.id, "1000")
    assert upload(".incoming-0.1.0-other 1000") == (BUNDLE.id, "0")
    assert upload(f".incoming-{BUNDLE.id} {BUNDLE.size + 1}") == (BUNDLE.id, "0")


def test_the_kind_of_service() -> None:
    assert service.kind(facts()) == "user"
    assert service.kind(facts(systemd="")) == "background"
    assert service.kind(facts(), system=True) == "system"
    assert service.kind(facts(service="system")) == "system"  # what was asked for once stays


def test_the_units() -> None:
    user, system = service.unit(facts(), "user"), service.unit(facts(), "system")
    for unit in (user, system):
        assert "ExecStart=/users/pi/.local/share/liteback/agent/current/agent\n" in unit
        for line in ("NoNewPrivileges=yes", "MemoryMax=80%", "Restart=always", "RestartSec=2"):
            assert f"{line}\n" in unit
    assert "WantedBy=default.target\n" in user
    assert "User=pi\n" in system
    assert "ReadWritePaths=/users/pi/.local/share/liteback\n" in system
    assert "RestartSteps=6\n" in service.unit(facts(systemd=257), "user")
    assert service.unit(facts(), "background") == ""
    assert 'ExecStart="/users/p i%%d/' in service.unit(facts(home="/users/p i%d"), "user")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"python": "", "python_path": ""}, r"needs Python 3\.7.*apt install python3"),
        ({"python": "", "python_error": "libpython3.11.so: cannot open"}, r"libpython3\.11\.so: cannot open"),
        ({"python_error": "No module named 'ctypes'"}, r"not complete \(No module named 'ctypes'\)"),
        ({"writable": ""}, r"/users/pi must be writable"),
        ({"libstdcxx": ""}, r"apt install libstdc\+\+6"),
    ],
)
def test_what_a_board_must_have(changes: dict[str, str], reason: str) -> None:
    with pytest.raises(Unsuitable, match=reason):
        preflight(facts(**changes))
    preflight(facts())


def test_a_unit_needs_systemd() -> None:
    preflight(facts(), system=True)
    preflight(facts(systemd=""))
    with pytest.raises(Unsuitable, match="deploy without the option"):
        preflight(facts(systemd=""), system=True)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(Unsuitable) as refused:
        preflight(facts(writable="", libstdcxx="", python_error="No module named 'ctypes'"))
    assert str(refused.value).count("\n  - ") == 3


def test_a_disk_that_is_too_small() -> None:
    with pytest.raises(Unsuitable, match=r"must have 179 MiB free.*Received: 97 MiB"):
        steps(disk_kib=100_000)
    assert steps(**installed(disk_kib=0)) == []


@pytest.mark.parametrize(("numpy", "fits"), [("1.19.5", True), ("", False), ("2.2.4", False)])
def test_the_board_s_own_numpy(numpy: str, fits: bool) -> None:
    if fits:
        assert steps(board_numpy=True, numpy=numpy)
    else:
        with pytest.raises(Unsuitable, match="apt install python3-numpy"):
            steps(board_numpy=True, numpy=numpy)


def test_root_is_told() -> None:
    assert plan(facts(uid=0, user="root"), BUNDLE, False).notes
    assert not plan(facts(), BUNDLE, False).notes
