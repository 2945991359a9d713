"""What goes wrong for somebody new: streams that are closed, files that are others. Real processes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli.running import document, liteback

import small_models

pytestmark = pytest.mark.slow

LITEBACK = f"{sys.executable} -m liteback"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("näh er") / "ein modell é.tflite"
    path.write_bytes(small_models.chain(3))
    return path


@pytest.fixture(scope="module")
def recording(model: Path) -> Path:
    document("capture", model, "--random", 2, "-o", model.with_name("rec ü"))
    return model.with_name("rec ü")


def shell(line: str) -> tuple[int, str]:
    """A line of bash; the exit code of the first command of a pipe, and all that is said."""
    command = ["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", ["--help", "capture --help", "inspect {}", "inspect {} --json"])
def test_a_reader_that_leaves_is_no_failure(arguments: str, model: Path) -> None:
    code, said = shell(f"{LITEBACK} {arguments.format(shlex.quote(str(model)))} | true")
    assert (code, said) == (0, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, model: Path, tmp_path: Path) -> None:
    for command in (
        "inspect {}",
        "inspect {} --json",
        "capture {} --random 1 -o {}/rec",
        "reconstruct {} -o {}/m.keras",
    ):
        line = command.format(shlex.quote(str(model)), shlex.quote(str(tmp_path)))
        code, said = shell(f"{LITEBACK} {line} {closed}")
        assert code == 0, said
    assert (tmp_path / "rec" / "manifest.json").is_file()
    assert (tmp_path / "m.keras").is_file()
    code, _ = shell(f"{LITEBACK} inspect {tmp_path}/none {closed}")
    assert code == 2


def test_files_that_are_others(model: Path, recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rule, what was received, no library's words, and no traceback."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))  # no boards file
    for name in ("text.txt", "text.keras", "text.npz"):
        (tmp_path / name).write_text("hello\n")
    (tmp_path / "other.tflite").write_bytes(small_models.chain(4))
    document("reconstruct", model, "-o", tmp_path / "model.keras")
    random = ["--random", 2]
    for arguments, says in (
        (["compare", tmp_path / "text.txt", recording], "A Keras model is a .keras or .h5 file. Received: "),
        (["compare", tmp_path / "text.keras", recording], "A .keras file is a zip archive. Received: "),
        (["compare", tmp_path / "model.keras", recording, "--html", "."], "Cannot write '.': Is a directory."),
        (["export", tmp_path / "model.keras", "--like", model, "-o", "."], "Cannot write '.': Is a directory."),
        (["capture", model, "--inputs", tmp_path / "text.npz", "-o", "x"], "it is damaged, or holds Python objects."),
        (["capture", tmp_path / "other.tflite", *random, "-o", recording], "A recording is of one model. "),
        (["capture", model, *random, "-o", "x", "--select", "nope"], "`liteback inspect --nodes` lists them."),
        (["capture", model, *random, "-o", "x", "--target", "@lab"], "which names none: see docs/boards.md."),
    ):
        done = liteback(*arguments, cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert says in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1, done.stderr


def test_a_name_that_is_no_utf_8(model: Path, tmp_path: Path) -> None:
    """Every report is written, with the name as it can be; where a library needs UTF-8, that is said."""
    named, trip = tmp_path / os.fsdecode(b"mod\xe8l.tflite"), tmp_path / os.fsdecode(b"tr\xefp")
    named.write_bytes(model.read_bytes())
    done = liteback("roundtrip", named, "--random", 2, "-o", trip, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"] == rf"{tmp_path}/tr\xefp/report.html"
    assert r"mod\xe8l.tflite" in (trip / "report.html").read_text("utf-8")
    assert r"mod\xe8l.tflite" in (trip / "junit.xml").read_text("utf-8")
    assert json.loads((trip / "comparison-float.json").read_text())["candidate"] == r"mod\xe8l.tflite in float"
    assert (trip / os.fsdecode(b"mod\xe8l-back.tflite")).is_file()
    refused = liteback("reconstruct", named, "-o", tmp_path / os.fsdecode(b"saved\xe8"))
    assert refused.returncode == 2, refused.stderr
    assert "is to take is UTF-8. Received: " in refused.stderr


def test_ctrl_c_while_a_library_is_loaded(model: Path, tmp_path: Path) -> None:
    """An extension of TensorFlow's makes an ImportError of it; so does this module, which is found in its place."""
    (tmp_path / "tensorflow.py").write_text(
        "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    input()\n"
        "except KeyboardInterrupt as interrupt:\n    raise ImportError('initialization failed') from interrupt\n"
    )
    where = f"PYTHONPATH={shlex.quote(str(tmp_path))}"
    code, said = shell(f"{where} {LITEBACK} reconstruct {shlex.quote(str(model))} -o {tmp_path}/m.keras")
    assert (code, said) == (130, "Interrupted.\n")


def test_a_mistake_is_told_of_before_tensorflow_is_loaded(model: Path, recording: Path, tmp_path: Path) -> None:
    """That takes seconds; here it would be a bug."""
    (tmp_path / "tensorflow.py").write_text("raise RuntimeError('loaded')\n")
    for command in (
        f"compare {tmp_path}/none.keras {{}}",
        f"compare {{}} {tmp_path}/none",
        "compare {} {} --numerics real",
        f"calibrate {{}} {tmp_path}/none -o {tmp_path}/c",
        f"reconstruct {tmp_path}/none -o {tmp_path}/m.keras",
        f"reconstruct {{}} -o {tmp_path}/m.keras --numerics real",
    ):
        paths = [recording] if "none.keras" in command else [model, recording]
        line = command.format(*(shlex.quote(str(path)) for path in paths))
        code, said = shell(f"PYTHONPATH={tmp_path} {LITEBACK} {line}")
        assert code == 2, said
        assert "none" in said or "'real' is not one of 'float', 'fakequant', 'exact'" in said, said
    assert (
        "loaded"
        in shell(f"PYTHONPATH={tmp_path} {LITEBACK} compare {shlex.quote(str(model))} {shlex.quote(str(recording))}")[1]
    )


def test_who_waits_for_tensorflow_is_told_so(model: Path, tmp_path: Path) -> None:
    """On a terminal, in a line that is gone afterwards; a log has none of it."""
    line = f"{LITEBACK} reconstruct {shlex.quote(str(model))} -o {tmp_path}/m.keras"
    code, said = shell(f"TERM=xterm script -qec {shlex.quote(line)} /dev/null")
    assert code == 0, said
    assert "loading TensorFlow ...\n\x1b[2K" in said  # a \r, as Python reads lines
    assert "loading" not in shell(line)[1]
