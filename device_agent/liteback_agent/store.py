"""The model store: a folder of files named by their sha256. A cut upload goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from typing import BinaryIO, Callable, List, Tuple

from liteback_agent.errors import AgentError

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMPLETE, _PARTIAL = ".tflite", ".part"


class Store:
    """Complete models and partial uploads, at most `quota` bytes in all. Nothing is removed unasked."""

    def __init__(self, folder: str, quota: int) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = os.path.abspath(folder)
        self.quota = quota

    def path(self, sha256: str) -> str:
        """The file of a complete model.

        Raises:
            AgentError: `no-such-model`.
        """
        path = self._name(sha256, _COMPLETE)
        if not os.path.exists(path):
            raise AgentError("no-such-model", f"The store has no model {sha256}. Upload it first.")
        return path

    def models(self) -> List[Tuple[str, int]]:
        """(sha256, bytes) of each complete model."""
        names = sorted(name for name in os.listdir(self.folder) if name.endswith(_COMPLETE))
        return [(name[: -len(_COMPLETE)], self._size(name)) for name in names]

    def delete(self, sha256: str) -> bool:
        """Remove a model or what there is of it; whether there was anything."""
        found = False
        for ending in (_COMPLETE, _PARTIAL):
            path = self._name(sha256, ending)
            if os.path.exists(path):
                os.remove(path)
                found = True
        return found

    def upload(self, sha256: str, size: int, alive: Callable[[], bool]) -> Upload:
        """Begin an upload, or go on with it. `alive`: whether the client still waits for its turn.

        Raises:
            AgentError: `store-full` when `size` bytes do not fit the quota or the disk.
        """
        complete = self._name(sha256, _COMPLETE)
        partial = _lock(self._name(sha256, _PARTIAL), alive)
        try:
            if os.path.exists(complete) and file_sha256(complete) == sha256:
                os.remove(partial.name)
                partial.close()
                return Upload(partial, complete, sha256, size, size)
            self._make_room(partial, size)
            return Upload(partial, complete, sha256, size, partial.seek(0, os.SEEK_END))
        except BaseException:
            partial.close()
            raise

    def _make_room(self, partial: BinaryIO, size: int) -> None:
        if os.path.getsize(partial.name) > size:
            partial.truncate(0)
        held = os.path.getsize(partial.name)
        used = sum(self._size(name) for name in os.listdir(self.folder))
        missing, disk = size - held, shutil.disk_usage(self.folder).free
        if missing <= min(self.quota - used, disk):
            return
        if not held:
            os.remove(partial.name)
        why = f"the models in {self.folder} may take {self.quota} bytes, and take {used}. Delete some of them there, "
        why += "or start the agent with a larger --store-quota."
        if missing > disk:
            why = f"the disk of {self.folder} has {disk} bytes free. Make room on it: old models there may go."
        raise AgentError("store-full", f"{missing} bytes do not fit: {why}")

    def _name(self, sha256: str, ending: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise AgentError("bad-request", f"A sha256 is 64 lower-case hex digits. Received: {sha256[:80]!r}")
        return os.path.join(self.folder, sha256 + ending)

    def _size(self, name: str) -> int:
        try:
            return os.path.getsize(os.path.join(self.folder, name))
        except FileNotFoundError:  # another upload has just been completed, or deleted
            return 0


class Upload:
    """A model on its way in. It keeps what it has when it is closed early."""

    def __init__(self, partial: BinaryIO, complete: str, sha256: str, size: int, held: int) -> None:
        self._partial, self._complete = partial, complete
        self._sha256, self._size = sha256, size
        self.held = held

    @property
    def stored(self) -> bool:
        """Whether the store already had the whole model."""
        return self._partial.closed

    def add(self, offset: int, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            AgentError: `bad-request` when they are not the next, or too many; `store-full` when the disk is.
        """
        if offset != self.held or self.held + len(data) > self._size:
            raise AgentError(
                "bad-request",
                f"Byte {self.held} of {self._size} is next. Received: {len(data)} bytes at {offset}",
            )
        try:
            self._partial.write(data)
        except OSError as error:
            raise AgentError("store-full", f"The disk of the store does not take more: {error}") from error
        self.held += len(data)

    def finish(self) -> bool:
        """Verify the sha256 and make the model available; False where bytes are missing still.

        Raises:
            AgentError: `bad-data` when the sha256 does not match; then nothing is kept.
        """
        if self.stored or self.held < self._size:
            return self.stored
        self._partial.flush()
        os.fsync(self._partial.fileno())
        found = file_sha256(self._partial.name)
        if found != self._sha256:
            os.remove(self._partial.name)
            raise AgentError("bad-data", f"The upload's sha256 is {found}, not {self._sha256}. Send it again.")
        os.replace(self._partial.name, self._complete)
        return True

    def close(self) -> None:
        self._partial.close()


def file_sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _lock(path: str, alive: Callable[[], bool]) -> BinaryIO:
    """Open for appending, alone: uploads of one model take turns, also of two agents that share a store."""
    while alive():
        file = open(path, "ab")  # noqa: SIM115  the Upload closes it
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return file
        except BlockingIOError:
            time.sleep(0.05)
        file.close()  # taken, or renamed or removed by the one who had the lock before
    raise AgentError("bad-request", "The client went away before its turn to upload.")
