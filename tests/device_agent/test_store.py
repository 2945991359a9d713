"""The store keeps what it was given, goes on where it was cut, and refuses what does not fit."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from liteback_agent.errors import AgentError
from liteback_agent.store import Store

DATA = bytes(range(256)) * 40
SHA256 = hashlib.sha256(DATA).hexdigest()


def alive() -> bool:
    return True


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"), quota=len(DATA) + 100)


def put(store: Store, data: bytes) -> None:
    upload = store.upload(hashlib.sha256(data).hexdigest(), len(data), alive)
    upload.add(0, data)
    assert upload.finish()
    upload.close()


def refusal(kind: str) -> pytest.RaisesExc[AgentError]:
    return pytest.RaisesExc(AgentError, check=lambda error: error.kind == kind)


def test_an_upload_and_its_removal(store: Store) -> None:
    put(store, DATA)
    assert store.models() == [(SHA256, len(DATA))]
    assert Path(store.path(SHA256)).read_bytes() == DATA
    assert store.delete(SHA256)
    assert not store.delete(SHA256)
    assert os.listdir(store.folder) == []


def test_what_is_there_is_not_sent_again(store: Store) -> None:
    put(store, DATA)
    again = store.upload(SHA256, len(DATA), alive)
    assert (again.held, again.stored) == (len(DATA), True)


def test_a_damaged_file_is_sent_again(store: Store) -> None:
    put(store, DATA)
    Path(store.path(SHA256)).write_bytes(DATA[:-1] + b"\0")
    store.quota *= 2
    upload = store.upload(SHA256, len(DATA), alive)
    assert (upload.held, upload.stored) == (0, False)
    upload.add(0, DATA)
    upload.finish()
    upload.close()
    assert Path(store.path(SHA256)).read_bytes() == DATA


def test_a_cut_upload_goes_on(store: Store) -> None:
    first = store.upload(SHA256, len(DATA), alive)
    first.add(0, DATA[:1000])
    assert not first.finish()
    first.close()
    with refusal("no-such-model"):
        store.path(SHA256)
    second = store.upload(SHA256, len(DATA), alive)
    assert second.held == 1000
    second.add(1000, DATA[1000:])
    assert second.finish()
    second.close()
    assert os.listdir(store.folder) == [f"{SHA256}.tflite"]


def test_a_wrong_sha256_leaves_nothing(store: Store) -> None:
    upload = store.upload(SHA256, len(DATA), alive)
    upload.add(0, DATA[::-1])
    with refusal("bad-data"):
        upload.finish()
    upload.close()
    assert os.listdir(store.folder) == []


@pytest.mark.parametrize(("offset", "data"), [(1, b"x"), (0, DATA + b"x")])
def test_bytes_in_the_wrong_place(store: Store, offset: int, data: bytes) -> None:
    upload = store.upload(SHA256, len(DATA), alive)
    with refusal("bad-request"):
        upload.add(offset, data)
    upload.close()


@pytest.mark.parametrize("name", ["", "../../etc/passwd", SHA256.upper(), SHA256 + "0"])
def test_only_a_sha256_is_a_name(store: Store, name: str) -> None:
    for call in (store.path, store.delete, lambda sha256: store.upload(sha256, 1, alive)):
        with refusal("bad-request"):
            call(name)


def test_the_quota_counts_partial_uploads(store: Store) -> None:
    partial = store.upload(SHA256, len(DATA), alive)
    partial.add(0, DATA[:5000])
    partial.close()
    with refusal("store-full"):
        store.upload("0" * 64, len(DATA) - 4000, alive)
    assert os.listdir(store.folder) == [f"{SHA256}.part"]
    resumed = store.upload(SHA256, len(DATA), alive)  # what is held is not asked for twice
    resumed.close()


def test_what_does_not_fit_is_told_where_room_can_be_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AgentError, match=f"the models in {store.folder} may take {store.quota} bytes, and take 0"):
        store.upload(SHA256, store.quota + 1, alive)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=5))
    with pytest.raises(AgentError, match=f"the disk of {store.folder} has 5 bytes free"):
        store.upload(SHA256, 10, alive)


def test_a_partial_longer_than_the_model_starts_anew(store: Store) -> None:
    partial = store.upload(SHA256, len(DATA), alive)
    partial.add(0, DATA)
    partial.close()
    shorter = store.upload(SHA256, 10, alive)
    assert shorter.held == 0
    shorter.close()


def test_uploads_of_one_model_take_turns(store: Store) -> None:
    first = store.upload(SHA256, len(DATA), alive)
    seconds = []
    waiter = threading.Thread(target=lambda: seconds.append(store.upload(SHA256, len(DATA), alive)))
    waiter.start()
    first.add(0, DATA)
    first.finish()
    assert seconds == []
    first.close()
    waiter.join(10)
    assert [second.stored for second in seconds] == [True]


def test_a_client_that_left_does_not_wait(store: Store) -> None:
    first = store.upload(SHA256, len(DATA), alive)
    with refusal("bad-request"):
        store.upload(SHA256, len(DATA), lambda: False)
    first.close()
