"""bytes -> FlatModel: the schema's object API, and where each buffer lies in the file."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from liteback.errors import InvalidModel
from liteback.flatbuffer.verify import verify

IDENTIFIER = b"TFL3"

# What the flatbuffers runtime raises when an offset or a length points outside the file.
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    OverflowError,
    AttributeError,
    MemoryError,
    RecursionError,
)


@dataclass(frozen=True)
class Extent:
    """Where a buffer's bytes lie in the file."""

    offset: int
    size: int


@dataclass(frozen=True)
class FlatModel:
    """A parsed file. `root` is the schema's ModelT; `extents` has one entry per buffer."""

    data: bytes
    root: Any
    extents: tuple[Extent, ...]

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def buffer(self, index: int) -> memoryview:
        """The bytes of a buffer, not copied."""
        extent = self.extents[index]
        return memoryview(self.data)[extent.offset : extent.offset + extent.size]


def parse(data: bytes) -> FlatModel:
    """Read a .tflite file of either schema generation.

    Raises:
        InvalidModel: the bytes are not a TensorFlow Lite flatbuffer, or an offset in it points outside the file.
    """
    if len(data) < 8 or data[4:8] != IDENTIFIER:
        raise InvalidModel(
            "A .tflite file holds the identifier 'TFL3' at byte 4. "
            f"Received: {len(data)} bytes that begin with {bytes(data[:8])!r}. Is this a TensorFlow Lite model?"
        )
    try:
        accessor = schema.Model.GetRootAs(data, 0)
        verify(accessor, len(data))
        extents = tuple(_extent(accessor.Buffers(i)) for i in range(accessor.BuffersLength()))
        root = schema.ModelT.InitFromObj(accessor)
    except _DAMAGE as error:
        raise InvalidModel(
            f"This .tflite file is damaged: an offset or a length in it points outside its {len(data)} bytes "
            f"({type(error).__name__}: {error}). Copy it again from its source."
        ) from error
    if any(e.offset + e.size > len(data) for e in extents):
        raise InvalidModel(
            f"This .tflite file is cut short: a buffer ends behind the file's last byte ({len(data)}). Copy it again."
        )
    return FlatModel(data, root, extents)


def _extent(buffer: Any) -> Extent:
    """A buffer's bytes lie in its `data` vector, or (files over 2 GB) behind the flatbuffer, at `offset`."""
    if buffer.Offset() > 1:
        return Extent(buffer.Offset(), buffer.Size())
    table = buffer._tab
    field = table.Offset(4)  # the vtable slot of Buffer.data
    return Extent(table.Vector(field), table.VectorLen(field)) if field else Extent(0, 0)
