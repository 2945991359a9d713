"""Everything the agent needs on a board, laid out on the workstation and packed into one file.

    agent  supervise  python      what starts it (shell)
    site/                         the wheels for exactly the board's tags, the agent, the protocol
    bundle.json                   what is inside

The same packages and sources make the same bytes, and so the same name: `<version>-<hash>`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import platformdirs

from liteback_deploy import scripts
from liteback_deploy.errors import BadRequest, Unsuitable
from liteback_deploy.matrix import Selection

_SOURCES = ("liteback_agent", "liteback_proto")
_LAYOUT = 2  # raised when the folders inside a bundle change
_PIP_SECONDS = 900.0
# What a board never reads: headers, stubs, tests, the command-line tools of packages, and RECORD, which has the sums of
# those tools with the path of this workstation's Python in them.
_LEFT_OUT = re.compile(r"(^|/)(__pycache__|tests?|include|bin)/|\.(pyi|pxd|h|hpp|a|c|pyc)$|\.dist-info/RECORD$")


@dataclass(frozen=True)
class Bundle:
    """A packed bundle in the cache. size: of the file; unpacked: of what it becomes, in bytes."""

    id: str
    path: Path
    sha256: str
    size: int
    unpacked: int
    runtime: str
    pins: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "sha256": self.sha256,
            "bytes": self.size,
            "runtime": self.runtime,
            "packages": list(self.pins),
        }


def build(selection: Selection, python_path: str, wheelhouse: Path | None = None) -> Bundle:
    """The bundle for a board, from the cache or made.

    python_path: the board's Python. wheelhouse: a folder of wheels, for a workstation without internet.

    Raises:
        BadRequest: the wheelhouse lacks a wheel.
        Unsuitable: the package index lacks one.
    """

    def make(folder: Path) -> None:
        shutil.copytree(_wheels(selection, wheelhouse), folder / "tree" / "site")
        _make(folder, selection, python_path)

    return _read(_cached("bundles", _key(selection, python_path), make))


def sources() -> Iterator[tuple[str, bytes]]:
    """(path, content) of the agent and the protocol, found without importing them."""
    for package in _SOURCES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise BadRequest(f"The package {package} is not installed beside liteback. Install liteback anew.")
        root = Path(spec.submodule_search_locations[0])
        for file in sorted(root.rglob("*.py")):
            yield f"{package}/{file.relative_to(root).as_posix()}", file.read_bytes()


def pack(tree: Path) -> bytes:
    """A folder as a .tar.gz that is the same whenever the files are."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", compresslevel=6, mtime=0, filename="") as squeezed,
        tarfile.open(fileobj=squeezed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in sorted(tree.rglob("*")):
            member = tarfile.TarInfo(path.relative_to(tree).as_posix())
            executable = path.is_dir() or (path.parent == tree and not path.suffix)
            member.mode = 0o755 if executable else 0o644
            if path.is_dir():
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            else:
                member.size = path.stat().st_size
                with path.open("rb") as file:
                    tar.addfile(member, file)
    return buffer.getvalue()


def _cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of that key in the cache, made if it is not there: beside, then renamed."""
    folder = platformdirs.user_cache_path("liteback") / kind / key
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as beside:
            make(Path(beside) / "made")
            with contextlib.suppress(OSError):  # another process may have been faster
                (Path(beside) / "made").rename(folder)
    return folder


def _wheels(selection: Selection, wheelhouse: Path | None) -> Path:
    """The packages of a selection, laid out: they stay while the agent's own sources change."""
    key = hashlib.sha256(repr((_LAYOUT, selection)).encode()).hexdigest()[:32]
    return _cached("wheels", key, lambda folder: _lay_out(folder, selection, wheelhouse))


def _make(folder: Path, selection: Selection, python_path: str) -> None:
    tree = folder / "tree"
    site = tree / "site"
    for path, content in sources():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
    for name in ("agent", "supervise"):
        (tree / name).write_text(scripts.text(f"bundle-{name}.sh"), encoding="utf-8")
    (tree / "python").write_text(_launcher(python_path), encoding="utf-8")
    digest = _digest(tree)
    facts = {
        "id": f"{installed_version('liteback')}-{digest[:12]}",
        "pins": selection.pins,
        "python": python_path,
        "machine": selection.machine,
        "runtime": f"{selection.runtime.module} {selection.runtime.version}",
    }
    (tree / "bundle.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    unpacked = sum(path.stat().st_size for path in tree.rglob("*"))
    data = pack(tree)
    (folder / "bundle.tar.gz").write_bytes(data)
    shutil.rmtree(tree)
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "unpacked": unpacked}
    (folder / "bundle.json").write_text(json.dumps({**facts, **sums}), encoding="utf-8")


def _launcher(python_path: str) -> str:
    """The board's Python with the bundle's packages, and nothing of the user's own."""
    return (
        '#!/bin/sh\nhere=$(dirname "$(readlink -f "$0")")\n'
        f'cd "$here/site" && PYTHONNOUSERSITE=1 PYTHONPATH=$here/site exec {shlex.quote(python_path)} "$@"\n'
    )


def _lay_out(site: Path, selection: Selection, wheelhouse: Path | None) -> None:
    """The wheels, unpacked as pip would on the board; the board itself compiles nothing and needs no pip."""
    source = ["--no-index", "--find-links", str(wheelhouse)] if wheelhouse is not None else []
    tags = [
        word
        for flag, values in (("--platform", selection.platforms), ("--abi", selection.abis))
        for value in values
        for word in (flag, value)
    ]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--target", str(site), "--no-deps", "--no-compile", "--only-binary", ":all:", *source]
    command += ["--implementation", "cp", "--python-version", ".".join(map(str, selection.python)), *tags]
    # A wheel's own rule about Python is checked against this machine's; the pins are exact already.
    command += ["--ignore-requires-python", *selection.pins]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unsuitable(
            f"The wheels must be here within {_PIP_SECONDS:.0f} s, and are not: is the way to the package index slow? "
            "Try again, or fetch them elsewhere and give the folder with --wheelhouse:\n" + hint(selection)
        ) from error
    if result.returncode:
        reason = "\n".join(line for line in result.stderr.splitlines() if "ERROR" in line) or result.stderr.strip()
        if wheelhouse is not None:
            raise BadRequest(
                f"--wheelhouse {wheelhouse} must hold a wheel of each package.\n{reason}\n{hint(selection)}"
            )
        python = ".".join(map(str, selection.python))
        raise Unsuitable(
            f"The wheels for {selection.machine}, Python {python} cannot be had:\n{reason}\n"
            "Without internet here, fetch them elsewhere and give the folder with --wheelhouse:\n" + hint(selection)
        )
    for path in sorted(site.rglob("*"), reverse=True):
        relative = path.relative_to(site).as_posix() + ("/" if path.is_dir() else "")
        if _LEFT_OUT.search(relative):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def hint(selection: Selection) -> str:
    """The command that fills a wheelhouse for a board."""
    platforms = [f"--platform {tag}" for tag in selection.platforms]
    abis = [f"--abi {tag}" for tag in selection.abis]
    python = ".".join(map(str, selection.python))
    words = ["pip download -d WHEELHOUSE --no-deps --only-binary :all: --implementation cp --python-version", python]
    return "  " + " ".join([*words, *platforms, *abis, *selection.pins])


def _key(selection: Selection, python_path: str) -> str:
    """A name for all that goes in: what is equal here is equal there."""
    digest = hashlib.sha256()
    shell = [scripts.text(f"bundle-{name}.sh") for name in ("agent", "supervise")]
    digest.update(repr((_LAYOUT, selection, python_path, installed_version("liteback"), shell)).encode())
    for path, content in sources():
        digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()[:32]


def _digest(tree: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(tree).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _read(folder: Path) -> Bundle:
    facts = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    return Bundle(
        id=facts["id"],
        path=folder / "bundle.tar.gz",
        sha256=facts["sha256"],
        size=facts["size"],
        unpacked=facts["unpacked"],
        runtime=facts["runtime"],
        pins=tuple(facts["pins"]),
    )
