"""What a board is, as far as a deployment has to know."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from liteback_deploy import scripts
from liteback_deploy.errors import Unreachable
from liteback_deploy.ssh import Connection

_BEGIN = "liteback-facts\n"
Version = tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """What `board/facts.sh` found. An empty text or an empty version: it is not there.

    machine: of the userland, as wheels name it: a 64-bit kernel may carry a 32-bit userland. clock_skew: how far the
    board's clock is ahead, in seconds. service: `user`, `system` or `background`; running: what systemd calls it.
    direct: the port for direct connections, 0 where there are none, and the sum of the certificates that they use.
    partial: the name and the size of an upload that was cut off. coral: (USB id or `pci`, Mbit/s) of each Edge TPU.
    celsius: the hottest thermal zone; 0 where there is none. throttled: what a Raspberry Pi says of itself.
    """

    user: str
    uid: int
    home: str
    os: str
    kernel: str
    machine: str
    bits: int
    glibc: Version
    python: Version
    python_path: str
    python_error: str
    libstdcxx: bool
    numpy: Version
    disk_bytes: int
    ram_bytes: int
    writable: bool
    clock_skew: float
    systemd: int
    user_manager: bool
    linger: bool
    sudo: bool
    versions: tuple[str, ...]
    current: str
    previous: str
    partial: tuple[str, int]
    service: str
    unit_sum: str
    running: str
    token: bool
    address: str
    direct: tuple[int, str]
    coral: tuple[tuple[str, int], ...]
    libedgetpu: str
    throttled: str
    celsius: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def gather(connection: Connection) -> Facts:
    """Ask the board.

    Raises:
        Unreachable: the account gives no shell, or the link was lost.
    """
    result = scripts.run(connection, "facts.sh")
    _, found, text = result.stdout.partition(_BEGIN)
    if not found:
        said = (result.stdout + result.stderr).strip()
        raise Unreachable(
            f"The login on {connection.endpoint} must give a POSIX shell. It said: {said[-500:] or 'nothing'}\n"
            "Is the user right? `chsh -s /bin/sh USER` on the board gives an account a shell."
        )
    return parse(text, time.time())


def parse(text: str, now: float) -> Facts:
    """The lines of `board/facts.sh` -> Facts. now: this machine's clock, seconds since 1970."""
    pairs = [line.partition("=") for line in text.splitlines()]
    got = {key: value.strip() for key, _, value in pairs}
    bits = _number(got, "python_bits") or _number(got, "bits")
    name, _, size = got.get("partial", "").partition(" ")
    return Facts(
        user=got.get("user", ""),
        uid=_number(got, "uid"),
        home=got.get("home", ""),
        os=got.get("os", ""),
        kernel=got.get("kernel", ""),
        machine=userland(got.get("machine", ""), bits),
        bits=bits,
        glibc=version(got.get("glibc", "")),
        python=version(got.get("python", "")),
        python_path=got.get("python_path", ""),
        python_error=got.get("python_error", ""),
        libstdcxx=_yes(got, "libstdcxx"),
        numpy=version(got.get("numpy", "")),
        disk_bytes=_number(got, "disk_kib") * 1024,
        ram_bytes=_number(got, "ram_kib") * 1024,
        writable=_yes(got, "writable"),
        clock_skew=round(_number(got, "clock") - now, 1),
        systemd=_number(got, "systemd"),
        user_manager=_yes(got, "user_manager"),
        linger=_yes(got, "linger"),
        sudo=_yes(got, "sudo"),
        versions=tuple(sorted(value.strip() for key, _, value in pairs if key == "version")),
        current=got.get("current", ""),
        previous=got.get("previous", ""),
        partial=(name, int(size or 0)),
        service=got.get("service", ""),
        unit_sum=got.get("unit_sum", ""),
        running=got.get("running", ""),
        token=_yes(got, "token"),
        address=got.get("address", ""),
        direct=_direct(got.get("direct", "")),
        coral=tuple(_stick(value) for key, _, value in pairs if key == "coral"),
        libedgetpu=got.get("libedgetpu", ""),
        throttled=got.get("throttled", ""),
        celsius=_number(got, "millicelsius") / 1000,
    )


def userland(machine: str, bits: int) -> str:
    """The architecture that wheels are named after; a 32-bit userland under a 64-bit kernel says aarch64."""
    return {"aarch64": "armv7l", "armv8l": "armv7l", "x86_64": "i686"}.get(machine, machine) if bits == 32 else machine


def version(text: str) -> Version:
    """`glibc 2.36` -> (2, 36); empty where there is no number."""
    match = re.search(r"\d+(\.\d+)+", text)
    return tuple(map(int, match.group().split("."))) if match else ()


def _stick(text: str) -> tuple[str, int]:
    """`18d1:9302 5000` -> its id and its speed."""
    name, _, speed = text.strip().partition(" ")
    return name, int(speed) if speed.isdigit() else 0


def _direct(text: str) -> tuple[int, str]:
    """`50443 9f86...` -> port and sum."""
    port, _, fingerprint = text.partition(" ")
    return (int(port), fingerprint) if port.isdigit() else (0, "")


def _number(got: Mapping[str, str], key: str) -> int:
    text = got.get(key, "")
    return int(text) if text.isdigit() else 0


def _yes(got: Mapping[str, str], key: str) -> bool:
    return got.get(key) == "yes"
