"""A tap makes an intermediate tensor a graph output, by a patch of four bytes and an appended vector.

A FlatBuffers table points at its vectors by 32-bit offsets, so `SubGraph.outputs` can be pointed at a longer
list that lies behind the file's last byte. Nothing else moves: weights, metadata, custom operators and fields
unknown to this schema keep their bytes and their places. Layout: https://flatbuffers.dev/internals (tables,
vtables, vectors); field numbers: tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from liteback.errors import InvalidModel, UsageError

_IDENTIFIER = b"TFL3"
_MODEL_SUBGRAPHS = 2
_SUBGRAPH_TENSORS = 0
_SUBGRAPH_OUTPUTS = 2
_UOFFSET_MAX = 2**32 - 1


@dataclass(frozen=True)
class Patch:
    """A change to a file: `replace` overwrites the bytes at `offset`, `append` follows the last byte."""

    offset: int
    replace: bytes
    append: bytes


def apply(data: bytes, patch: Patch) -> bytes:
    """The patched file.

    Raises: UsageError when the replaced bytes do not lie inside `data`.
    """
    end = patch.offset + len(patch.replace)
    if not 0 <= patch.offset <= end <= len(data):
        raise UsageError(
            f"A patch replaces bytes inside the file. Received: {len(patch.replace)} bytes at {patch.offset} "
            f"for a file of {len(data)} bytes. Apply a patch to the file it was made for."
        )
    return b"".join((data[: patch.offset], patch.replace, data[end:], patch.append))


def tap(data: bytes, tensors: Sequence[int], subgraph: int = 0) -> Patch:
    """The patch that adds `tensors` (indices) to the outputs of a subgraph, behind those it has, each once.

    Where every tensor is an output already, the patch changes nothing.

    Raises: InvalidModel for a file that is damaged or too large; UsageError for an index it does not have.
    """
    if data[4:8] != _IDENTIFIER:
        raise InvalidModel(
            f"A TensorFlow Lite file holds {_IDENTIFIER!r} at byte 4. Received: {bytes(data[4:8])!r}. "
            "Check that the file is a .tflite model and complete."
        )
    table = _subgraph(data, subgraph)
    _check_indices(tensors, _vector(data, _field(data, table, _SUBGRAPH_TENSORS, "SubGraph.tensors"))[1], subgraph)
    field = _field(data, table, _SUBGRAPH_OUTPUTS, "SubGraph.outputs")
    start, count = _vector(data, field)
    old = struct.unpack_from(f"<{count}i", data, start)
    new = tuple(dict.fromkeys((*old, *tensors)))
    if set(new) == set(old):
        return Patch(field, bytes(data[field : field + 4]), b"")
    padding = -len(data) % 4  # a vector starts at its length, a 32-bit number
    distance = len(data) + padding - field
    if distance > _UOFFSET_MAX:
        raise InvalidModel(
            "A tap is reached by a 32-bit offset, so it must lie within 4 GiB. "
            f"Received: a file of {len(data)} bytes. Files of this size cannot be tapped."
        )
    append = bytes(padding) + struct.pack(f"<I{len(new)}i", len(new), *new)
    return Patch(field, struct.pack("<I", distance), append)


def _subgraph(data: bytes, subgraph: int) -> int:
    """Offset of a SubGraph table."""
    (root,) = _read(data, "<I", 0)
    start, count = _vector(data, _field(data, root, _MODEL_SUBGRAPHS, "Model.subgraphs"))
    if not 0 <= subgraph < count:
        raise UsageError(f"The file has {count} subgraphs, numbered from 0. Received: subgraph {subgraph}.")
    entry = start + 4 * subgraph
    return entry + int(_read(data, "<I", entry)[0])


def _check_indices(tensors: Sequence[int], count: int, subgraph: int) -> None:
    wrong = [t for t in tensors if not 0 <= t < count]
    if wrong:
        raise UsageError(
            f"Subgraph {subgraph} has {count} tensors, numbered from 0. "
            f"Received: {', '.join(map(str, wrong))}. `liteback inspect` lists the tensors."
        )


def _field(data: bytes, table: int, number: int, name: str) -> int:
    """Offset of a table's field, by way of its vtable (u16 sizes, then a u16 per field)."""
    vtable = table - _read(data, "<i", table)[0]
    (size,) = _read(data, "<H", vtable)
    entry = 4 + 2 * number
    (offset,) = _read(data, "<H", vtable + entry) if entry + 2 <= size else (0,)
    if not offset:
        raise InvalidModel(f"A model that computes something has {name}. Received: none at byte {table}.")
    return int(table + offset)


def _vector(data: bytes, field: int) -> tuple[int, int]:
    """(offset of the first element, their number) of the vector of 4-byte elements a field points at."""
    vector = field + _read(data, "<I", field)[0]
    (count,) = _read(data, "<I", vector)
    if vector + 4 + 4 * count > len(data):
        raise InvalidModel(_damaged(vector, f"a vector of {count} elements", len(data)))
    return vector + 4, count


def _read(data: bytes, form: str, offset: int) -> tuple[int, ...]:
    if not 0 <= offset <= len(data) - struct.calcsize(form):
        raise InvalidModel(_damaged(offset, "a value", len(data)))
    return struct.unpack_from(form, data, offset)


def _damaged(offset: int, what: str, size: int) -> str:
    return (
        f"Every offset of a .tflite file leads to a place inside it. Received: {what} at byte {offset} of "
        f"{size}. The file is damaged or cut short: fetch it again."
    )
