"""The codec gives back what it was given, and finds whatever a broken peer sends instead."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from liteback_proto.agent_pb2 import TensorChunk
from liteback_proto.tensors import CHUNK_BYTES, NUMERIC_TYPES, Assembler, ChecksumError, TensorError, chunks

numbers = st.sampled_from(NUMERIC_TYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
strings = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4).flatmap(
    lambda shape: st.lists(st.binary(max_size=20), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))).map(
        lambda items: string_array(items, shape)
    )
)


def string_array(items: list[bytes], shape: tuple[int, ...]) -> Any:
    array = np.empty(len(items), object)
    array[:] = items
    return array.reshape(shape)


def assemble(parts: Iterable[TensorChunk], assembler: Assembler | None = None) -> tuple[int, Any]:
    assembler = assembler or Assembler()
    results = [assembler.add(part) for part in parts]
    assert all(result is None for result in results[:-1])
    assert results[-1] is not None
    return results[-1]


@given(numbers)
def test_numbers_come_back(array: Any) -> None:
    index, result = assemble(chunks(3, 7, array))
    assert (index, result.dtype, result.shape) == (7, array.dtype, array.shape)
    assert result.tobytes() == array.tobytes()  # bytes: NaN payloads and -0.0 count


@given(strings)
def test_strings_come_back(array: Any) -> None:
    _, result = assemble(chunks(0, 0, array))
    assert result.shape == array.shape
    assert result.tolist() == array.tolist()


def test_a_tensor_larger_than_a_chunk() -> None:
    array = np.arange(CHUNK_BYTES // 2 + 5, dtype=np.float64)
    parts = list(chunks(1, 2, array))
    assert [len(part.data) for part in parts] == [CHUNK_BYTES] * 4 + [40]
    assert [part.offset for part in parts] == [i * CHUNK_BYTES for i in range(5)]
    assert np.array_equal(assemble(parts)[1], array)


@pytest.mark.parametrize(
    "view",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.asfortranarray(np.arange(12).reshape(3, 4)),
        np.arange(12, dtype=">i4"),
    ],
)
def test_any_memory_layout(view: Any) -> None:
    assert np.array_equal(assemble(chunks(0, 0, view))[1], view)


def test_tensors_follow_each_other() -> None:
    assembler = Assembler()
    for index in range(3):
        assert assemble(chunks(0, index, np.full(index, index)), assembler)[0] == index
        assert assembler.complete


@settings(max_examples=50)
@given(hnp.arrays("uint8", st.integers(1, 300)), st.data())
def test_any_single_corrupted_byte_is_found(array: Any, data: st.DataObject) -> None:
    (part,) = chunks(0, 0, array)
    where = data.draw(st.integers(0, len(part.data) - 1))
    damaged = bytearray(part.data)
    damaged[where] ^= data.draw(st.integers(1, 255))
    part.data = bytes(damaged)
    with pytest.raises(ChecksumError, match="crc32"):
        Assembler().add(part)


@settings(max_examples=200)
@given(numbers, st.data())
def test_a_changed_header_never_gives_another_array(array: Any, data: st.DataObject) -> None:
    """dtype, shape, size or offset changed alone: refused, or (as many elements as before) the same bytes."""
    (part,) = chunks(0, 0, array)
    before = part.SerializeToString()
    changed = data.draw(st.sampled_from(["dtype", "shape", "size", "offset"]))
    if changed == "shape":
        part.ClearField("shape")
        part.shape.extend(data.draw(st.lists(st.integers(-3, 1 << 40), max_size=5)))
    elif changed == "dtype":
        part.dtype = data.draw(st.sampled_from([*NUMERIC_TYPES, "object", "V8", "U4", "string", "", "int4"]))
    else:
        setattr(part, changed, data.draw(st.integers(0, 1 << 62)))
    assume(part.SerializeToString() != before)
    try:
        result = Assembler().add(part)
    except TensorError:
        return
    if result is not None and part.dtype != "string":
        assert result[1].tobytes() == array.tobytes()


def two_chunks() -> list[TensorChunk]:
    return list(chunks(0, 5, np.zeros(CHUNK_BYTES + 1, np.uint8)))


def test_chunks_out_of_order() -> None:
    first, second = two_chunks()
    with pytest.raises(TensorError, match="starts at offset 0"):
        Assembler().add(second)
    assembler = Assembler()
    assembler.add(first)
    with pytest.raises(TensorError, match=f"byte {CHUNK_BYTES} is next"):
        assembler.add(first)


@pytest.mark.parametrize("change", [{"tensor": 6}, {"sample": 1}, {"size": CHUNK_BYTES + 2}])
def test_a_tensor_interrupted_by_another(change: dict[str, int]) -> None:
    first, second = two_chunks()
    assembler = Assembler()
    assembler.add(first)
    for name, value in change.items():
        setattr(second, name, value)
    with pytest.raises(TensorError, match="ends before the next begins"):
        assembler.add(second)


def test_an_endless_tensor_of_empty_chunks_is_refused() -> None:
    with pytest.raises(TensorError, match="without data"):
        Assembler().add(TensorChunk(dtype="uint8", shape=[4], size=4))


def test_the_limit_holds_before_memory_is_taken() -> None:
    huge = TensorChunk(dtype="uint8", shape=[1 << 50], size=1 << 50)
    with pytest.raises(TensorError, match="may have"):
        Assembler().add(huge)
    (part,) = chunks(0, 0, np.zeros(9, np.uint8))
    with pytest.raises(TensorError, match="may have 8 bytes"):
        Assembler(limit=8).add(part)


def test_what_does_not_travel_is_refused_with_the_list() -> None:
    with pytest.raises(TensorError, match=r"float32.*Received: dtype datetime64"):
        list(chunks(0, 0, np.zeros(1, "datetime64[s]")))
    with pytest.raises(TensorError, match="Received: str"):
        list(chunks(0, 0, np.array(["text"], object)))


@pytest.mark.parametrize(
    "offsets",
    [
        [1, 12, 99],  # beyond the data
        [2, 12, 13],  # another count
        [1, 8, 13],  # into the table
        [1, 13, 12],  # backwards
    ],
)
def test_a_contradicting_string_table(offsets: list[int]) -> None:
    (part,) = chunks(0, 0, string_array([b"x"], (1,)))
    table = np.array(offsets, "<i4").tobytes()
    part.data = table + part.data[len(table) :]
    part.crc32 = zlib.crc32(part.data)
    with pytest.raises(TensorError, match="table"):
        Assembler().add(part)
