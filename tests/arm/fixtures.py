"""An agent on an emulated aarch64 board: the real agent, the real wheels, the real NEON kernels, no board.

qemu-user runs one aarch64 process on this machine's kernel. What that process needs of a board is a folder, which
`userland.sh` unpacks; `-L` makes the emulator look there first for what the process opens. The agent starts workers by
`sys.executable`, so the interpreter is a script that enters the emulator, and says by `-0` that it is the interpreter:
then a worker is started as the agent was. No root, no binfmt, no file system to boot.

Its values are those of the silicon as far as the emulator's NEON instructions are (a whole virtual machine with its own
kernel gave the same bits); its times mean nothing. qemu-user lets a process have what memory it wants, so a worker's
memory limit has no effect.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from absent import absent
from board.host import cache
from liteback.session.board import Board
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL

EMULATOR = "qemu-aarch64-static"
CPU = "cortex-a72"  # of a Raspberry Pi 4
ROOT = Path(__file__).parents[2]
RECIPE = Path(__file__).parent / "userland.sh"


@pytest.fixture(scope="session")
def arm_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAgent]:
    """A real agent under emulation, with a store of its own."""
    if missing := [tool for tool in (EMULATOR, "apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        absent(f"an emulated board needs {', '.join(missing)}: install Debian's qemu-user-static")
    folder = tmp_path_factory.mktemp("arm")
    agent = LocalAgent(store=folder / "store", python=str(interpreter(userland(), folder)))
    yield agent
    agent.stop()


@pytest.fixture(scope="session")
def arm_board(arm_agent: LocalAgent) -> Iterator[Board]:
    """The host's connection to `arm_agent`."""
    with Board(LOCAL, arm_agent.address, arm_agent.token) as board:
        yield board


def userland() -> Path:
    """The folder with the aarch64 programs, made if its recipe has changed since it was last (half a minute)."""
    made_of = RECIPE.read_bytes() + (ROOT / ".ci" / "constraints.txt").read_bytes()
    target = cache() / f"userland-arm64-{hashlib.sha256(made_of).hexdigest()[:12]}"
    with open(cache() / "userland-arm64.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed
        if not target.exists():
            part = target.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            made = subprocess.run(["sh", RECIPE, part, sys.executable], capture_output=True, text=True)
            if made.returncode:
                raise RuntimeError(f"{RECIPE} failed; the end of what it said:\n{(made.stdout + made.stderr)[-2000:]}")
            part.rename(target)
    return target


def interpreter(userland: Path, folder: Path) -> Path:
    """An executable that is Python on the emulated board, with the agent of this repository on its path."""
    path = folder / "python3"
    path.write_text(
        f"""#!/bin/sh
export PYTHONHOME='{userland}/usr' PYTHONPATH='{ROOT}/device_agent:{ROOT}/proto'
exec {EMULATOR} -cpu {CPU} -L '{userland}' -0 "$0" '{userland}/usr/bin/python3.11' "$@"
"""
    )
    path.chmod(0o700)
    return path
