"""An agent process on this machine, for `--target local`."""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import platformdirs

from liteback.errors import AgentIncompatible

_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class LocalAgent:
    """A running agent of our own. It stops with `stop`, and by itself when this process ends in any way."""

    def __init__(self, flags: Sequence[str] = (), store: Path | None = None, python: str = sys.executable) -> None:
        """Start it and wait until it listens.

        python: the interpreter that runs it, with what the agent needs; this process's own by default.

        Raises:
            AgentIncompatible: it does not start; the message has what it said.
        """
        self.token = secrets.token_urlsafe(32)
        folder = Path(tempfile.mkdtemp(prefix="liteback-"))  # mode 700
        # An interrupt of `stop` leaves it to the end of this process.
        self._remove_folder = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._log = folder / "agent.log"
        token_file = folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(self.token, encoding="ascii")
        store = (store or _own_store(folder)).absolute()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "liteback_agent", "--exit-with-parent"]
                + ["--token-file", str(token_file), "--store", str(store), *flags],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                # A folder of the user's may hold a numpy.py, which `-m` would find first.
                cwd=folder,
                # Ctrl-C at the terminal is for this process, which then ends its sessions in order.
                start_new_session=True,
            )
        try:
            self.address = self._listening()
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """As subprocess has it; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End the agent and its workers. Safe to call twice."""
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._remove_folder()

    def _listening(self) -> str:
        line = _first_line(self._process.stdout, _START_SECONDS)
        word, _, address = line.strip().partition(" ")
        if word == "LISTENING" and address:
            return address
        log = self._log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
        raise AgentIncompatible(
            f"The local agent did not start in {_START_SECONDS:.0f} s. It said: {log or line or 'nothing'}\n"
            "`pip install 'liteback[agent]'` installs what it needs."
        )


def _own_store(otherwise: Path) -> Path:
    """Where models stay from one run to the next; in a home that takes no files, for this run only."""
    store = platformdirs.user_cache_path("liteback") / "models"
    with contextlib.suppress(OSError):
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(store, os.W_OK):
            return store
    return otherwise / "models"


def _first_line(pipe: IO[bytes] | None, seconds: float) -> str:
    """The first line of a pipe, or nothing if the other end closes it or lets `seconds` pass."""
    if pipe is None:
        return ""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        return pipe.readline().decode("utf-8", "replace") if selector.select(seconds) else ""
