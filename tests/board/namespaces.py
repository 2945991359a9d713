"""A box in namespaces of this machine's kernel: amd64 as it is, arm64 through qemu-user. Needs root."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from board.box import VARIANTS, Box, BoxFailed, Endpoint
from board.host import HERE, Place, rootfs
from board.link import Link

CARD_SIZE = 2 << 30
# A start that takes longer has failed, even emulated on a busy machine.
START_LIMIT = {"amd64": 60, "arm64": 300}

# ext4's EXT4_IOC_SHUTDOWN without a flush of the journal: the file system stops as if the power had gone.
POWER_OFF = (
    "import fcntl, os, struct, sys\nfcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))"
)


class NamespaceBox(Box):
    """See `board.box`. The root file system is a cached one under an overlay, whose upper side is an ext4 image."""

    def __init__(self, arch: str = "amd64", variant: str = "") -> None:
        self.arch, self.variant = arch, variant
        self._rootfs = rootfs(arch)
        self._place = Place()
        self._folder = self._place.folder
        self._link = Link()
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0  # of the box's init; 0 while it is off
        self.endpoint = Endpoint("127.0.0.1", self._link.port, "pi", "raspberry", *self._keys())
        self.ssh_config = self._folder / "ssh_config"
        self._provision()

    def up(self) -> None:
        self._stop()  # what is left of one that shut itself down
        join = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(self._place.cgroup / "cgroup.procs")]
        spaces = ["unshare", "--kill-child", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        boot = ["sh", str(HERE / "boot.sh"), str(self._rootfs), str(self._folder)]
        with open(self._folder / "console", "ab") as console:
            self._process = self._link.call(
                subprocess.Popen,
                [*join, "setpriv", "--pdeathsig", "KILL", *spaces, *boot],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        self._pid = self._wait_for(self._init, "did not start")
        self._link.connect(self._pid)
        self._wait_for(self._answers, "takes no logins")
        if self.variant != "no-systemd":
            state = self.run("systemctl is-system-running --wait", check=False, timeout=START_LIMIT[self.arch]).stdout
            if state.strip() != "running":
                raise BoxFailed(f"the box is {state}{self.run('systemctl --failed; journalctl -b -p warning').stdout}")

    def down(self) -> None:
        self._stop()
        if self._folder.exists():
            self._link.close()
            self._place.remove()

    def run(
        self, command: str, *, user: str = "root", text: str = "", check: bool = True, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        if not self._pid:
            raise BoxFailed(f"{command}: the box is off")
        enter = ["nsenter", f"--target={self._pid}", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup"]
        shell = ["/bin/sh", "-c", command] if user == "root" else ["/sbin/runuser", "-l", user, "-c", command]
        done = subprocess.run(
            [*enter, "--root", "--wd", *shell],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"},
        )
        if check and done.returncode:
            raise BoxFailed(f"{command}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def fault(self, name: str, **arguments: float | str) -> AbstractContextManager[None]:
        faults: dict[str, Callable[..., AbstractContextManager[None]]] = {
            "link": self._shaped,
            "cut": self._cut,
            "reset": self._reset,
            "hang": self._frozen,
            "disk-full": self._disk_full,
            "host-key": self._other_host_key,
        }
        return faults[name](**arguments)

    def power_cut(self) -> None:
        disk = str(self._folder / "disk")
        enter = ["nsenter", f"--target={self._pid}", "--mount"]
        subprocess.run([*enter, sys.executable, "-c", POWER_OFF, disk], check=True)
        self._stop()

    def reboot(self) -> None:
        if self.variant == "no-systemd":
            self.run("sync")
            self._stop()
        else:
            self.run("systemctl reboot", check=False)
            assert self._process is not None
            self._process.wait(START_LIMIT[self.arch])
            self._stop()
        self.up()

    @contextlib.contextmanager
    def _shaped(self, delay_ms: float = 0, loss: float = 0, rate: str = "") -> Iterator[None]:
        self._link.shape(delay_ms / 1000, loss, rate)
        try:
            yield
        finally:
            self._link.shape()

    @contextlib.contextmanager
    def _cut(self, seconds: float = 0) -> Iterator[None]:
        timer = threading.Timer(seconds, self._link.plug, [True])
        self._link.plug(False)
        if seconds:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._link.plug(True)

    @contextlib.contextmanager
    def _reset(self) -> Iterator[None]:
        self._link.reset()
        yield

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[None]:
        freeze = self._place.cgroup / "cgroup.freeze"
        freeze.write_text("1")
        try:
            yield
        finally:
            freeze.write_text("0")

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
        key, reload = "/etc/ssh/ssh_host_ed25519_key", "pkill -HUP -o -x sshd"
        self.run(f"mv {key} {key}.true; ssh-keygen -q -t ed25519 -N '' -f {key}; {reload}")
        try:
            yield
        finally:
            self.run(f"mv {key}.true {key}; {reload}")

    def _keys(self) -> tuple[Path, str]:
        for name in ("user", "host"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._folder / name], check=True)
        kind, key = (self._folder / "host.pub").read_text().split()[:2]
        return self._folder / "user", f"{kind} {key}"

    def _provision(self) -> None:
        """A blank card, and what is this box's own: its keys and what its variant lacks."""
        card = self._folder / "card"
        format_it = ["mkfs.ext4", "-q", "-m", "0", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1"]
        with open(card, "w") as file:
            file.truncate(CARD_SIZE)
        subprocess.run([*format_it, card], check=True)
        host = "/etc/ssh/ssh_host_ed25519_key"
        (self._folder / "first-boot").write_text(
            f"umask 077\ncat > {host} <<END\n{(self._folder / 'host').read_text()}END\numask 022\n"
            f"echo '{(self._folder / 'user.pub').read_text().strip()}' > /etc/ssh/authorized_keys/pi\n"
            f"{VARIANTS[self.variant]}\n"
        )
        (self._folder / "known_hosts").write_text(self.endpoint.known_hosts)
        self.ssh_config.write_text(
            f"Host box\n  HostName {self.endpoint.host}\n  Port {self.endpoint.port}\n  User {self.endpoint.user}\n"
            f"  IdentityFile {self.endpoint.key}\n  IdentitiesOnly yes\n  BatchMode yes\n"
            f"  UserKnownHostsFile {self._folder / 'known_hosts'}\n  StrictHostKeyChecking yes\n"
        )

    def _stop(self) -> None:
        """Off, without a word to whoever is connected."""
        if self._process is not None:
            self._link.disconnect()
            self._process.kill()
            self._process.wait()
            self._process, self._pid = None, 0
            while _is_attached(self._folder / "card"):  # the kernel unmounts a little after the last process
                time.sleep(0.01)

    def _init(self) -> int:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.endpoint.port), timeout=10) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _wait_for(self, condition: Callable[[], int], complaint: str) -> int:
        """Poll until `condition` holds. Raises: BoxFailed when the box ends or the time is up."""
        assert self._process is not None
        deadline = time.monotonic() + START_LIMIT[self.arch]
        while not (result := condition()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BoxFailed(f"the box {complaint}: {(self._folder / 'console').read_text()[-2000:]}")
            time.sleep(0.05)
        return result


def _is_attached(image: Path) -> bool:
    """Whether a loop device has `image` open."""
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    return any(file.read_text().strip() == str(image) for file in backing)
