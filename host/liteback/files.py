"""Reading models, and writing files so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liteback.errors import UsageError


def write_atomic(path: Path | str, data: str | bytes) -> None:
    """Write `data` (text as UTF-8, see `words.printable`) to `path`: beside it, flushed to the disk, then renamed.

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
            file.write(data.encode(errors="printable") if isinstance(data, str) else data)
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


def check_file(path: Path) -> None:
    """That a file could be written at `path`, to be asked before the work whose result goes there.

    Raises:
        UsageError: `path` is a folder, or where it would be may not be written to.
    """
    if path.is_dir():
        raise UsageError(f"Cannot write {str(path)!r}: {os.strerror(errno.EISDIR)}.")
    _check_place(path, next(p for p in path.absolute().parents if os.path.lexists(p)))


def check_folder(folder: Path, what: str, *marks: str) -> None:
    """That a folder to write to is new, empty, or of the same kind: one of `marks`, which are globs, matches in it.

    Raises:
        UsageError: it holds something else, or may not be written to.
    """
    if not folder.is_dir():
        _check_place(folder, next(p for p in folder.absolute().parents if os.path.lexists(p)))
        return
    if any(folder.iterdir()) and not any(next(folder.glob(mark), None) for mark in marks):
        raise UsageError(f"The folder {str(folder)!r} holds something other than {what}. Choose another name.")
    _check_place(folder, folder)


def _check_place(path: Path, folder: Path) -> None:
    """folder: what is there of the folders on the way to `path`."""
    if not folder.is_dir():
        raise UsageError(f"Cannot write {str(path)!r}: {str(folder)!r} is not a folder.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"Cannot write {str(path)!r}: the folder {str(folder)!r} may not be written to.")


def read_model(model: str | Path | bytes) -> bytes:
    """The bytes of a .tflite file, from its path, or as they are.

    Raises:
        UsageError: it cannot be read, or is neither.
    """
    if isinstance(model, (bytes, bytearray, memoryview)):
        return bytes(model)
    if not isinstance(model, (str, os.PathLike)):
        raise UsageError(f"A .tflite file is given by its path, or as its bytes. Received: {type(model).__name__}.")
    with _reading(model):
        return Path(model).read_bytes()


def check_model(path: Path) -> None:
    """That there is a file to read at `path`, to be asked before the work on it.

    It does not read all of it: once a large block is given back, the allocator keeps later ones (MMAP_THRESHOLD in
    mallopt(3)), and a reconstruction would take more memory.

    Raises:
        UsageError: it cannot be read.
    """
    with _reading(path), path.open("rb") as file:
        file.read(1)


@contextmanager
def _reading(model: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"Cannot read the model {str(model)!r}: {error.strerror or error}.") from error


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it outlives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
