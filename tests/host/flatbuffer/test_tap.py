from __future__ import annotations

import contextlib
import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liteback.errors import InvalidModel, UsageError
from liteback.flatbuffer.tap import Patch, apply, tap

OUTPUTS = 2  # SubGraph.outputs' number in the schema


def tiny(subgraphs: int = 2, tensors: int = 5) -> bytes:
    """A file of empty tensors; subgraph i has the one output i."""
    import flatbuffers

    model = schema.ModelT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], []
    for i in range(subgraphs):
        graph = schema.SubGraphT()
        graph.tensors, graph.inputs, graph.outputs = [schema.TensorT() for _ in range(tensors)], [0], [i]
        model.subgraphs.append(graph)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def outputs(data: bytes, subgraph: int = 0) -> list[int]:
    return [int(t) for t in schema.Model.GetRootAs(data, 0).Subgraphs(subgraph).OutputsAsNumpy()]


def plain(value: Any) -> Any:
    """The object API's objects as comparable values."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, list):
        return [plain(v) for v in value]
    return {k: plain(v) for k, v in vars(value).items()} if hasattr(value, "__dict__") else value


def networks(shared_models: Path) -> list[Path]:
    return sorted((shared_models / "networks").glob("*.tflite"))


def test_only_four_bytes_change_and_only_the_outputs(shared_models: Path) -> None:
    for path in networks(shared_models):
        data = path.read_bytes()
        before = outputs(data)
        count = schema.Model.GetRootAs(data, 0).Subgraphs(0).TensorsLength()
        patched = apply(data, tap(data, range(count)))
        changed = [i for i, (a, b) in enumerate(zip(data, patched, strict=False)) if a != b]
        assert len(patched) > len(data)
        assert changed[-1] - changed[0] < 4, path.name
        assert outputs(patched) == before + [t for t in range(count) if t not in before]


@pytest.mark.parametrize("name", ["pretrainedResnet_quant", "trained_lstm_int8", "multi_subgraphs_while"])
def test_the_rest_of_the_model_parses_as_before(shared_models: Path, name: str) -> None:
    data = (shared_models / "networks" / f"{name}.tflite").read_bytes()
    old = schema.ModelT.InitFromPackedBuf(data, 0)
    new = schema.ModelT.InitFromPackedBuf(apply(data, tap(data, [1, 3])), 0)
    assert plain(new) != plain(old)
    new.subgraphs[0].outputs = old.subgraphs[0].outputs
    assert plain(new) == plain(old)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tensors=st.lists(st.integers(0, 4)), subgraph=st.integers(0, 1), tail=st.binary(max_size=7))
def test_outputs_come_first_and_each_tensor_once(tensors: list[int], subgraph: int, tail: bytes) -> None:
    data = tiny() + tail  # bytes behind the last table, as large files have them
    patched = apply(data, tap(data, tensors, subgraph))
    assert outputs(patched, subgraph) == list(dict.fromkeys([subgraph, *tensors]))
    assert outputs(patched, 1 - subgraph) == [1 - subgraph]
    start = len(data) + -len(data) % 4
    assert len(patched) in (len(data), start + 4 + 4 * len({subgraph, *tensors}))


def test_a_tap_of_a_tapped_file_adds_to_it() -> None:
    once = apply(tiny(), tap(tiny(), [3]))
    assert outputs(apply(once, tap(once, [4, 3]))) == [0, 3, 4]


def test_tapping_what_is_an_output_already_changes_nothing() -> None:
    assert apply(tiny(), tap(tiny(), [0])) == tiny()


@pytest.mark.parametrize("tensors", [[5], [-1], [0, 99]])
def test_a_tensor_that_does_not_exist(tensors: list[int]) -> None:
    with pytest.raises(UsageError, match="Subgraph 0 has 5 tensors"):
        tap(tiny(), tensors)


def test_a_subgraph_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="2 subgraphs"):
        tap(tiny(), [0], subgraph=2)


@pytest.mark.parametrize("patch", [Patch(10, b"abcd", b""), Patch(-1, b"a", b"")])
def test_a_patch_outside_the_file(patch: Patch) -> None:
    with pytest.raises(UsageError, match="inside the file"):
        apply(b"0123456789", patch)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model at all", bytes(100)])
def test_what_is_not_a_model(data: bytes) -> None:
    with pytest.raises(InvalidModel, match="TFL3"):
        tap(data, [0])


def test_a_file_cut_anywhere_is_refused_or_tapped_right() -> None:
    data = tiny()
    refused = 0
    for size in range(len(data)):
        try:
            patched = apply(data[:size], tap(data[:size], [3]))
        except InvalidModel:
            refused += 1
        else:
            assert patched[:8] == data[:8]
    assert refused > len(data) // 2


@settings(deadline=None)
@given(position=st.integers(8, len(tiny()) - 1), value=st.integers(0, 255))
def test_a_damaged_byte_never_escapes_as_another_error(position: int, value: int) -> None:
    data = bytearray(tiny())
    data[position] = value
    with contextlib.suppress(InvalidModel, UsageError):
        tap(bytes(data), [1])


def test_no_outputs_in_the_vtable() -> None:
    data = bytearray(tiny())
    table = schema.Model.GetRootAs(data, 0).Subgraphs(0)._tab
    vtable = table.Pos - struct.unpack_from("<i", data, table.Pos)[0]
    struct.pack_into("<H", data, vtable + 4 + 2 * OUTPUTS, 0)
    with pytest.raises(InvalidModel, match=r"SubGraph\.outputs"):
        tap(bytes(data), [1])


def test_a_file_too_large_for_a_32_bit_offset(tmp_path: Path) -> None:
    path = tmp_path / "large.tflite"
    path.write_bytes(tiny())
    with path.open("r+b") as file:
        file.truncate(2**32 + 2**20)  # sparse: it takes no room on the disk
        with (
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            pytest.raises(InvalidModel, match="4 GiB"),
        ):
            tap(data, [1])  # type: ignore[arg-type]  # a map reads like bytes
