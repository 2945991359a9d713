"""A reader of a file sees the old content or the new, never half of it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from liteback.errors import UsageError
from liteback.files import write_atomic, write_output


def test_text_and_bytes_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / ("n" * 250)  # the longest names leave no room for an ending
    write_atomic(path, "größer")
    assert path.read_bytes() == "größer".encode()
    write_atomic(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert list(path.parent.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_atomic(tmp_path / "atomic", "")
    assert stat.S_IMODE((tmp_path / "atomic").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "cannot replace a folder")
    with pytest.raises(UsageError, match=r"Cannot write .*folder'"):
        write_output(tmp_path / "folder", "nor for a user")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
