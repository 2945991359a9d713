"""A recording: the tensors of a model as a board computed them, in a folder that needs nothing else.

    REC/manifest.json                            what ran where, how, on which inputs, and every file's sha256
        model.tflite                             the untouched model
        sample_00000.inputs.safetensors          what the model was fed
        sample_00000.plain.safetensors           outputs of the untouched model, the certificate's evidence
        sample_00000.pass_00.safetensors         what pass 0 tapped
        journal.jsonl                            one line per file, only until the recording is finished

Keys are tensor indices of the main subgraph, values are raw codes as the device had them; dequantizing is
the reader's business. Every file is written beside and renamed, and enters the journal after that: a
recording that was cut short goes on at the first (sample, pass) it does not have.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from liteback.errors import NoCertificate, RunFailed, UsageError
from liteback.files import sync_folder, write_atomic
from liteback.manifest import FORMAT, Certificate, Manifest
from liteback.tensorfile import Arrays, pack_arrays, read_arrays
from liteback.words import counted

__all__ = ["FORMAT", "PLAIN", "Certificate", "Manifest", "Recording", "RecordingWriter"]

PLAIN = -1  # the pass that runs the untouched model


@dataclass(frozen=True)
class _Entry:
    """A line of the journal. pass_ is None for the inputs."""

    name: str
    sha256: str
    sample: int
    pass_: int | None
    invoke_ns: int


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Be the one process that writes to a recording, until the end of the context.

    Raises: UsageError when another one does.
    """
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(folder)
        raise UsageError(
            f"A recording is written by one command at a time. Received: {path}, which another one is writing. "
            "Wait for it, or record into a new folder."
        ) from None
    except OSError:  # not every file system has locks
        pass
    try:
        yield
    finally:
        os.close(folder)


