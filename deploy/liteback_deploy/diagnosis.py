"""Facts -> findings: everything that can be wrong with a board, in the order in which a person would look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from liteback_deploy import keys
from liteback_deploy.errors import CertificateRefused, DeployError, HostKeyRefused, LoginRefused, Unsuitable
from liteback_deploy.facts import Facts, gather
from liteback_deploy.keys import Keys
from liteback_deploy.matrix import select
from liteback_deploy.ssh import Connection

_RAM_LOW = 200 << 20  # bytes; below that even a small model's capture is cut into many passes
_DISK_LOW = 250 << 20  # an agent is about 100 MiB, and one is kept to go back to
_SKEW = 60.0  # seconds
_HOT = 80.0  # degrees Celsius, where a Raspberry Pi begins to throttle
_USB3 = 5000  # Mbit/s
# The stock libedgetpu 16.0 crashes under newer runtimes: google-coral/edgetpu, issue 812.
_LAST_OF_STOCK = (2, 11)
# vcgencmd get_throttled: the bits that are set now; the same shifted by 16: since the last start.
_THROTTLED = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "temperature limit"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. detail: what was found; where it is wrong, how to mend it."""

    name: str
    ok: bool
    detail: str
    exit_code: int = 1


def reach(dial: Callable[[], Connection], found: list[Finding]) -> Connection | None:
    """Connect and say how far that went; None where it went wrong."""
    steps = ("reachable", "host key", "login")
    try:
        connection = dial()
    except DeployError as error:
        failed = {HostKeyRefused: "host key", LoginRefused: "login"}.get(type(error), "reachable")
        found += [Finding(name, True, "good") for name in steps[: steps.index(failed)]]
        found.append(Finding(failed, False, str(error), error.exit_code))
        return None
    details = (f"{connection.endpoint}", f"as in known_hosts for {connection.endpoint.known_as}", "accepted")
    found += [Finding(name, True, detail) for name, detail in zip(steps, details, strict=True)]
    return connection


def examine(connection: Connection) -> tuple[list[Finding], Facts | None]:
    """The findings of a board that lets us in, and its facts where it tells them."""
    found = []
    try:
        connection.check_forwarding()
        found.append(Finding("forwarding", True, "sshd forwards TCP"))
    except DeployError as error:
        found.append(Finding("forwarding", False, str(error), error.exit_code))
    try:
        facts = gather(connection)
    except DeployError as error:
        return [*found, Finding("shell", False, str(error), error.exit_code)], None
    return [*found, *findings(facts), *direct(facts, keys.kept(connection.endpoint))], facts


def findings(facts: Facts) -> Iterator[Finding]:
    """What the facts say, one by one."""
    yield from _python(facts)
    yield from _userland(facts)
    yield _room(facts)
    ram = facts.ram_bytes
    yield Finding(
        "memory", ram > _RAM_LOW, f"{ram >> 20} MiB free" + ("" if ram > _RAM_LOW else ": end what else runs")
    )
    yield _services(facts)
    yield from _agent(facts)
    yield from _coral(facts)
    yield from _climate(facts)
    skewed = abs(facts.clock_skew) > _SKEW
    mend = ": `sudo timedatectl set-ntp true` on the board, or `sudo date -s`" if skewed else ""
    yield Finding("clock", not skewed, f"{facts.clock_skew:+.0f} s from this machine's{mend}")


def _python(facts: Facts) -> Iterator[Finding]:
    if not facts.python or facts.python_error:
        reason = facts.python_error or "there is no python3"
        yield Finding("python (board)", False, f"{reason}: `sudo apt install python3`", Unsuitable.exit_code)
        return
    yield Finding("python (board)", True, f"{'.'.join(map(str, facts.python))} at {facts.python_path}")
    try:
        selection = select(facts)
        yield Finding("runtime that fits", True, f"{selection.runtime.package} {selection.runtime.version}")
    except Unsuitable as error:
        yield Finding("runtime that fits", False, str(error), error.exit_code)
    if facts.libstdcxx:
        yield Finding("libstdc++", True, "loads")
    else:
        yield Finding("libstdc++", False, "missing: `sudo apt install libstdc++6`", Unsuitable.exit_code)


def _userland(facts: Facts) -> Iterator[Finding]:
    yield Finding("system", True, f"{facts.os}, kernel {facts.kernel}")
    glibc = ".".join(map(str, facts.glibc))
    yield Finding("architecture", True, f"{facts.machine}, {facts.bits} bit, glibc {glibc or 'none'}")


