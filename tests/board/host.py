"""What a box takes of this machine: the root file systems, folders, cgroups; and whether the machine can give it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "build"
RESTS_ON = {"amd64": (), "arm64": ("amd64",), "vm": ("arm64", "amd64")}
# Mounts and processes of a recipe end with the run that started it.
CONFINED = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
TOOLS = ["ip", "nft", "tc", "nsenter", "unshare", "setpriv", "mkfs.ext4", "ssh", "ssh-keygen", "mmdebstrap"]
VM_TOOLS = ["qemu-system-aarch64", "cpio"]
EMULATOR = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")


def missing(kind: str) -> str:
    """Why this machine cannot hold a box of `kind` (a recipe's name), and the remedy; empty where it can."""
    if os.uname().sysname != "Linux" or os.geteuid() != 0:
        return "a board in a box needs root on Linux, for its namespaces and mounts"
    tools = TOOLS + (VM_TOOLS if kind == "vm" else [])
    if absent := [tool for tool in tools if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None]:
        return f"a board in a box needs {', '.join(absent)}: run {HERE / 'install.sh'}{' vm' if kind == 'vm' else ''}"
    if kind != "amd64" and not EMULATOR.exists():
        return f"an arm64 box needs {EMULATOR}: run {HERE / 'install.sh'}"
    if not cgroup2():
        return "a board in a box needs a mounted cgroup2 file system"
    if subprocess.run([*CONFINED, "true"], capture_output=True).returncode:
        return "a board in a box needs namespaces, which this machine's root may not make"
    return ""


def cgroup2() -> Path | None:
    """Where the cgroup2 hierarchy is mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)


def cache() -> Path:
    folder = Path(os.environ.get("LITEBACK_TEST_CACHE", "~/.cache/liteback-tests")).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def built(name: str) -> Path:
    """What the recipe `name` of `build` makes, made if a recipe that it rests on has changed since it last was."""
    recipes = [BUILD / "debian.sh", *(BUILD / f"{each}.sh" for each in (name, *RESTS_ON[name]))]
    digest = hashlib.sha256(b"".join(recipe.read_bytes() for recipe in recipes)).hexdigest()
    target = cache() / f"{name}-{digest[:12]}"
    if target.exists():
        return target
    base = [str(built(each)) for each in RESTS_ON[name][:1]]
    with _locked(target.with_suffix(".lock")):
        if not target.exists():  # another process has made it meanwhile
            part, log = target.with_suffix(".part"), target.with_suffix(".log")
            shutil.rmtree(part, ignore_errors=True)
            with open(log, "w") as out:
                command = [*CONFINED, "sh", str(BUILD / f"{name}.sh"), str(part), *base]
                if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out).returncode:
                    raise RuntimeError(f"the recipe {name} failed; the end of {log}:\n{log.read_text()[-2000:]}")
            part.rename(target)
    return target


class Place:
    """A folder and a cgroup of one box, held by a lock that ends with this process.

    What a killed run left (its processes, namespaces and mounts went with it) is removed when the next place is made.
    """

    def __init__(self) -> None:
        boxes = cache() / "boxes"
        boxes.mkdir(exist_ok=True)
        with _places():
            for left in boxes.iterdir():
                with contextlib.suppress(BlockingIOError), _locked(left / "lock", fcntl.LOCK_NB):
                    _remove(left)
            self.folder = Path(tempfile.mkdtemp(prefix="box-", dir=boxes))
            self._lock = _lock(self.folder / "lock")
        self.cgroup = _cgroup_of(self.folder)
        self.cgroup.mkdir()

    def remove(self) -> None:
        with _places():  # else another run could take a half removed folder for one that was left
            _remove(self.folder)
        os.close(self._lock)


def _remove(folder: Path) -> None:
    cgroup = _cgroup_of(folder)
    if cgroup.exists():
        empty(cgroup)
    shutil.rmtree(folder)


def empty(cgroup: Path) -> None:
    """Remove a cgroup and those in it, once their processes, killed, are gone."""
    while "populated 1" in (cgroup / "cgroup.events").read_text():
        time.sleep(0.01)
    for folder, _, _ in os.walk(cgroup, topdown=False):
        os.rmdir(folder)


def _cgroup_of(folder: Path) -> Path:
    root = cgroup2()
    assert root is not None, "missing() says so first"
    return root / f"liteback-{folder.name}"


def _lock(path: Path, flags: int = 0) -> int:
    """A descriptor that holds the lock until it is closed. Raises: BlockingIOError where LOCK_NB is asked for."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def _locked(path: Path, flags: int = 0) -> Iterator[None]:
    descriptor = _lock(path, flags)
    try:
        yield
    finally:
        os.close(descriptor)


def _places() -> contextlib.AbstractContextManager[None]:
    """While it is open nobody else makes or removes a place."""
    return _locked(cache() / "boxes.lock")
