"""A reader of a file sees the old content or the new, never half of it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteback.errors import UsageError
from liteback.files import check_file, check_folder, write_atomic, write_output


def test_text_and_bytes_are_written_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / ("n" * 250)  # the longest names leave no room for an ending
    write_atomic(path, "größer")
    assert path.read_bytes() == "größer".encode()
    write_atomic(path, b"\0\1")
    assert path.read_bytes() == b"\0\1"
    assert list(path.parent.iterdir()) == [path]


def test_text_with_a_name_that_is_no_utf_8_is_written(tmp_path: Path) -> None:
    write_atomic(tmp_path / "report.html", f"ä {os.fsdecode(bytes([0xE8]))} \ud800")
    assert (tmp_path / "report.html").read_bytes() == "ä \\xe8 ?".encode()


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


def test_places_that_cannot_be_written_to_are_named_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()

    def folder(path: Path) -> None:
        check_folder(path, "a recording", "manifest.json")

    for check, place, says in (
        (check_file, "file/report.html", "file' is not a folder"),
        (check_file, "file/deep/report.html", "file' is not a folder"),
        (check_file, "other", "Is a directory"),
        (folder, "file/recording", "file' is not a folder"),
        (folder, "other", "holds something other than a recording"),
    ):
        with pytest.raises(UsageError, match=says):
            check(tmp_path / place)
    for place in ("report.html", "new/report.html", "file"):
        check_file(tmp_path / place)
    for place in ("new", "new/recording"):
        folder(tmp_path / place)
    (tmp_path / "other" / "manifest.json").touch()
    folder(tmp_path / "other")


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may write anywhere: what `os.access` asks about is the real user, who is nobody for a while."""
    if root := os.geteuid() == 0:
        os.setreuid(65534, -1)
    yield
    if root:
        os.setreuid(0, -1)


def test_a_folder_that_is_read_only_is_named_beforehand(ordinary_user: None) -> None:
    with tempfile.TemporaryDirectory() as everyones:  # pytest's own folders are closed to others
        place = Path(everyones)
        for check in (check_file, lambda path: check_folder(path, "a recording")):
            place.chmod(0o777)
            check(place / "new")
            place.chmod(0o555)
            with pytest.raises(UsageError, match="may not be written to"):
                check(place / "new")
