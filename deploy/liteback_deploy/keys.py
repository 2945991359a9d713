"""The keys of direct connections: what this workstation keeps of each board, and when a deployment makes new ones."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import platformdirs

from liteback_deploy import certificates
from liteback_deploy.certificates import BOARD, WORKSTATION
from liteback_deploy.endpoint import Endpoint
from liteback_deploy.errors import BadRequest
from liteback_deploy.facts import Facts

PORT = 50443
_RENEW_DAYS = 90.0  # a deployment makes new keys when the old ones have fewer days left


@dataclass(frozen=True)
class Keys:
    """The files of one board on this workstation: the board's certificate, and our own with its private key."""

    folder: Path

    @property
    def board(self) -> Path:
        return self.folder / "board.pem"

    @property
    def client(self) -> Path:
        return self.folder / "client.pem"

    @property
    def key(self) -> Path:
        return self.folder / "client.key"

    @property
    def sum(self) -> str:
        """The sum of both certificates, as `board/facts.sh` makes it."""
        return hashlib.sha256(self.board.read_bytes() + self.client.read_bytes()).hexdigest()

    @property
    def days_left(self) -> float:
        return certificates.days_left(self.board.read_bytes())


@dataclass(frozen=True)
class Change:
    """What a deployment does about direct connections.

    port: where the board listens then; 0: nowhere. ours: the files that this workstation keeps; theirs: the board's, as
    a tar archive.
    """

    port: int
    ours: Mapping[str, bytes]
    theirs: bytes


def folder(endpoint: Endpoint) -> Path:
    """Where the keys of a board are, there or not. A board is who it is for known_hosts, and the user there."""
    name = quote(f"{endpoint.user}@{endpoint.known_as}", safe="@")
    return platformdirs.user_data_path("liteback") / "direct" / name


def kept(endpoint: Endpoint) -> Keys | None:
    """The keys of a board; None where there are none, or not all of them."""
    keys = Keys(folder(endpoint))
    return keys if all(path.is_file() for path in (keys.board, keys.client, keys.key)) else None


def change(facts: Facts, endpoint: Endpoint, direct: bool | None, port: int | None = None) -> Change | None:
    """What is still to be done so that the board takes direct connections, or takes none; None: nothing.

    direct: None: it stays as it is. port: None: the one that it has, else 50443.

    Raises:
        BadRequest: a port for no direct connections.
    """
    if port is not None and not direct:
        raise BadRequest(f"--direct-port needs --direct beside it. Received: --direct-port {port} alone.")
    there, fingerprint = facts.direct
    if not direct:
        return Change(0, {}, b"") if direct is False and there else None
    wanted, keys = port or there or PORT, kept(endpoint)
    if keys is not None and (there, fingerprint) == (wanted, keys.sum) and keys.days_left > _RENEW_DAYS:
        return None
    board, client = certificates.make(BOARD), certificates.make(WORKSTATION)
    ours = {"board.pem": board.certificate, "client.pem": client.certificate, "client.key": client.key}
    theirs = {"board.pem": board.certificate, "board.key": board.key, "client.pem": client.certificate}
    return Change(wanted, ours, _archive(theirs))


def stage(endpoint: Endpoint, made: Change) -> Keys:
    """Lay down our side of new keys, beside those that are kept until `settle`."""
    new = _staged(endpoint)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True, mode=0o700)
    for name, content in made.ours.items():
        with open(os.open(new / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    return Keys(new)


def settle(endpoint: Endpoint, done: Change) -> None:
    """Keep what belongs to a change that holds: the staged keys, or none."""
    forget(endpoint)
    if done.port:
        _staged(endpoint).rename(folder(endpoint))


def unstage(endpoint: Endpoint) -> None:
    """Remove keys that did not come to be used."""
    shutil.rmtree(_staged(endpoint), ignore_errors=True)


def forget(endpoint: Endpoint) -> None:
    """Remove the keys of a board from this workstation."""
    shutil.rmtree(folder(endpoint), ignore_errors=True)


def _staged(endpoint: Endpoint) -> Path:
    place = folder(endpoint)
    return place.with_name(f".{place.name}.new")


def _archive(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o600, len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
