"""A board in a box: a whole Debian with real systemd and sshd, for tests of what liteback does to a board.

    with NamespaceBox("amd64") as box:              # or "arm64"; variant="no-python" and so on, see VARIANTS
        subprocess.run(["ssh", "-F", box.ssh_config, "box", "uname -m"])
        box.run("systemctl is-active ssh")          # a root shell in the box, for setting things up
        with box.fault("link", delay_ms=100, loss=0.1, rate="2mbit"):
            ...
        box.power_cut()                             # what was not synced is lost
        box.up()

The box is reached as any board is: `box.endpoint` is an address on 127.0.0.1, a user, keys. It stays the same across
reboots. In pytest use the fixtures of `board.fixtures`: `box`, `arm_box`, and `new_box` for variants.

| kind | what it is |
|---|---|
| `NamespaceBox("amd64")` | Debian for this machine's processor, in namespaces of its kernel; starts in a second |
| `NamespaceBox("arm64")` | Debian for arm64, every program emulated by qemu-user; starts in a few seconds |
| `MachineBox()` | the same in a virtual machine with a kernel of its own; starts in half a minute |

Faults, each a context manager that undoes it:

| name | arguments | what happens |
|---|---|---|
| `link` | `delay_ms`, `loss`, `rate` | each way (virtual machine: out of it) late, lost at that rate, throttled |
| `cut` | `seconds` | the cable is out, silently; with `seconds` it comes back by itself after so long |
| `reset` | | every open connection is reset, at once; nothing to undo; not in a virtual machine |
| `hang` | | every process of the box is frozen; only its kernel still answers, if it is not a virtual machine's |
| `disk-full` | `free_kb` | the disk has only that much left |
| `host-key` | | sshd answers with another host key than the endpoint's |
"""

from __future__ import annotations

import abc
import contextlib
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from board.host import Place

Self = TypeVar("Self", bound="Box")

RELOAD_SECONDS = 30.0
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
ROOT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}

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


class BoxFailed(RuntimeError):
    """A box did not do what it was told."""