class RecordingWriter:
    """Fills a recording's folder, sample by sample and pass by pass, in any order."""

    def __init__(self, path: Path, manifest: Manifest, entries: Mapping[str, _Entry]) -> None:
        self._path = path
        self._manifest = manifest
        self._entries = dict(entries)

    @classmethod
    def create(cls, path: Path | str, model_bytes: bytes, manifest: Manifest) -> RecordingWriter:
        """Start a new recording. The folder appears at once with its model and manifest, or not at all.

        Raises: UsageError when `path` is in use or cannot be written; ValueError when the manifest is of
        another model.
        """
        path = Path(path)
        if hashlib.sha256(model_bytes).hexdigest() != manifest.model_sha256:
            raise ValueError(f"The manifest is of another model. Received: model_sha256={manifest.model_sha256}.")
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise UsageError(
                f"A new recording needs a new folder. Received: {path}, which exists. Choose another name."
            )
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            write_atomic(beside / "model.tflite", model_bytes)
            _write_manifest(beside, manifest)
            beside.rename(path)
            sync_folder(path.parent)
        except OSError as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise UsageError(f"A recording's folder must be writable. Received: {path}: {error.strerror}.") from None
        return cls(path, manifest, {})

    @classmethod
    def resume(cls, path: Path | str, manifest: Manifest) -> RecordingWriter:
        """Go on with a recording that was cut short, under the settings it was started with.

        Raises: UsageError when the model, the inputs, the runtime, its settings, the passes or the board are
        others.
        """
        path = Path(path)
        old = _read_manifest(path)
        if old.model_sha256 != manifest.model_sha256:
            raise UsageError(f"A recording is of one model. {path} is of another one. Record into a new folder.")
        differing = [
            f"{name}: {before!r} then, {now!r} now" for name, before, now in _settings(old, manifest) if before != now
        ]
        if differing:
            raise UsageError(
                f"A recording goes on under the settings it was started with. {path} differs in "
                f"{'; '.join(differing)}. Use the old settings, or record into a new folder."
            )
        for leftover in path.glob(".*.part"):  # of a process that was killed in mid-write
            leftover.unlink()
        entries = _read_journal(path)
        if not entries:
            (path / "journal.jsonl").unlink(missing_ok=True)
            return cls(path, old, entries)
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in entries.values())
        write_atomic(path / "journal.jsonl", lines)  # without the torn last line of a crash
        return cls(path, old, entries)

    @property
    def manifest(self) -> Manifest:
        """The manifest of the recording as it was started: a resumed one keeps its passes."""
        return self._manifest

    def has(self, sample: int, pass_: int) -> bool:
        return _file_name(sample, pass_) in self._entries or _file_name(sample, pass_) in self._manifest.files

    def read(self, sample: int, pass_: int) -> dict[int, NDArray[Any]]:
        """What `write` stored, to check a pass against another one after a resume."""
        name = _file_name(sample, pass_)
        sha256 = self._entries[name].sha256 if name in self._entries else self._manifest.files[name]
        return read_arrays(_checked(self._path, name, sha256))

    def write_inputs(self, sample: int, arrays: Arrays) -> None:
        """Store what the model is fed. Raises: RunFailed when the disk takes no more."""
        self._write(sample, None, arrays, 0)

    def write(self, sample: int, pass_: int, arrays: Arrays, invoke_ns: int) -> None:
        """Store what pass `pass_` (or PLAIN) captured of a sample.

        Raises: ValueError when the tensors are not those of the pass; RunFailed when the disk takes no more.
        """
        if pass_ != PLAIN and set(arrays) != set(self._manifest.passes[pass_]):
            raise ValueError(f"Pass {pass_} holds tensors {self._manifest.passes[pass_]}. Received: {sorted(arrays)}.")
        self._write(sample, pass_, arrays, invoke_ns)

    def _write(self, sample: int, pass_: int | None, arrays: Arrays, invoke_ns: int) -> None:
        name = _file_name(sample, pass_)
        content = pack_arrays(arrays)
        entry = _Entry(name, hashlib.sha256(content).hexdigest(), sample, pass_, invoke_ns)
        try:
            write_atomic(self._path / name, content)
            with (self._path / "journal.jsonl").open("a") as journal:
                journal.write(json.dumps(asdict(entry)) + "\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise RunFailed(f"Cannot write {str(self._path / name)!r}: {error.strerror or error}.") from error
        self._entries[name] = entry

    def discard_if_empty(self) -> None:
        """Remove the recording if it holds nothing that ran."""
        if not self._entries and not self._manifest.files:
            shutil.rmtree(self._path, ignore_errors=True)

    def finish(self, certificate: Certificate) -> Recording:
        """Move the journal into the manifest and close the recording.

        Raises: ValueError when a (sample, pass) is missing.
        """
        missing = _missing(self._manifest, {*self._entries, *self._manifest.files})
        if missing:
            raise ValueError(f"A finished recording has every sample and pass. Missing: {', '.join(missing[:5])}.")
        manifest = _with_entries(self._manifest, self._entries)
        _write_manifest(self._path, replace(manifest, certificate=certificate))
        (self._path / "journal.jsonl").unlink(missing_ok=True)
        return Recording.open(self._path)


class Recording:
    """A recording on disk, read one sample at a time.

    What reads a sample raises UsageError where there is none of its number, or its file is missing or changed.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        state = "complete" if self.complete else "cut short"
        return f"<Recording {str(self.path)!r}: {counted(self.sample_count, 'sample')}, {state}>"

    @classmethod
    def open(cls, path: Path | str) -> Recording:
        """Raises: UsageError when `path` is not a recording."""
        if not isinstance(path, (str, os.PathLike)):
            raise UsageError(f"A recording is a folder that `capture` wrote. Received: {type(path).__name__}.")
        path = Path(path)
        return cls(path, _with_entries(_read_manifest(path), _read_journal(path)))

    @classmethod
    def is_complete_at(cls, path: Path) -> bool:
        """Whether a complete recording is in the folder. Raises: UsageError when what is there is a damaged one."""
        return (path / "manifest.json").exists() and cls.open(path).complete

    @property
    def complete(self) -> bool:
        """Every sample and every pass is there. The certificate may still be a bad one."""
        return not _missing(self.manifest, self.manifest.files) and self.manifest.certificate is not None

    def check_counts(self) -> None:
        """That what was measured counts.

        Raises:
            RunFailed: the recording is not complete.
            NoCertificate: its taps changed what they measured, or the model does not repeat itself.
        """
        certificate = self.manifest.certificate
        if certificate is None:
            raise RunFailed(
                f"A recording counts when it is complete, with its certificate. Received: {self.path}, which was cut "
                "short. Run the same `liteback capture` again: it goes on where it stopped."
            )
        if not certificate.good:
            raise NoCertificate(
                f"No number of the recording {self.path} counts, for it has no good certificate: {certificate.problem}"
            )

    @property
    def sample_count(self) -> int:
        """How many samples were asked for; a recording that was cut short holds fewer."""
        return self.manifest.samples

    def model_bytes(self) -> bytes:
        """The untouched .tflite file."""
        return _read_bytes(_checked(self.path, "model.tflite", self.manifest.model_sha256))

    def inputs(self, sample: int) -> dict[int, NDArray[Any]]:
        """Tensor index -> codes the model was fed."""
        return self._arrays(sample, None)

    def plain(self, sample: int) -> dict[int, NDArray[Any]]:
        """Tensor index -> codes of the untouched model's outputs."""
        return self._arrays(sample, PLAIN)

    def tensors(self, sample: int) -> dict[int, NDArray[Any]]:
        """Tensor index -> codes: the inputs, the untouched model's outputs, and what the passes captured."""
        merged = self.inputs(sample)
        if _file_name(sample, PLAIN) in self.manifest.files:
            merged.update(self.plain(sample))
        for pass_ in range(len(self.manifest.passes)):
            merged.update(self._arrays(sample, pass_))
        return merged

    def verify(self) -> None:
        """Hash every file again.

        Raises: UsageError that lists each file that is missing or changed.
        """
        expected = {"model.tflite": self.manifest.model_sha256, **self.manifest.files}
        problems = [problem for name, sha256 in expected.items() if (problem := _check(self.path / name, sha256))]
        problems += [f"{name}: not recorded" for name in _missing(self.manifest, self.manifest.files)]
        if problems:
            raise _changed(self.path, *problems)

    def _arrays(self, sample: int, pass_: int | None) -> dict[int, NDArray[Any]]:
        if not 0 <= sample < self.sample_count:
            raise UsageError(f"{self.path} has samples 0 to {self.sample_count - 1}. Received: sample={sample}.")
        name = _file_name(sample, pass_)
        if name not in self.manifest.files:
            raise UsageError(
                f"A recording is read when it is complete. Missing: {self.path / name}. "
                "Run the same `liteback capture` again: it goes on where it stopped."
            )
        return read_arrays(_checked(self.path, name, self.manifest.files[name]))


def _file_name(sample: int, pass_: int | None) -> str:
    part = "inputs" if pass_ is None else "plain" if pass_ == PLAIN else f"pass_{pass_:02d}"
    return f"sample_{sample:05d}.{part}.safetensors"


def _missing(manifest: Manifest, files: Collection[str]) -> list[str]:
    """Names of the files that a complete recording has and this one lacks; the plain outputs are optional."""
    parts = (None, *range(len(manifest.passes)))
    names = (_file_name(sample, part) for sample in range(manifest.samples) for part in parts)
    return [name for name in names if name not in files]


_SETTINGS = (
    "inputs",
    "samples",
    "passes",
    "runtime",
    "runtime_version",
    "kernels",
    "delegate",
    "threads",
)
_BOARD = ("hostname", "board", "machine", "cpu")


def _settings(old: Manifest, new: Manifest) -> Iterator[tuple[str, Any, Any]]:
    """What must not change between the sessions of one recording: (name, then, now)."""
    for name in _SETTINGS:
        yield name, getattr(old, name), getattr(new, name)
    for fact in _BOARD:  # not what varies by the hour: free memory, temperature
        yield fact, old.board.get(fact), new.board.get(fact)


def _with_entries(manifest: Manifest, entries: Mapping[str, _Entry]) -> Manifest:
    """The manifest with the journal's files and times in it."""
    times: dict[str, dict[int, int]] = {k: dict(enumerate(v)) for k, v in manifest.invoke_ns.items()}
    for entry in entries.values():
        if entry.pass_ is not None:
            key = "plain" if entry.pass_ == PLAIN else str(entry.pass_)
            times.setdefault(key, {})[entry.sample] = entry.invoke_ns
    return replace(
        manifest,
        files={**manifest.files, **{name: entry.sha256 for name, entry in entries.items()}},
        invoke_ns={key: tuple(times[key][s] for s in sorted(times[key])) for key in sorted(times)},
    )


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_atomic(path / "manifest.json", json.dumps(manifest.to_json(), indent=2) + "\n")


def _read_manifest(path: Path) -> Manifest:
    try:
        values = json.loads(_read_bytes(path / "manifest.json"))
        return Manifest.from_json(values)
    except UsageError as error:
        raise UsageError(f"{path} is not a recording. {error}") from None
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError
        raise UsageError(f"{path} is not a recording. Its manifest.json is not JSON: {error}.") from None


def _read_journal(path: Path) -> dict[str, _Entry]:
    """The journal's entries by file name; a last line torn by a crash is left out, its file written again."""
    journal = path / "journal.jsonl"
    entries: dict[str, _Entry] = {}
    if not journal.exists():
        return entries
    for line in journal.read_text(errors="replace").splitlines():
        try:
            entry = _Entry(**json.loads(line))
        except (TypeError, ValueError):
            break
        entries[entry.name] = entry
    return entries


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"A recording holds {path.name}. Received: {path}: {error.strerror}.") from None


def _checked(path: Path, name: str, sha256: str) -> Path:
    """The path of a recording's file. Raises: UsageError when it is missing or changed."""
    if problem := _check(path / name, sha256):
        raise _changed(path, problem)
    return path / name


def _changed(path: Path, *problems: str) -> UsageError:
    return UsageError(
        f"A recording's files are those its manifest names. {path}: {'; '.join(problems)}. "
        "Copy the recording again, or record again."
    )


def _check(path: Path, sha256: str) -> str:
    """What is wrong with a file, in words; empty when nothing is."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        return f"{path.name}: {error.strerror}"
    return "" if digest.hexdigest() == sha256 else f"{path.name}: changed"
