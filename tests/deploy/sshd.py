"""A real OpenSSH server on a port of 127.0.0.1, with a home folder, keys and configuration of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from absent import absent
from ports import free_port

_START_SECONDS = 30


class Sshd:
    """A running server. folder: where everything of it lies; home: what a login finds as $HOME."""

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
        if program is None:
            absent("no sshd: apt-get install openssh-server")
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        self.key = self._key("user")
        self.known_hosts = folder / "known_hosts"
        self.port = free_port()
        self.new_host_key()
        self.trust()
        (folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists
        self._program = program
        self._settings = settings
        self.start()

    @property
    def target(self) -> str:
        return f"board-{self.port}"

    def config(self, *more: str) -> Path:
        """An ssh configuration that leads here. more: lines that come before its own."""
        path = self.folder / "config"
        path.write_text(
            f"Host {self.target}\n"
            + "".join(f"  {line}\n" for line in more)
            + f"  HostName 127.0.0.1\n  Port {self.port}\n  User {getpass.getuser()}\n  IdentitiesOnly yes\n"
            f"  IdentityFile {self.key}\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
        )
        return path

    def start(self) -> None:
        options = [
            f"ListenAddress=127.0.0.1:{self.port}",
            f"HostKey={self.folder / 'host'}",
            f"AuthorizedKeysFile={self.folder / 'authorized_keys'}",
            "StrictModes=no",
            "UsePAM=no",
            f"PidFile={self.folder / 'pid'}",
            f"SetEnv=HOME={self.home}",
            *self._settings,
        ]
        command = [self._program, "-D", "-e", "-f", "/dev/null"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command + [word for option in options for word in ("-o", option)], stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                if probe.recv(4) == b"SSH-":
                    return
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """End the server and every connection of it."""
        # Stopped first: a child that it forks after they are listed would keep the port.
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        connections = self.connections()
        self._process.kill()
        for process in connections:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait()

    def new_host_key(self) -> None:
        for name in ("host", "host.pub"):
            (self.folder / name).unlink(missing_ok=True)
        self._key("host")

    def trust(self) -> None:
        """Put the host key into known_hosts."""
        key = " ".join((self.folder / "host.pub").read_text().split()[:2])
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {key}\n")

    def _key(self, name: str) -> Path:
        path = self.folder / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True)
        return path

    def connections(self) -> list[psutil.Process]:
        """The processes that serve open connections."""
        if self._process.poll() is not None:
            return []
        return psutil.Process(self._process.pid).children(recursive=True)
