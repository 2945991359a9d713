"""A board in a box: a whole Debian with real systemd and sshd, for tests of what liteback does to a board.

    with NamespaceBox("amd64") as box:                  # or "arm64"; variant="no-python" and so on, see VARIANTS
        subprocess.run(["ssh", "-F", box.ssh_config, "box", "uname -m"])
        box.run("systemctl is-active ssh")              # a root shell in the box, not through ssh
        with box.fault("link", delay_ms=100, loss=0.1, rate="2mbit"):
            ...
        box.power_cut()                                 # what was not synced is lost
        box.up()

The box is reached as any board is: `box.endpoint` is an address on 127.0.0.1, a user, keys. It stays the same across
reboots. In pytest use the fixtures of `board.fixtures`: `box`, `arm_box`, and `new_box` for variants.

Faults, each a context manager that undoes it:

| name | arguments | what happens |
|---|---|---|
| `link` | `delay_ms`, `loss`, `rate` | each way: packets late, lost with that probability, throttled ("2mbit") |
| `cut` | `seconds` | the cable is out, silently; with `seconds` it comes back by itself after so long |
| `reset` | | every open connection is reset, at once; nothing to undo |
| `hang` | | every process of the box is frozen; its kernel still answers |
| `disk-full` | `free_kb` | the disk has only that much left |
| `host-key` | | sshd answers with another host key than the endpoint's |
"""

from __future__ import annotations

import abc
import subprocess
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="Box")

# What is different from a sound board, as a shell script run once in its root before it first starts.
VARIANTS = {
    "": "",
    "no-python": "rm -f /usr/bin/python3*",
    "no-libstdc++": "rm -f /usr/lib/*/libstdc++.so.6*",
    "no-systemd": "rm -rf /etc/systemd /lib/systemd /bin/systemctl /bin/loginctl /bin/journalctl /bin/systemd-run\n"
    "ln -sf /usr/local/sbin/plain-init /sbin/init",
    "no-sudo": "rm /etc/sudoers.d/pi; usermod --groups '' pi",
    "no-forwarding": "echo AllowTcpForwarding no > /etc/ssh/sshd_config.d/no-forwarding.conf",
    "read-only-home": "echo /home/pi /home/pi none bind,ro 0 0 >> /etc/fstab",
}


@dataclass(frozen=True)
class Endpoint:
    """How ssh reaches a box."""

    host: str
    port: int
    user: str
    password: str
    key: Path  # the user's private key; the box knows its public one
    host_key: str  # "ssh-ed25519 AAAA..."

    @property
    def known_hosts(self) -> str:
        """The line of a known_hosts file."""
        return f"[{self.host}]:{self.port} {self.host_key}\n"


class Box(abc.ABC):
    """One board: off when made, `up` starts it, `down` removes it with all that it wrote."""

    endpoint: Endpoint
    ssh_config: Path  # for ssh -F: the endpoint under the name `box`, its host key checked strictly

    @abc.abstractmethod
    def up(self) -> None:
        """Start it; back when it takes logins and its system is running. Raises: BoxFailed with what it said."""

    @abc.abstractmethod
    def down(self) -> None:
        """Take it away: its processes, namespaces, mounts and disk. Twice is once."""

    @abc.abstractmethod
    def run(
        self, command: str, *, user: str = "root", text: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the box, not through ssh, with `text` as its input.

        Raises: BoxFailed when it fails, unless `check` is off, and when the box is off.
        """

    @abc.abstractmethod
    def fault(self, name: str, **arguments: float | str) -> AbstractContextManager[None]:
        """Something is wrong while the context is open; see the table of this module."""

    @abc.abstractmethod
    def power_cut(self) -> None:
        """Off at once: what was not synced is lost. `up` starts it again."""

    @abc.abstractmethod
    def reboot(self) -> None:
        """Shut down in order and start again; back when `up` would be."""

    def __enter__(self: Self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()


class BoxFailed(RuntimeError):
    """A box did not do what it was told."""
