"""A box that is an arm64 virtual machine, all of it emulated, its kernel too: for what namespaces cannot show."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from board.box import Box, BoxFailed
from board.host import built
from ports import free_port

MACHINE = "qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 1024 -accel tcg,thread=multi,tb-size=256"
KERNEL = "console=ttyAMA0 loglevel=4 mitigations=off systemd.show_status=0 net.ifnames=0"
DEVICES = """-nodefaults -no-reboot -display none -serial chardev:console
-device virtio-blk-device,drive=disk -device virtio-net-device,netdev=net,id=nic"""


class MachineBox(Box):
    """See `board.box`. The disk is a copy of a cached one; the network is QEMU's, closed but for the forwarded port."""

    START_LIMIT = 900

    def __init__(self, variant: str = "") -> None:
        self._image = built("vm")
        super().__init__(free_port(), variant)
        self._new = True
        self._disk = self._folder / "disk"
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self._image / "disk", self._disk], check=True)

    def power_cut(self) -> None:
        self._stop()

    def _start(self) -> None:
        forward = f"hostfwd=tcp:{self.endpoint.host}:{self.endpoint.port}-10.0.2.15:22"
        with open(self._folder / "messages", "ab") as messages:
            self._process = subprocess.Popen(
                [
                    *["setpriv", "--pdeathsig", "KILL", *shlex.split(MACHINE), *shlex.split(DEVICES)],
                    *["-kernel", str(self._image / "vmlinuz"), "-append", KERNEL, "-initrd", str(self._initrd())],
                    *["-drive", f"if=none,id=disk,format=raw,file={self._disk}"],
                    *["-netdev", f"user,id=net,restrict=on,{forward}"],
                    *["-chardev", f"file,id=console,append=on,path={self._folder / 'console'}"],
                    *["-qmp", f"unix:{self._folder / 'qmp'},server,nowait"],
                ],
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
            )

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _root_shell(self) -> list[str]:
        return ["ssh", "-F", str(self.ssh_config), "-l", "root", "box"]

    def _initrd(self) -> Path:
        """The initial RAM disk; the first time, with a second archive behind it that holds the first boot's script."""
        if not self._new:
            return self._image / "initrd"
        self._new = False
        (self._folder / "first-boot").write_text(self._first_boot())
        pack = ["cpio", "--quiet", "-o", "-H", "newc"]
        archive = subprocess.run(
            pack, cwd=self._folder, input=b"first-boot\n", stdout=subprocess.PIPE, check=True
        ).stdout
        initrd = self._folder / "initrd"
        first = (self._image / "initrd").read_bytes()
        initrd.write_bytes(first + bytes(-len(first) % 4) + archive)
        return initrd

    def _first_boot(self) -> str:
        return super()._first_boot() + "cp /etc/ssh/authorized_keys/pi /etc/ssh/authorized_keys/root\n"

    def _faults(self) -> dict[str, Callable[..., contextlib.AbstractContextManager[None]]]:
        return super()._faults() | {"link": self._shaped, "cut": self._cut, "hang": self._stopped}

    @contextlib.contextmanager
    def _shaped(self, delay_ms: float = 0, loss: float = 0, rate: str = "") -> Iterator[None]:
        options = f"delay {delay_ms}ms loss {loss * 100}%" + (f" rate {rate}" if rate else "")
        self.run(f"tc qdisc replace dev eth0 root netem {options}")
        try:
            yield
        finally:
            self.run("tc qdisc delete dev eth0 root")

    @contextlib.contextmanager
    def _cut(self, seconds: float = 0) -> Iterator[None]:
        timer = threading.Timer(seconds, self._plug, [True])
        self._plug(False)
        if seconds:
            timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._plug(True)

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        self._tell("stop")
        try:
            yield
        finally:
            self._tell("cont")

    def _plug(self, plugged: bool) -> None:
        self._tell("set_link", name="nic", up=plugged)

    def _tell(self, command: str, **arguments: object) -> None:
        """One command of QEMU's machine protocol. Raises: BoxFailed with its answer when it refuses."""
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(str(self._folder / "qmp"))
            with control.makefile("rw") as lines:
                lines.readline()  # its greeting
                for request in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                    lines.write(json.dumps(request) + "\n")
                    lines.flush()
                    answer = json.loads(lines.readline())
                    while "event" in answer:
                        answer = json.loads(lines.readline())
                    if "error" in answer:
                        raise BoxFailed(f"{command}: {answer['error']}")
