"""Is everything here that liteback needs, on the workstation and on the board?"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from liteback.errors import AgentIncompatible, LitebackError, UsageError
from liteback.session.remote import board_entry, dialler
from liteback_deploy import diagnosis
from liteback_deploy.boards import BoardEntry
from liteback_deploy.diagnosis import Finding

_HOST_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "grpcio", "protobuf", "numpy", "safetensors")
_RAM_LOW = 200 << 20  # bytes; below that even a small model's capture is cut into many passes
_DISK_LOW = 100 << 20


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. detail: what was found; where it is wrong, how to mend it."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 1

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "ok": self.ok, "detail": self.detail}


def diagnose(target: str = "local", direct: bool | None = None) -> list[Check]:
    """Every check in the order in which a person would make them; a board that cannot be reached ends the list."""
    checks = list(_workstation())
    try:
        entry = board_entry(target)
        if entry.target.is_local:
            return [*checks, *_board(target, direct)]
        return [*checks, *_remote(target, entry, direct)]
    except UsageError as error:
        return [*checks, Check("target", False, str(error), error.exit_code)]


def _remote(target: str, entry: BoardEntry, direct: bool | None) -> Iterator[Check]:
    """The way to a board behind SSH, the board itself, and its agent."""
    dial = dialler(entry)
    found: list[Finding] = []
    connection = diagnosis.reach(dial, found)
    if connection is not None:
        with connection:
            examined, facts = diagnosis.examine(connection)
        found += examined
    yield from (Check(f.name, f.ok, f.detail, f.exit_code) for f in found)
    if connection is not None and facts is not None and facts.current:
        yield from _board(target, direct, remote=True)


def _workstation() -> Iterator[Check]:
    running = sys.version.split()[0]
    yield Check("python", sys.version_info >= (3, 10), f"{running}; the host needs 3.10 to 3.13")
    for package in _HOST_PACKAGES:
        try:
            yield Check(package, True, version(package))
        except PackageNotFoundError:
            yield Check(package, False, "not installed: pip install 'liteback[host]'", AgentIncompatible.exit_code)


def _board(target: str, direct: bool | None, remote: bool = False) -> Iterator[Check]:
    """What the agent says. remote: the facts of the board have told about the rest already."""
    from liteback.session.board import connect

    try:
        board = connect(target, direct)
    except LitebackError as error:
        yield Check("connection", False, str(error), error.exit_code)
        return
    with board:
        info = board.info
        yield Check("connection", True, f"agent {info.agent_version}, protocol {info.protocol}, on {target}")
        name = info.board or info.hostname
        yield Check("board", True, f"{name}, {info.os}, {info.machine} ({info.bits} bit), python {info.python}")
        runtimes = ", ".join(f"{r.name} {r.version}" for r in info.runtimes)
        mend = "`liteback deploy`" if remote else "pip install 'liteback[agent]' in the agent's environment"
        missing = f"no TensorFlow Lite runtime: {mend}"
        yield Check("runtime", bool(info.runtimes), runtimes or missing, AgentIncompatible.exit_code)
        if remote:
            return
        yield Check("memory", info.ram_available_bytes > _RAM_LOW, f"{info.ram_available_bytes >> 20} MiB free")
        yield Check("disk", info.disk_free_bytes > _DISK_LOW, f"{info.disk_free_bytes >> 20} MiB free for models")
        if info.temperature_c:
            hot = "" if info.temperature_c < 80 else ": it throttles; timings are not to be trusted. Cool it"
            yield Check("temperature", not hot, f"{info.temperature_c:.0f} °C{hot}")
        if info.throttled:
            fine = info.throttled.endswith("0x0")
            yield Check("throttling", fine, info.throttled + ("" if fine else ": check the power supply"))
