"""Facts and bundle -> the steps that are still to be done. Pure; an installed board has none."""

from __future__ import annotations

from dataclasses import dataclass

from liteback_deploy import service
from liteback_deploy.bundle import Bundle
from liteback_deploy.errors import Unsuitable
from liteback_deploy.facts import Facts
from liteback_deploy.keys import Change

_RESERVE = 64 << 20  # bytes of the disk that stay free


@dataclass(frozen=True)
class Step:
    """One thing to do: a script of `board/` with its arguments and standard input. does: in words.

    upload: the script takes the bundle.
    """

    name: str
    does: str
    script: str
    arguments: tuple[str, ...] = ()
    data: bytes = b""
    upload: bool = False
    seconds: float = 300.0


@dataclass(frozen=True)
class Plan:
    """What a deployment will do. notes: what the user should know. direct: what changes about direct connections."""

    bundle: Bundle
    service: service.Kind
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    direct: Change | None = None


def preflight(facts: Facts, system: bool = False) -> None:
    """What must hold before any package is chosen.

    Raises:
        Unsuitable: all that is wrong at once, each with its remedy.
    """
    problems = []
    if not facts.python:
        reason = facts.python_error or "there is no python3"
        problems.append(f"The board needs Python 3.7 or newer ({reason}): `sudo apt install python3` on it.")
    elif facts.python_error:
        problems.append(f"Its Python is not complete ({facts.python_error}): `sudo apt install python3` on it.")
    if not facts.writable:
        problems.append(
            f"The home folder {facts.home} must be writable, and is not: it belongs to somebody else, or its file "
            "system is mounted read-only (`findmnt -T ~` on the board; an overlay that forgets counts, too)."
        )
    if facts.python and not facts.libstdcxx:
        problems.append("The runtimes need libstdc++.so.6: `sudo apt install libstdc++6` on the board.")
    if system and not facts.systemd:
        problems.append("--system makes a unit of systemd, which does not run there: deploy without the option.")
    if problems:
        raise Unsuitable("The board cannot take the agent:\n" + "\n".join(f"  - {p}" for p in problems))


def plan(facts: Facts, bundle: Bundle, board_numpy: bool, system: bool = False, direct: Change | None = None) -> Plan:
    """The steps from what is to what shall be.

    Raises:
        Unsuitable: the disk is too small, or the board lacks its numpy.
    """
    kind = service.kind(facts, system)
    unit = service.unit(facts, kind)
    present, current = bundle.id in facts.versions, facts.current == bundle.id
    if not present:
        _check_disk(facts, bundle)
    if board_numpy and (not facts.numpy or facts.numpy >= (2,)):
        raise Unsuitable(
            "On 32-bit ARM numpy is the board's own package, version 1: `sudo apt install python3-numpy` on the "
            f"board. Received: {'.'.join(map(str, facts.numpy)) or 'none'}."
        )
    installed = service.is_installed(facts, kind, unit)
    steps = []
    if not present:
        steps += [_upload(facts, bundle), _unpack(bundle)]
    if not current:
        does = "run it once beside the agent that serves, on a spare port"
        steps.append(Step("check", does, "check.sh", (bundle.id,)))
    if not installed and facts.service not in ("", kind):
        steps.append(Step("remove service", f"remove the {facts.service} service", "remove.sh", ("service",)))
    if not installed:
        steps.append(Step("service", _DESCRIPTIONS[kind], "service.sh", (kind,), unit.encode()))
    if not (current and installed and facts.running == "active" and facts.address):
        does = f"make {bundle.id} the current version and start it" if not current else "start it"
        steps.append(Step("activate", does, "activate.sh", (kind, bundle.id)))
    if direct is not None:
        steps.append(_direct(kind, direct))
    return Plan(bundle, kind, tuple(steps), tuple(_notes(facts)), direct)


_DESCRIPTIONS = {
    "user": "a unit of the user's systemd, with lingering: it runs without a login and after a reboot",
    "system": "a unit of the system's systemd, run as the user, through sudo",
    "background": "a supervised process (there is no systemd: after a reboot the next command starts it)",
}


def _upload(facts: Facts, bundle: Bundle) -> Step:
    name, size = facts.partial
    offset = size if name == f".incoming-{bundle.id}" and size <= bundle.size else 0
    does = f"{bundle.size - offset:,} bytes" + (f", going on at byte {offset:,}" if offset else "")
    return Step("upload", does, "receive.sh", (bundle.id, str(offset)), upload=True)


def _unpack(bundle: Bundle) -> Step:
    does = f"verify its sha256 and unpack it ({bundle.unpacked:,} bytes)"
    return Step("unpack", does, "unpack.sh", (bundle.id, bundle.sha256))


def _direct(kind: service.Kind, change: Change) -> Step:
    """The last step: the version that runs then is one that can do it."""
    does = "take no direct connections any more, and remove their keys"
    if change.port:
        does = f"listen on port {change.port} of the network with mutual TLS, with new keys on both sides"
    return Step("direct", does, "direct.sh", (kind, str(change.port)), change.theirs)


def _check_disk(facts: Facts, bundle: Bundle) -> None:
    needed = bundle.size + bundle.unpacked + _RESERVE - facts.partial[1]
    if facts.disk_bytes < needed:
        raise Unsuitable(
            f"The board's disk must have {needed >> 20} MiB free for this agent. Received: {facts.disk_bytes >> 20} "
            f"MiB at {facts.home}. Make room (`du -xh ~ | sort -h | tail` on the board shows what is large)."
        )


def _notes(facts: Facts) -> list[str]:
    notes = []
    if facts.uid == 0:
        notes.append("The login is root, so the agent runs as root. An ordinary user is enough for it.")
    return notes
