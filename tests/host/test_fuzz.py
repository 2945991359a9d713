"""Damaged and hostile files on the host: one clear error or a working result, in bounded time and memory.

LITEBACK_FUZZ=N tries N mutants instead of the fixed ones, from a seed of their own (LITEBACK_FUZZ_SEED=S).
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flatbuffers
import pytest

import tflite_build as build
from conftest import SHARED_MODELS
from liteback.cli.main import run
from liteback.emit.verdict import problems
from liteback.errors import InvalidModel, UnsupportedModel
from liteback.flatbuffer.tap import _subgraph
from liteback.inspection import inspect
from liteback.lift import lift
from mutants import mutants, shapes, whole_models
from tflite_build import Op, Subgraph, Tensor, schema

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("LITEBACK_FUZZ", 2000))
SEED = int(os.environ.get("LITEBACK_FUZZ_SEED", 0))
EMITTED = 1 + COUNT // 10  # of those that lift: emission takes a hundred times longer
SECONDS = 30
GIGABYTE = 1 << 30


@contextmanager
def bounded() -> Iterator[None]:
    """Fails after SECONDS, or when the process grew by more than 2 GiB."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"not done in {SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, kept)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 2 * GIGABYTE


def damaged(count: int) -> Iterator[tuple[str, bytes]]:
    return mutants(whole_models(SHARED_MODELS), count, SEED)


def test_whole_models_are_whole() -> None:
    for name, data in whole_models(SHARED_MODELS).items():
        assert inspect(data).to_json()["nodes"], name


def test_damaged_files_are_inspected_or_refused() -> None:
    ends: Counter[str] = Counter()
    longest = 0
    for _, data in damaged(COUNT):
        with bounded():
            try:
                json.dumps(inspect(data).to_json())
                ends["inspected"] += 1
            except InvalidModel as error:
                ends["refused"] += 1
                longest = max(longest, len(str(error)))
    assert longest < 20_000
    # A mutator that changed nothing, or that left nothing to read, would make this test an empty one.
    assert min(ends["inspected"], ends["refused"]) > COUNT // 10, ends


def test_damaged_files_are_emitted_or_refused() -> None:
    from liteback.emit.build import emit

    ends: Counter[str] = Counter()
    for number, (_, data) in enumerate(damaged(COUNT)):
        if ends.total() == EMITTED:
            break
        try:
            model = lift(data)
        except InvalidModel:
            continue
        if any(problems(g) for g in model.graphs):
            continue
        with bounded():
            try:
                emit(model, "fakequant" if number % 2 else "float")
                ends["emitted"] += 1
            except UnsupportedModel:
                ends["refused"] += 1
    assert min(ends.values()) > 0, ends


@pytest.mark.parametrize("dims", [(1 << 20, 1 << 20), (1 << 30, 4), (-5, 3), (0, 7)])
def test_constants_that_ask_for_terabytes(dims: tuple[int, int]) -> None:
    from liteback.emit.build import emit

    data = shapes().replace(struct.pack("<2i", 1, 4), struct.pack("<2i", *dims), 1)
    assert data != shapes()
    with bounded(), pytest.raises(UnsupportedModel):
        emit(lift(data))


def convolution(extent: int) -> bytes:
    """A Dense layer whose input has `extent` channels, while the file's weight has 4."""
    weight = Tensor([2, 4], "float32", bytes(32))
    return build.build_model(
        Subgraph(
            [Tensor([1, extent]), weight, Tensor([1, 2])],
            [Op("FULLY_CONNECTED", [0, 1, -1], [2], schema.FullyConnectedOptionsT())],
            inputs=[0],
            outputs=[2],
        )
    )


def test_an_input_whose_layer_would_need_gigabytes_of_weights() -> None:
    from liteback.emit.build import emit

    emit(lift(convolution(4)))
    with bounded(), pytest.raises(UnsupportedModel, match="weight"):
        emit(lift(convolution(0x7FFFFFFF)))


