"""The command line as its users start it: real processes, their stdout, stderr and exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ai_edge_litert import schema_py_generated as schema
from cli.running import document, liteback

import small_models
import tflite_build as build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = relu(x W' + b) and a softmax behind it, in int8: a whole little network."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (5, 8)).astype(np.int8)
    model = build.build_model(
        build.Subgraph(
            [
                build.Tensor([1, 8], "int8", name="x", scale=0.1, zero_point=2),
                build.Tensor([5, 8], "int8", weights, "w", scale=0.02),
                build.Tensor([5], "int32", rng.integers(-900, 900, 5).astype(np.int32), "b", scale=0.002),
                build.Tensor([1, 5], "int8", name="y", scale=0.05, zero_point=-128),
                build.Tensor([1, 5], "int8", name="p", scale=1 / 256, zero_point=-128),
            ],
            [
                build.Op("FULLY_CONNECTED", [0, 1, 2], [3], schema.FullyConnectedOptionsT(), version=4),
                build.Op("SOFTMAX", [3], [4], _softmax(), version=2),
            ],
            [0],
            [4],
        ),
        description="test network",
    )
    path = tmp_path_factory.mktemp("model") / "dense.tflite"
    path.write_bytes(model)
    return path


def _softmax() -> Any:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return options


def test_every_command_explains_itself() -> None:
    top = liteback("--help")
    assert liteback("-h").stdout == top.stdout
    assert top.returncode == 0
    for command in ("doctor", "inspect", "reconstruct", "capture", "compare", "export", "prove", "roundtrip"):
        assert command in top.stdout
        assert liteback(command, "--help").returncode == 0


def test_inspect_answers_without_tensorflow(dense: Path) -> None:
    found = document("inspect", dense)
    assert found["nodes"] == 2
    assert found["ops"] == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert found["quantization"] == "full int8 per-tensor"
    assert found["unsupported"] == []
    assert len(found["sha256"]) == 64
    code = f"""
import sys
from liteback.cli.main import run
assert run(["inspect", {str(dense)!r}]) == 0
assert not {{"tensorflow", "keras", "grpc"}} & set(sys.modules), "inspect must answer at once"
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_the_commands_one_after_the_other(dense: Path, tmp_path: Path) -> None:
    recording, keras_file, new = tmp_path / "rec", tmp_path / "model.keras", tmp_path / "new.tflite"
    captured = document("capture", dense, "--random", 3, "-o", recording)
    assert captured["samples"] == 3
    assert captured["tensors"] == 2
    assert captured["passes"] == 1
    assert captured["bytes"] > 0
    assert captured["certificate"]["good"] is True

    made = document("reconstruct", dense, "-o", keras_file)
    assert made["numerics"] == "float"
    assert made["nodes"] == 2
    assert made["stock_keras"] is True
    assert made["parameters"] == 45
    assert made["seconds"] > 0

    compared = document("compare", dense, recording)
    assert [row["op"] for row in compared["layers"]] == ["FULLY_CONNECTED", "SOFTMAX"]
    assert compared["first_fault"] is None
    assert all(row["isolated"]["lsb_max"] <= 1 for row in compared["layers"])
    assert document("compare", keras_file, recording)["numerics"] == "float"

    exported = document("export", keras_file, "--like", dense, "-o", new)
    assert exported["method"] == "patch"
    assert exported["identical_bytes"] is True
    assert exported["changed_tensors"] == []
    assert new.read_bytes() == dense.read_bytes()

    proven = document("prove", dense, new, "--random", 3)
    assert proven["passed"] is True
    assert proven["identical"] is True
    assert proven["latency"]["new"]["p50_ms"] > 0
    assert proven["size"] == {"old": dense.stat().st_size, "new": dense.stat().st_size}


def test_a_saved_model_compares_by_its_outputs(dense: Path, tmp_path: Path) -> None:
    document("capture", dense, "--random", 2, "-o", tmp_path / "rec")
    made = document("reconstruct", dense, "-o", tmp_path / "saved", "--numerics", "fakequant")
    ((takes,), (gives,)) = (made["signatures"]["serving_default"][side] for side in ("inputs", "outputs"))
    shown = liteback("reconstruct", dense, "-o", tmp_path / "saved")
    assert f"serves serving_default: {takes} -> {gives}\n" in shown.stdout, shown.stderr
    compared = document("compare", tmp_path / "saved", tmp_path / "rec")
    assert compared["outputs"]


