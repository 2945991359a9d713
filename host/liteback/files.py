"""Reading models, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from .errors import UsageError


def write_atomic(path: Path | str, data: str | bytes) -> None:
    """Write `data` (text as UTF-8) to `path`: beside it, flushed to the disk, then renamed.

    After a crash or a full disk, `path` holds what it held before. Folders on the way are made.

    Raises: OSError.
    """
    path = Path(path)
    if not path.name:  # `.` or `/`
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{secrets.token_hex(8)}.part")  # not the name: it may have no room for an ending
    try:
        with beside.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_output(path: Path | str, data: str | bytes) -> None:
    """`write_atomic`, to where the user wants it.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        write_atomic(path, data)
    except OSError as error:
        raise UsageError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error


def check_folder(folder: Path, what: str, *marks: str) -> None:
    """That a folder to write to is new, empty, or of the same kind: one of `marks`, which are globs, matches in it.

    Raises:
        UsageError: it holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not any(next(folder.glob(mark), None) for mark in marks):
        raise UsageError(f"The folder {str(folder)!r} holds something other than {what}. Choose another name.")


def read_model(model: str | Path | bytes) -> bytes:
    """The bytes of a .tflite file.

    Raises:
        UsageError: it cannot be read.
    """
    if isinstance(model, bytes):
        return model
    try:
        return Path(model).read_bytes()
    except OSError as error:
        raise UsageError(f"Cannot read the model {str(model)!r}: {error.strerror or error}.") from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
