"""A box in namespaces of this machine's kernel: amd64 as it is, arm64 through qemu-user. Needs root."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from board.box import Box
from board.host import HERE, built
from board.link import Link

CARD_SIZE = 2 << 30
FORMAT = ["mkfs.ext4", "-q", "-m", "0", "-J", "size=16", "-E", "lazy_itable_init=1,lazy_journal_init=1"]

# ext4's EXT4_IOC_SHUTDOWN without a flush of the journal: the file system stops as if the power had gone.
POWER_OFF = """
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack("I", 2))
"""


class NamespaceBox(Box):
    """See `board.box`. The root file system is a cached one under an overlay, whose upper side is an ext4 image."""

    def __init__(self, arch: str = "amd64", variant: str = "") -> None:
        self._rootfs = built(arch)
        self._link = Link()
        super().__init__(self._link.port, variant)
        self.direct_port = self._link.direct_port  # of 127.0.0.1, and of the box
        self._card = self._folder / "card"
        with open(self._card, "w") as card:
            card.truncate(CARD_SIZE)
        subprocess.run([*FORMAT, self._card], check=True)
        (self._folder / "first-boot").write_text(self._first_boot())

    def down(self) -> None:
        super().down()
        self._link.close()

    def power_cut(self) -> None:
        self._link.disconnect()
        enter = ["nsenter", f"--target={self._init()}", "--mount"]
        subprocess.run([*enter, sys.executable, "-c", POWER_OFF, self._folder / "disk"], check=True)
        self._stop()

    def _start(self) -> None:
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
        self._link.connect(self._wait_for(self._init, "did not start"))

    def _stop(self) -> None:
        if self._process is not None:
            self._link.disconnect()
            self._process.kill()
            self._process.wait()
            self._process = None
            while _is_attached(self._card):  # the kernel unmounts a little after the last process
                time.sleep(0.01)

    def _root_shell(self) -> list[str]:
        spaces = ["--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--root", "--wd"]
        return ["nsenter", f"--target={self._init()}", *spaces, "/bin/sh", "-c"]

    def _init(self) -> int:
        """The process of this machine that is the box's first; 0 before there is one."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _faults(self) -> dict[str, Callable[..., contextlib.AbstractContextManager[None]]]:
        return super()._faults() | {
            "link": self._shaped,
            "cut": self._cut,
            "reset": self._reset,
            "hang": self._frozen,
        }

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


def _is_attached(image: Path) -> bool:
    """Whether a loop device has `image` open."""
    for file in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # another's, which goes meanwhile
            if file.read_text().strip() == str(image):
                return True
    return False
