"""A recording survives the disk and a cut in the middle, and says what is wrong with a bad one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liteback.api import calibrate, compare
from liteback.errors import NoCertificate, RunFailed, UsageError
from liteback.recording import FORMAT, PLAIN, Certificate, Manifest, Recording, RecordingWriter, only_writer

MODEL = b"the bytes of a model"
GOOD = Certificate(samples=2, outputs_equal=True, differing=(), shared_equal=True, deterministic=True)


def a_manifest(**changes: Any) -> Manifest:
    values = Manifest(
        format=FORMAT,
        model_sha256=hashlib.sha256(MODEL).hexdigest(),
        created="2026-01-02T03:04:05Z",
        board={"hostname": "pi4", "machine": "aarch64", "ram_available_bytes": 1},
        runtime="tflite_runtime",
        runtime_version="2.14.0",
        kernels="default",
        delegate="",
        threads=1,
        agent_version="0.1.0",
        inputs="random, seed 1",
        samples=2,
        passes=((3, 4), (4, 7)),
        untappable=(("Const", "a constant"),),
    )
    return replace(values, **changes)


def arrays(sample: int, tensors: tuple[int, ...]) -> dict[int, np.ndarray]:
    return {t: np.random.default_rng(100 * sample + t).integers(-128, 127, (2, t), np.int8) for t in tensors}


def fill(writer: RecordingWriter) -> None:
    """Write what is missing, as a capture does."""
    for sample in range(writer.manifest.samples):
        writer.write_inputs(sample, {0: np.float32([[sample]])})
        for pass_, tensors in ((PLAIN, (7,)), *enumerate(writer.manifest.passes)):
            if not writer.has(sample, pass_):
                writer.write(sample, pass_, arrays(sample, tensors), invoke_ns=1000 * sample + pass_)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    fill(writer)
    return writer.finish(GOOD)


def test_what_was_written_is_read(recording: Recording) -> None:
    again = Recording.open(recording.path)
    assert again.complete
    assert again.model_bytes() == MODEL
    assert again.manifest == recording.manifest
    assert again.manifest.certificate == GOOD
    assert again.manifest.certificate.good
    assert again.manifest.invoke_ns == {"0": (0, 1000), "1": (1, 1001), "plain": (-1, 999)}
    tensors = again.tensors(1)
    assert sorted(tensors) == [0, 3, 4, 7]
    for index, array in arrays(1, (3, 4, 7)).items():
        np.testing.assert_array_equal(tensors[index], array)
    np.testing.assert_array_equal(again.inputs(1)[0], [[1.0]])
    np.testing.assert_array_equal(again.plain(1)[7], arrays(1, (7,))[7])
    again.verify()


@pytest.mark.parametrize(
    "array",
    [
        np.array(True),
        np.array([[True, False]]),
        np.float16([1, np.nan, np.inf]),
        np.array([2**63 - 1, -1], np.int64),
        np.zeros((0, 3), np.float32),
        np.complex64([1 + 2j]),
        np.arange(12, dtype=np.int16).reshape(3, 4).T,
        np.array([[b"", b"\0\xff"], [b"word", "ß".encode()]], object),
        np.array(b"scalar", object),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_every_dtype_keeps_its_bits(tmp_path: Path, array: np.ndarray) -> None:
    manifest = a_manifest(samples=1, passes=((9,),))
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, manifest)
    writer.write_inputs(0, {0: array})
    writer.write(0, 0, {9: array}, 1)
    read = writer.finish(GOOD).tensors(0)[9]
    assert read.dtype == array.dtype
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)


def test_a_cut_recording_is_open_but_not_complete(tmp_path: Path) -> None:
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    writer.write_inputs(0, {0: np.float32([0])})
    recording = Recording.open(tmp_path / "rec")
    assert not recording.complete
    assert len(recording.inputs(0)) == 1
    with pytest.raises(UsageError, match=r"pass_00.*capture` again"):
        recording.tensors(0)
    with pytest.raises(UsageError, match=r"sample_00001.inputs.safetensors: not recorded"):
        recording.verify()
    with pytest.raises(ValueError, match=r"Missing: sample_00000.pass_00"):
        writer.finish(GOOD)


def test_a_writer_that_is_killed_can_be_resumed(tmp_path: Path) -> None:
    """SIGKILL at a moment of its own choosing: whatever is in the journal is whole."""
    program = """
        import sys
        sys.path.insert(0, sys.argv[1])
        from test_recording import *
        writer = RecordingWriter.create(sys.argv[2], MODEL, a_manifest(samples=100_000))
        print("started", flush=True)
        fill(writer)
    """
    path = tmp_path / "rec"
    command = [sys.executable, "-c", textwrap.dedent(program), str(Path(__file__).parent), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not (path / "sample_00003.inputs.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)

    last = max(int(file.name.split(".")[0].removeprefix("sample_")) for file in path.glob("sample_*"))
    torn = last + 2  # a sample that was not begun
    manifest = a_manifest(samples=torn + 1)
    values = {**json.loads((path / "manifest.json").read_text()), "samples": torn + 1}
    (path / "manifest.json").write_text(json.dumps(values))
    (path / ".cafe.part").write_bytes(b"half")
    with (path / "journal.jsonl").open("a") as journal:
        journal.write(f'{{"name": "sample_{torn:05d}.pass_01.safetensors", "sha')
    writer = RecordingWriter.resume(path, replace(manifest, created="later"))
    assert writer.has(0, 0)
    np.testing.assert_array_equal(writer.read(0, 0)[3], arrays(0, (3,))[3])
    assert not writer.has(torn, 1)
    fill(writer)
    recording = writer.finish(GOOD)
    recording.verify()
    assert recording.complete
    assert recording.manifest.created == manifest.created
    assert len(recording.manifest.invoke_ns["1"]) == torn + 1
    assert not list(path.glob(".*"))
    assert not (path / "journal.jsonl").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model_sha256": "0" * 64}, "of another one"),
        ({"threads": 4}, "threads: 1 then, 4 now"),
        ({"inputs": "other.npz"}, "inputs"),
        ({"runtime_version": "2.13.0"}, "runtime_version"),
        ({"board": {"hostname": "pi5", "machine": "aarch64"}}, "hostname: 'pi4' then, 'pi5' now"),
    ],
)
def test_resume_refuses_other_settings(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    with pytest.raises(UsageError, match=named):
        RecordingWriter.resume(tmp_path / "rec", a_manifest(**change))


def test_resume_allows_what_varies_by_the_hour(tmp_path: Path) -> None:
    RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    board = {"hostname": "pi4", "machine": "aarch64", "ram_available_bytes": 999}
    assert not RecordingWriter.resume(tmp_path / "rec", a_manifest(board=board)).has(0, 0)


def test_create_refuses_a_folder_in_use(recording: Recording) -> None:
    with pytest.raises(UsageError, match="which exists"):
        RecordingWriter.create(recording.path, MODEL, a_manifest())


def test_create_refuses_the_manifest_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another model"):
        RecordingWriter.create(tmp_path / "rec", b"other", a_manifest())
    assert not (tmp_path / "rec").exists()


def test_a_pass_holds_its_own_tensors(tmp_path: Path) -> None:
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    with pytest.raises(ValueError, match=r"Received: \[3\]"):
        writer.write(0, 0, arrays(0, (3,)), 1)


@pytest.mark.parametrize("name", ["model.tflite", "sample_00001.pass_01.safetensors"])
def test_verify_finds_a_changed_and_a_missing_file(recording: Recording, name: str) -> None:
    file = recording.path / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"{name}: changed"):
        recording.verify()
    file.unlink()
    with pytest.raises(UsageError, match=f"{name}: No such file"):
        recording.verify()


def test_what_changed_on_the_disk_is_not_measured(recording: Recording) -> None:
    file = recording.path / "sample_00000.pass_00.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=r"sample_00000\.pass_00.*changed"):
        recording.tensors(0)


def test_a_changed_model_is_not_read(recording: Recording) -> None:
    assert recording.model_bytes() == MODEL
    (recording.path / "model.tflite").write_bytes(MODEL + b"!")
    with pytest.raises(UsageError, match=r"model\.tflite: changed"):
        recording.model_bytes()


def test_a_resumed_pass_that_changed_is_no_evidence(tmp_path: Path) -> None:
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    writer.write(0, 0, arrays(0, (3, 4)), 1)
    assert set(writer.read(0, 0)) == {3, 4}
    file = tmp_path / "rec" / "sample_00000.pass_00.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(UsageError, match=r"pass_00\.safetensors: changed"):
        RecordingWriter.resume(tmp_path / "rec", a_manifest()).read(0, 0)


def test_a_finished_recording_that_is_resumed_stays_as_it_is(recording: Recording) -> None:
    before = sorted(p.name for p in recording.path.iterdir())
    resumed = RecordingWriter.resume(recording.path, a_manifest())
    assert set(resumed.read(1, 0)) == {3, 4}
    assert sorted(p.name for p in recording.path.iterdir()) == before


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 64])
def test_a_damaged_tensor_file_is_a_clear_error(recording: Recording, content: bytes) -> None:
    (recording.path / "sample_00000.pass_00.safetensors").write_bytes(content)
    with pytest.raises(UsageError, match=r"sample_00000\.pass_00"):
        recording.tensors(0)


@pytest.mark.parametrize(
    "manifest",
    [None, b"", b"\xff\xfe", b"[]", b"{}", b'{"format": 99}', b'{"format": 1, "samples": "many"}'],
)
def test_opening_garbage_is_a_clear_error(tmp_path: Path, manifest: bytes | None) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(UsageError, match="is not a recording"):
        Recording.open(tmp_path)


@pytest.mark.parametrize("field", ["board", "passes", "certificate", "invoke_ns", "untappable", "files"])
def test_a_field_of_another_type_is_a_clear_error(recording: Recording, field: str) -> None:
    file = recording.path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), field: 7}))
    with pytest.raises(UsageError, match="is not a recording"):
        Recording.open(recording.path)


def test_a_sample_that_is_not_there(recording: Recording) -> None:
    with pytest.raises(UsageError, match="samples 0 to 1"):
        recording.tensors(2)


@pytest.mark.parametrize("name", ["outputs_equal", "shared_equal", "deterministic"])
def test_each_broken_promise_spoils_the_certificate(name: str) -> None:
    assert not replace(GOOD, **{name: False}).good
    assert not replace(GOOD, samples=0).good


def test_what_does_not_count_says_what_to_do(recording: Recording) -> None:
    """A recording that was cut short goes on: that is no reason to begin anew."""
    recording.check_counts()
    for certificate, error, exit_code, says in (
        (None, RunFailed, 6, "Run the same `liteback capture` again: it goes on where it stopped."),
        (replace(GOOD, outputs_equal=False), NoCertificate, 7, "no good certificate: the taps changed what they meas"),
        (replace(GOOD, deterministic=False), NoCertificate, 7, "no good certificate: the model does not repeat itself"),
    ):
        other = Recording(recording.path, replace(recording.manifest, certificate=certificate))
        for refuse in (Recording.check_counts, partial(compare, "model.keras"), calibrate):
            with pytest.raises(error, match=says) as refused:
                refuse(other)
            assert refused.value.exit_code == exit_code


def test_a_full_disk_can_be_resumed_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    writer.write(0, PLAIN, arrays(0, (7,)), invoke_ns=1)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("liteback.recording.write_atomic", full)
    with pytest.raises(RunFailed, match="No space left"):
        writer.write(0, 0, arrays(0, (3, 4)), invoke_ns=1)
    monkeypatch.undo()
    again = RecordingWriter.resume(tmp_path / "rec", a_manifest())
    assert (again.has(0, PLAIN), again.has(0, 0)) == (True, False)


def test_create_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UsageError, match=r"file/rec: Not a directory"):
        RecordingWriter.create(tmp_path / "file" / "rec", MODEL, a_manifest())


def test_a_full_disk_at_the_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("liteback.recording.write_atomic", full)
    with pytest.raises(UsageError, match="No space left"):
        RecordingWriter.create(tmp_path / "rec", MODEL, a_manifest())
    assert list(tmp_path.iterdir()) == []


def test_one_command_at_a_time_writes_a_recording(recording: Recording) -> None:
    refused = pytest.raises(UsageError, match="one command at a time")
    with only_writer(recording.path), refused, only_writer(recording.path):
        pass
    with only_writer(recording.path):
        pass