def test_the_round_trip_leaves_everything(dense: Path, tmp_path: Path) -> None:
    found = document("roundtrip", dense, "--random", 2, "-o", tmp_path)
    assert found["capture"]["certificate"]["good"] is True
    assert found["export"]["identical_bytes"] is True
    assert found["prove"]["passed"] is True
    report = Path(found["report"])
    assert "dense_000" in report.read_text()
    names = {p.name for p in tmp_path.iterdir()}
    assert {"inspect.json", "recording", "model.keras", "dense-back.tflite", "junit.xml", "report.html"} <= names
    before = (tmp_path / "inspect.json").read_text()
    another = tmp_path / "another.tflite"
    another.write_bytes(small_models.average())
    refused = liteback("roundtrip", another, "--random", 2, "-o", tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert (tmp_path / "inspect.json").read_text() == before


def test_a_round_trip_whose_new_file_has_no_good_certificate_is_not_good(dense: Path, tmp_path: Path) -> None:
    assert liteback("roundtrip", dense, "--random", 2, "-o", tmp_path).returncode == 0
    manifest = tmp_path / "proof" / "new" / "manifest.json"
    says = json.loads(manifest.read_text())
    says["certificate"]["deterministic"] = False
    manifest.write_text(json.dumps(says))
    again = liteback("roundtrip", dense, "--random", 2, "-o", tmp_path)
    assert again.returncode == 7, again.stderr
    assert "does not repeat itself" in again.stderr


def test_the_files_of_a_round_trip_tell_of_a_broken_gate(dense: Path, tmp_path: Path) -> None:
    bad = liteback("roundtrip", dense, "--random", 2, "-o", tmp_path, "--gate", "isolated.lsb_max<0")
    assert bad.returncode == 1, bad.stderr
    assert "; the gate is isolated.lsb_max&lt;0" in (tmp_path / "junit.xml").read_text()
    assert "outside the gates" in (tmp_path / "report.html").read_text()


def test_the_float_file_loads_where_liteback_is_not_installed(dense: Path, tmp_path: Path) -> None:
    document("reconstruct", dense, "-o", tmp_path / "model.keras")
    code = f"""
import sys
sys.modules["liteback"] = None  # any import of it fails
import keras
print(keras.models.load_model({str(tmp_path / "model.keras")!r}).count_params())
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout.strip() == "45", result.stderr


def test_a_recording_that_was_there_is_not_said_to_be_made(dense: Path, tmp_path: Path) -> None:
    inputs, recording = tmp_path / "in.npz", tmp_path / "trip" / "recording"
    np.savez(inputs, in_0=np.ones((1, 8), np.float32))
    how = ["--inputs", inputs, "-o"]
    first, again = (liteback("capture", dense, *how, recording) for _ in range(2))
    assert first.stdout.startswith("recorded 2 tensors × 1 sample")
    assert again.stdout.startswith("recorded already, nothing was run: 2 tensors × 1 sample")
    assert "recorded already, nothing was run: " in liteback("roundtrip", dense, *how, tmp_path / "trip").stdout
    np.savez(inputs, in_0=np.zeros((1, 8), np.float32))
    for command in (["capture", dense, *how, recording], ["roundtrip", dense, *how, tmp_path / "trip"]):
        refused = liteback(*command)
        assert refused.returncode == 2, refused.stderr
        assert "Received: other values for sample 0. Use the old inputs, or record into a new folder." in refused.stderr


def test_gates_decide_the_exit_code(dense: Path, tmp_path: Path) -> None:
    document("capture", dense, "--random", 2, "-o", tmp_path / "rec")
    good = liteback("compare", dense, tmp_path / "rec", "--gate", "isolated.lsb_max<=1", "--junit", tmp_path / "j.xml")
    assert good.returncode == 0, good.stderr
    assert good.stdout.endswith(f"wrote {tmp_path / 'j.xml'}\n")
    assert "<failure" not in (tmp_path / "j.xml").read_text()
    bad = liteback("compare", dense, tmp_path / "rec", "--gate", "output.lsb_max<0", "--junit", tmp_path / "j.xml")
    assert bad.returncode == 1
    assert "<failure" in (tmp_path / "j.xml").read_text()
    assert "lsb_max" in bad.stderr
    told = liteback("compare", dense, tmp_path / "rec", "--gate", "output.lsb_max<0", "--json")
    assert told.returncode == 1
    assert len(json.loads(told.stdout)["gates"]) == 1, "one document, also when a gate fails"
    nonsense = liteback("compare", dense, tmp_path / "rec", "--gate", "isolated.beauty>=1")
    assert nonsense.returncode == 2


def test_a_trained_model_goes_back_into_its_file(dense: Path, tmp_path: Path) -> None:
    document("reconstruct", dense, "-o", tmp_path / "model.keras")
    code = f"""
import keras, numpy as np
model = keras.models.load_model({str(tmp_path / "model.keras")!r})
model.compile(keras.optimizers.SGD(0.5), "sparse_categorical_crossentropy")
model.fit(np.random.default_rng(0).normal(size=(64, 8)), np.arange(64) % 5, epochs=3, verbose=0)
model.save({str(tmp_path / "tuned.keras")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120)
    new = tmp_path / "new.tflite"
    exported = document("export", tmp_path / "tuned.keras", "--like", dense, "-o", new)
    assert exported["identical_bytes"] is False
    assert {c["name"] for c in exported["changed_tensors"]} == {"w", "b"}
    assert new.stat().st_size == dense.stat().st_size
    proven = document("prove", dense, new, "--random", 4)
    assert proven["passed"] is True
    assert proven["identical"] is False


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["inspect", "nothing.tflite"], 2, "No such file"),
        (["inspect", "noise.tflite"], 8, "TFL3"),
        (["reconstruct", "noise.tflite", "-o", "out.keras"], 8, "TFL3"),
        (["capture", "noise.tflite", "--random", "1", "-o", "rec"], 8, "TFL3"),
        (["roundtrip", "noise.tflite", "--random", "1", "-o", "rec"], 8, "TFL3"),
        (["inspect"], 2, "Missing argument"),
        (["frobnicate"], 2, "No such command"),
        (["capture", "dense.tflite", "-o", "rec"], 2, "--random"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--samples", "9"], 2, "--samples"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--kernels", "fast"], 2, "reference"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--memory", "1" + "0" * 30], 2, "memory_bytes"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--memory", "-1"], 2, "--memory"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--threads", "100000"], 2, "threads"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--budget", "0"], 2, "--budget"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--select", "nosuch"], 2, "nosuch"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--target", "pi@nowhere"], 3, "pi@nowhere"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--target", "a b"], 2, "user@host"),
        (["capture", "dense.tflite", "--random", "1", "-o", "rec", "--runtime", "nosuch"], 5, "'nosuch'. `liteback"),
        (["roundtrip", "dense.tflite", "--random", "1", "-o", "rec", "--gate", "nonsense"], 2, "SCOPE.METRIC"),
        (["prove", "dense.tflite", "noise.tflite", "--random", "1"], 8, "noise.tflite: "),
        (["reconstruct", "dense.tflite", "-o", "out.txt"], 2, ".keras"),
        (["reconstruct", "dense.tflite", "-o", "out.keras", "--numerics", "vague"], 2, "fakequant"),
        (["compare", "dense.tflite", "nothing"], 2, "manifest.json"),
        (["capture", "dense.tflite", "--random", "1", "-o", "dense.tflite"], 2, "dense.tflite"),
        (["roundtrip", "dense.tflite", "--random", "1", "-o", "dense.tflite"], 2, "must be writable"),
        (["export", "dense.tflite", "--like", "dense.tflite", "-o", "x.tflite"], 2, "Keras"),
        (["export", "dense.tflite", "--like", "dense.tflite", "-o", "./dense.tflite"], 2, "another name"),
        (["export", "dense.tflite", "--like", "noise.tflite", "-o", "x.tflite"], 8, "noise.tflite: "),
        (["export", "dense.tflite", "--like", "dense.tflite", "-o", "noise.tflite"], 2, "other than a TensorFlow Lite"),
        (["prove", "dense.tflite", "dense.tflite", "--random", "1", "-o", "."], 2, "something other than a proof"),
        (["roundtrip", "dense.tflite", "--random", "1", "-o", "."], 2, "something other than a round trip"),
        (["calibrate", "dense.tflite", "rec", "-o", "."], 2, "something other than a calibration"),
        (["reconstruct", "dense.tflite", "-o", "."], 2, "something other than a SavedModel"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_bad_input_gives_one_clear_message(
    arguments: Sequence[str], code: int, says: str, dense: Path, tmp_path: Path
) -> None:
    (tmp_path / "noise.tflite").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "dense.tflite").write_bytes(dense.read_bytes())
    before = sorted(p.name for p in tmp_path.iterdir())
    result = liteback(*arguments, cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == before, "nothing half-written stays behind"


@pytest.mark.parametrize("arguments", [["nothing.tflite"], [], ["nothing.tflite", "--no-such-option"]])
def test_an_error_is_json_too(arguments: list[str]) -> None:
    result = liteback("inspect", *arguments, "--json")
    assert json.loads(result.stdout)["exit_code"] == result.returncode == 2


@pytest.mark.parametrize("form", ["--json", "--nodes"])
def test_a_full_disk_is_no_bug(form: str, dense: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "liteback", "inspect", str(dense), form]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert result.returncode == 2
    assert result.stderr == "error: The output: No space left on device.\n"


def test_a_terminal_without_the_signs_shows_the_rest(dense: Path) -> None:
    command = [sys.executable, "-m", "liteback", "inspect", str(dense)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert "int8 1?8" in result.stdout


@pytest.mark.parametrize("form", ["--json", "--nodes"])
def test_a_reader_that_leaves_is_no_failure(form: str, dense: Path) -> None:
    """As in `liteback inspect M --json | head -1` under `set -o pipefail`, where 1 would mean a failed gate."""
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "liteback", "inspect", str(dense), form]
    result = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


def test_ctrl_c_while_it_is_still_importing() -> None:
    code = """
import sys

class Pressed:
    def find_spec(self, name, *rest):
        if name == "typer":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Pressed())
from liteback.__main__ import main
main()
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (130, "Interrupted.\n")


@pytest.mark.parametrize(("kept", "says"), [(False, ""), (True, " What was recorded is kept in {rec}: ")])
def test_ctrl_c_tells_of_a_recording_only_where_there_is_one(
    kept: bool, says: str, dense: Path, tmp_path: Path
) -> None:
    rec = tmp_path / "rec"
    code = f"""
import sys
from pathlib import Path
from liteback.cli.main import run
import liteback.session.capture

def interrupted(*arguments):
    if {kept}:
        Path({str(rec)!r}).mkdir()
        (Path({str(rec)!r}) / "manifest.json").touch()
    raise KeyboardInterrupt

liteback.session.capture.capture = interrupted
sys.exit(run(["capture", {str(dense)!r}, "--random", "1", "-o", {str(rec)!r}]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 130, result.stderr
    assert result.stderr.startswith("Interrupted." + (says.format(rec=rec) or "\n"))


@pytest.mark.parametrize("kept", [True, False])
def test_a_proof_that_ends_early_tells_of_recordings_that_stay(kept: bool, dense: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from liteback.cli.main import run
import liteback.proof
from liteback.errors import RunFailed

def cut(board, files, samples, folder, *rest, **more):
    error = RunFailed("The worker died.")
    error.kept = folder / "old"
    raise error

liteback.proof.prove = cut
sys.exit(run(["prove", {str(dense)!r}, {str(dense)!r}, "--random", "1", *sys.argv[1:]]))
"""
    output = ["-o", str(tmp_path / "proof")] if kept else []
    command = [sys.executable, "-c", code, *output]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 6, result.stderr
    assert ("kept in" in result.stderr) == kept


def test_ctrl_c_ends_every_board_of_a_group() -> None:
    code = """
import os, signal, threading, time
from liteback.cli.group import on_each

def busy(name, report):
    for k in range(600):
        report(k, 600, "busy")
        time.sleep(0.1)
    return {}

threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    on_each(["one", "two"], busy, json=True)
except KeyboardInterrupt:
    print("interrupted")
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert result.stdout == "interrupted\n", result.stderr


def test_ctrl_c_leaves_no_process_and_can_be_resumed(shared_models: Path, tmp_path: Path) -> None:
    model = shared_models / "networks/mobilenet_v1_0.25_224_1_default_1.tflite"
    command = [sys.executable, "-m", "liteback", "capture", model, "--random", 400, "-o", tmp_path / "rec"]
    process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True, start_new_session=True)
    children: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "rec").glob("**/*.safetensors"))) < 5:
        children = psutil.Process(process.pid).children(recursive=True) or children
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Interrupted. What was recorded is kept in " in stderr
    assert "Traceback" not in stderr
    gone, alive = psutil.wait_procs(children, timeout=10)
    assert gone
    assert not alive
    leftovers = [p for p in (tmp_path / "rec").rglob(".*")]
    assert leftovers == []


def test_an_agent_that_is_killed_ends_the_command(tmp_path: Path) -> None:
    """At once, with the board's exit code and what is kept."""
    (tmp_path / "endless.tflite").write_bytes(small_models.endless())
    np.savez(tmp_path / "x.npz", in_0=np.zeros((1, 1), np.int32))
    arguments = ["capture", tmp_path / "endless.tflite", "--inputs", tmp_path / "x.npz", "-o", tmp_path / "rec"]
    command = [sys.executable, "-m", "liteback", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (tmp_path / "rec" / "manifest.json").exists():
        time.sleep(0.05)
    (agent,) = psutil.Process(process.pid).children()
    agent.kill()
    try:
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 3, stderr
    assert "The board's agent failed while running sample 0 (" in stderr
    assert "(UNAVAILABLE)" in stderr
    assert f"What is recorded is kept in {tmp_path / 'rec'}" in stderr
    assert stderr.count("\n") == 1