class Box(abc.ABC):
    """One board: off when made, `up` starts it, `down` removes it with all that it wrote."""

    START_LIMIT: float = 300  # seconds; a start that takes longer has failed, even emulated on a busy machine

    def __init__(self, port: int, variant: str) -> None:
        self.variant = variant
        self._place = Place()
        self._folder = self._place.folder
        self._process: subprocess.Popen[bytes] | None = None
        for name in ("user", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / name], check=True)
        host_key = " ".join((self._folder / "host.pub").read_text().split()[:2])
        self.endpoint = Endpoint("127.0.0.1", port, "pi", "raspberry", self._folder / "user", host_key)
        self.ssh_config = (
            self._folder / "ssh_config"
        )  # for ssh -F: the endpoint as `box`, its host key checked strictly
        self._write_ssh_config()

    def up(self) -> None:
        """Start it; back when it takes logins and its system is running. Raises: BoxFailed with what it said."""
        self._stop()  # what is left of one that shut itself down
        self._start()
        self._wait_for(self._answers, "takes no logins")
        if self.variant != "no-systemd":
            state = self.run("systemctl is-system-running --wait", check=False, timeout=self.START_LIMIT).stdout
            if state.strip() != "running":
                raise BoxFailed(f"the box is {state}{self.run('systemctl --failed; journalctl -b -p warning').stdout}")

    def down(self) -> None:
        """Take it away: its processes, namespaces, mounts and disk. Twice is once."""
        self._stop()
        if self._folder.exists():
            self._place.remove()

    def reboot(self) -> None:
        """Shut down in order and start again; back when `up` would be."""
        if self.variant == "no-systemd":
            self.run("sync")
        else:
            self.run("systemctl reboot", check=False)
            assert self._process is not None
            self._process.wait(self.START_LIMIT)
        self.up()

    @abc.abstractmethod
    def power_cut(self) -> None:
        """Off at once: what was not synced is lost. `up` starts it again."""

    def run(
        self, command: str, *, user: str = "root", text: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in the box as `user`, with `text` as its input.

        Raises: BoxFailed when it fails, unless `check` is off, and when the box is off.
        """
        if self._process is None:
            raise BoxFailed(f"{command}: the box is off")
        if user != "root":
            command = f"/sbin/runuser -l {user} -c {shlex.quote(command)}"
        done = subprocess.run(
            [*self._root_shell(), command], input=text, capture_output=True, text=True, timeout=timeout, env=ROOT
        )
        if check and done.returncode:
            raise BoxFailed(f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def fault(self, name: str, **arguments: float | str) -> contextlib.AbstractContextManager[None]:
        """Something is wrong while the context is open; see the table of this module."""
        return self._faults()[name](**arguments)

    def _faults(self) -> dict[str, Callable[..., contextlib.AbstractContextManager[None]]]:
        return {"disk-full": self._disk_full, "host-key": self._other_host_key}

    @contextlib.contextmanager
    def _disk_full(self, free_kb: int = 0) -> Iterator[None]:
        left = f"$(($(df --output=avail -k / | tail -n 1) - {free_kb}))"
        # In one piece as far as that goes, and the rest byte by byte.
        self.run(f"fallocate -l $(({left} - 1024))K /.fill\nhead -c {left}K /dev/zero > /.fill-rest || true")
        try:
            yield
        finally:
            self.run("rm -f /.fill /.fill-rest")

    @contextlib.contextmanager
    def _other_host_key(self) -> Iterator[None]:
        self._reload_sshd(f"mv {HOST_KEY} {HOST_KEY}.true; ssh-keygen -q -t ed25519 -N '' -f {HOST_KEY}")
        try:
            yield
        finally:
            self._reload_sshd(f"mv {HOST_KEY}.true {HOST_KEY}")

    def _reload_sshd(self, change: str) -> None:
        """Change its host key, and wait until it answers with the new one."""
        key = self.run(f"{change}; pkill -HUP -o -x sshd; ssh-keygen -y -f {HOST_KEY}").stdout.split()[1]
        scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(self.endpoint.port), self.endpoint.host]
        deadline = time.monotonic() + RELOAD_SECONDS
        while key not in subprocess.run(scan, capture_output=True, text=True, check=False).stdout:
            if time.monotonic() > deadline:
                raise BoxFailed(f"sshd does not answer with its new key after {RELOAD_SECONDS} s")
            time.sleep(0.1)

    @abc.abstractmethod
    def _start(self) -> None:
        """Start `_process`, which ends when the box does."""

    @abc.abstractmethod
    def _stop(self) -> None:
        """Off, if it is not, without a word to whoever is connected; `_process` is None then."""

    @abc.abstractmethod
    def _root_shell(self) -> list[str]:
        """The command that runs its next argument in a root shell of the box."""

    def _first_boot(self) -> str:
        """A shell script, run in its root before it first starts: what is its own, and what its variant lacks."""
        host_key, user_key = (self._folder / "host").read_text(), (self._folder / "user.pub").read_text()
        return (
            f"umask 077\ncat > {HOST_KEY} <<END\n{host_key}END\numask 022\n"
            f"cat > /etc/ssh/authorized_keys/pi <<END\n{user_key}END\n{VARIANTS[self.variant]}\n"
        )

    def _write_ssh_config(self) -> None:
        known_hosts = self._folder / "known_hosts"
        known_hosts.write_text(self.endpoint.known_hosts)
        self.ssh_config.write_text(
            f"Host box\n  HostName {self.endpoint.host}\n  Port {self.endpoint.port}\n  User {self.endpoint.user}\n"
            f"  IdentityFile {self.endpoint.key}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  UserKnownHostsFile {known_hosts}\n  StrictHostKeyChecking yes\n"
        )

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.endpoint.host, self.endpoint.port), timeout=10) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _wait_for(self, condition: Callable[[], int], complaint: str) -> int:
        """Poll until `condition` holds. Raises: BoxFailed when the box ends or the time is up."""
        assert self._process is not None
        deadline = time.monotonic() + self.START_LIMIT
        while not (result := condition()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BoxFailed(f"the box {complaint}: {(self._folder / 'console').read_text()[-2000:]}")
            time.sleep(0.05)
        return result

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