def _room(facts: Facts) -> Finding:
    if not facts.writable:
        detail = f"{facts.home} is not writable: `findmnt -T ~` and `ls -ld ~` on the board say why"
        return Finding("home", False, detail, Unsuitable.exit_code)
    enough = facts.disk_bytes > _DISK_LOW
    mend = "" if enough else ": `du -xh ~ | sort -h | tail` on the board shows what is large"
    return Finding("home", enough, f"{facts.home}, {facts.disk_bytes >> 20} MiB free{mend}")


def _services(facts: Facts) -> Finding:
    if not facts.systemd:
        return Finding("services", True, "no systemd: a supervised process; after a reboot the next command starts it")
    if facts.service == "user" and not facts.linger:
        mend = "lingering is off, the agent ends with the last login: `sudo loginctl enable-linger $USER` on the board"
        return Finding("services", False, mend)
    return Finding("services", True, f"systemd {facts.systemd}, lingering {'on' if facts.linger else 'off'}")


def _agent(facts: Facts) -> Iterator[Finding]:
    if not facts.current:
        yield Finding("agent", False, "not installed: `liteback deploy`", Unsuitable.exit_code)
        return
    yield Finding("agent", True, f"{facts.current}; to roll back to: {facts.previous or 'none'}")
    running = facts.running == "active"
    mend = "" if running else ": `liteback agent logs` says why, `liteback agent restart` starts it"
    state = f"{facts.service or 'no'} service, {facts.running or 'not running'}{mend}"
    yield Finding("agent runs", running, state, Unsuitable.exit_code)


def direct(facts: Facts, own: Keys | None) -> Iterator[Finding]:
    """Direct connections, where the board takes them: whether this workstation's keys are good for one."""
    port, fingerprint = facts.direct
    if not port:
        return
    if own is None:
        yield Finding("direct", True, f"port {port}, with keys that another workstation has")
        return
    if own.sum != fingerprint:
        mend = (
            f"port {port}, with keys that are not this workstation's: `liteback deploy TARGET --direct` makes new ones"
        )
        yield Finding("direct", False, mend, CertificateRefused.exit_code)
        return
    days = own.days_left
    mend = "" if days > 0 else ": `liteback deploy TARGET --direct` makes new ones"
    yield Finding("direct", days > 0, f"port {port}, keys good for {days:.0f} days{mend}", CertificateRefused.exit_code)


def _coral(facts: Facts) -> Iterator[Finding]:
    """The Edge TPU, where there is one: its bus, and its library."""
    for name, speed in facts.coral:
        slow = name != "pci" and speed < _USB3
        bus = "on PCIe" if name == "pci" else f"USB {name} at {speed} Mbit/s"
        mend = ": a USB 2 port or cable slows every transfer; use a blue port and its own cable" if slow else ""
        yield Finding("Edge TPU", not slow, bus + mend)
    if facts.coral and not facts.libedgetpu:
        yield Finding("libedgetpu", False, "not installed: `sudo apt install libedgetpu1-std`", Unsuitable.exit_code)
    elif facts.libedgetpu:
        yield _libedgetpu(facts)


def _libedgetpu(facts: Facts) -> Finding:
    """The delegate's library was built with one release of TensorFlow Lite and crashes under others."""
    try:
        runtime = tuple(map(int, select(facts).runtime.version.split(".")[:2]))
    except DeployError:
        return Finding("libedgetpu", True, facts.libedgetpu)
    built = re.search(r"TF(\d+)\.(\d+)", facts.libedgetpu)
    fits = (int(built[1]), int(built[2])) == runtime if built else runtime <= _LAST_OF_STOCK
    shown = ".".join(map(str, runtime))
    mend = f"; runtime {shown}: delegates crash across releases. Install a libedgetpu that was built with TF{shown}"
    return Finding("libedgetpu", fits, facts.libedgetpu + ("" if fits else mend))


def _climate(facts: Facts) -> Iterator[Finding]:
    if facts.celsius:
        hot = facts.celsius >= _HOT
        mend = ": it throttles; timings are not to be trusted. Cool it" if hot else ""
        yield Finding("temperature", not hot, f"{facts.celsius:.0f} °C{mend}")
    bits = re.search(r"0x([0-9a-fA-F]+)", facts.throttled)
    if bits:
        value = int(bits[1], 16)
        now = [text for bit, text in _THROTTLED.items() if value >> bit & 1]
        before = [text for bit, text in _THROTTLED.items() if value >> bit + 16 & 1]
        detail = f"now: {', '.join(now) or 'no'}; since the start: {', '.join(before) or 'never'}"
        mend = ". Check the power supply and the cooling" if value else ""
        yield Finding("throttling", not now, detail + mend)