def shared_tables(count: int) -> bytes:
    """A file whose `count` subgraphs are all the same one, of 2000 tensors: four bytes each."""
    whole = build.build_model(Subgraph([Tensor([1])] * 2000, [], inputs=[0], outputs=[0]))
    head = 32 + 4 * count
    # A root table at byte 20 that has the field 2, Model.subgraphs, alone: its vtable is at 8, the vector at 28.
    table = struct.pack("<I4s5H2xi2I", 20, b"TFL3", 10, 8, 0, 0, 4, 12, 4, count)
    target = head + _subgraph(whole, 0)
    return table + struct.pack(f"<{count}I", *(target - (32 + 4 * i) for i in range(count))) + whole


def test_offsets_that_all_lead_to_one_large_table() -> None:
    assert len(lift(shared_tables(2)).graphs) == 2
    with bounded(), pytest.raises(InvalidModel, match="its offsets lead to more"):
        lift(shared_tables(10_000))


def test_extents_beside_a_zero() -> None:
    shape = [0, *[0x7FFFFFFF] * 3]
    with pytest.raises(InvalidModel, match="elements"):
        lift(build.build_model(Subgraph([Tensor(shape, "float32", b"")], [], inputs=[], outputs=[0])))


def test_texts_that_overlap() -> None:
    """A string buffer whose offsets give each of a thousand texts the whole buffer."""
    texts = 1000
    offsets = [4 * (texts + 2), 4 * (texts + 2) + 100_000] * (texts // 2) + [4 * (texts + 2)]
    payload = struct.pack(f"<{texts + 2}i", texts, *offsets) + bytes(100_000)
    data = build.build_model(Subgraph([Tensor([texts], "string", payload)], [], inputs=[], outputs=[0]))
    with bounded(), pytest.raises(InvalidModel, match="leads outside it, or back"):
        lift(data)


def test_many_tensors_of_one_large_buffer() -> None:
    large = Tensor([4 << 20], "int4", bytes(2 << 20))
    model = schema.ModelT.InitFromPackedBuf(build.build_model(Subgraph([large], [], inputs=[], outputs=[0])))
    model.subgraphs[0].tensors *= 60
    with bounded(), pytest.raises(InvalidModel, match="share few"):
        lift(_packed(model))


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


COMMANDS = {
    "inspect": ["--json"],
    "reconstruct": ["--json", "-o", "{out}.keras"],
    "capture": ["--json", "--random", "1", "-o", "{out}-recording"],
}


def sample(folder: Path) -> list[Path]:
    """The malformed files of others, and some mutants."""
    files = sorted(SHARED_MODELS.glob("malformed/*.tflite"))
    for number, (_, data) in enumerate(damaged(14)):
        path = folder / f"{number}.tflite"
        path.write_bytes(data)
        files.append(path)
    return files


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_damaged_files(command: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for file in sample(tmp_path):
        options = [o.format(out=tmp_path / file.stem) for o in COMMANDS[command]]
        kept = signal.getsignal(signal.SIGTERM)
        with bounded():
            code = run([command, str(file), *options])
        signal.signal(signal.SIGTERM, kept)
        out, err = capfd.readouterr()
        assert code in (0, 2, 6, 7, 8), f"{file.name}: {code}\n{err}"
        assert "Traceback" not in err, f"{file.name}: {err}"
        assert json.loads(out).get("exit_code", 0) == code, file.name


@pytest.mark.parametrize("name", ["cut", "noise"])
def test_a_damaged_file_in_a_process_of_its_own(name: str, tmp_path: Path) -> None:
    whole = shapes()
    damage = {"cut": whole[: len(whole) // 2], "noise": whole[:8] + bytes(range(256)) * 8}
    file = tmp_path / "model.tflite"
    file.write_bytes(damage[name])
    started = time.monotonic()
    result = subprocess.run(
        # The shell sets the limit: a function between fork and exec would run beside gRPC's threads, and abort.
        ["sh", "-c", f'ulimit -v {2 * GIGABYTE >> 10}; exec "$@"', "sh"]
        + [sys.executable, "-m", "liteback", "inspect", str(file)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 8, result.stderr
    assert result.stderr.startswith("error:")
    assert time.monotonic() - started < SECONDS
