"""The tensor codec: an ndarray <-> a stream of TensorChunk, with one chunk at a time beside the array itself.

Numbers travel as numpy has them, little-endian and row-major. Strings (object arrays of bytes) travel in
TFLite's string buffer form: int32 count, count + 1 int32 offsets from the buffer's start, then the bytes.
Source: tensorflow/lite/string_util.h.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Iterator, Optional, Sequence, Tuple

import numpy as np

from liteback_proto.agent_pb2 import TensorChunk

CHUNK_BYTES = 1 << 20
MAX_TENSOR_BYTES = 1 << 30
MAX_RANK = 32  # numpy's own limit before 2.0
MAX_SPAN = 1 << 58  # elements; of 16 bytes they are just what numpy can count

NUMERIC_TYPES = (
    *("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"),
    *("float16", "float32", "float64", "complex64"),
)
STRING = "string"
_TYPES_RULE = f"Tensors travel as {', '.join(NUMERIC_TYPES)} or {STRING}."

Array = Any  # numpy.typing needs a numpy that Python 3.7 does not have


class TensorError(ValueError):
    """A chunk breaks a rule of the protocol."""


class ChecksumError(TensorError):
    """A chunk's bytes are not the ones that were sent."""


def chunks(sample: int, tensor: int, array: Array) -> Iterator[TensorChunk]:
    """An array as chunks of at most CHUNK_BYTES; an empty array is one chunk without data.

    Raises:
        TensorError: the array's dtype does not travel.
    """
    dtype = STRING if array.dtype.kind in "OS" else array.dtype.name
    if dtype != STRING and dtype not in NUMERIC_TYPES:
        raise TensorError(f"{_TYPES_RULE} Received: dtype {array.dtype}")
    data = memoryview(pack_strings(array) if dtype == STRING else _little_endian_bytes(array))
    for offset in range(0, max(data.nbytes, 1), CHUNK_BYTES):
        part = data[offset : offset + CHUNK_BYTES]
        chunk = TensorChunk(sample=sample, tensor=tensor, offset=offset, size=data.nbytes)
        chunk.crc32 = zlib.crc32(part)
        if offset == 0:
            chunk.dtype = dtype
            chunk.shape.extend(array.shape)
        chunk.data = bytes(part)
        yield chunk


class Assembler:
    """Puts chunks back together, one tensor at a time, trusting nothing in them.

    A message of gigabytes is refused before memory is set aside for it: `limit` is in bytes a tensor.
    """

    def __init__(self, limit: int = MAX_TENSOR_BYTES) -> None:
        self._limit = limit
        self._first: Optional[TensorChunk] = None
        self._buffer = np.empty(0, np.uint8)
        self._filled = 0

    @property
    def complete(self) -> bool:
        """Whether no tensor is under way."""
        return self._first is None

    def add(self, chunk: TensorChunk) -> Optional[Tuple[int, Array]]:
        """Take the next chunk; give (tensor index, array) when it was the tensor's last, else None.

        Raises:
            ChecksumError: the data does not match its crc32.
            TensorError: any other rule is broken: type, shape against size, order, limit.
        """
        data = chunk.data  # once: each access copies
        if zlib.crc32(data) != chunk.crc32:
            raise ChecksumError(f"The data of a chunk does not match its crc32. Received: {_where(chunk)}")
        if self._first is None:
            _check_first(chunk, self._limit)
            self._first, self._buffer, self._filled = _header(chunk), np.empty(chunk.size, np.uint8), 0
        else:
            _check_next(chunk, self._first, self._filled)
        end = self._filled + len(data)
        if end > self._first.size:
            raise TensorError(f"The chunks of a tensor hold more than its size. Received: {_where(chunk)}")
        if not data and self._first.size:
            raise TensorError(f"A chunk without data in a tensor that has some. Received: {_where(chunk)}")
        self._buffer[self._filled : end] = np.frombuffer(data, np.uint8)
        self._filled = end
        if end < self._first.size:
            return None
        first, self._first = self._first, None
        return first.tensor, _decode(first.dtype, tuple(first.shape), self._buffer)


def _check_first(chunk: TensorChunk, limit: int) -> None:
    if chunk.offset:
        raise TensorError(f"A tensor starts at offset 0. Received: {_where(chunk)}")
    if chunk.dtype != STRING and chunk.dtype not in NUMERIC_TYPES:
        raise TensorError(f"{_TYPES_RULE} Received: {chunk.dtype!r}, {_where(chunk)}")
    # numpy counts the extents of a tensor without elements too.
    span = _count([max(extent, 1) for extent in chunk.shape])
    if len(chunk.shape) > MAX_RANK or any(extent < 0 for extent in chunk.shape) or span > MAX_SPAN:
        raise TensorError(
            f"A shape has at most {MAX_RANK} extents, none negative or huge. Received: {list(chunk.shape)}"
        )
    if chunk.size > limit:
        raise TensorError(f"A tensor may have {limit} bytes here. Received: {_where(chunk)}")
    if chunk.dtype != STRING:
        expected = _count(chunk.shape) * np.dtype(chunk.dtype).itemsize
        if chunk.size != expected:
            raise TensorError(
                f"{chunk.dtype} of shape {list(chunk.shape)} has {expected} bytes. Received: {_where(chunk)}"
            )


def _check_next(chunk: TensorChunk, first: TensorChunk, filled: int) -> None:
    if (chunk.sample, chunk.tensor, chunk.size) != (first.sample, first.tensor, first.size):
        raise TensorError(
            f"A tensor ends before the next begins: {filled} bytes came of {_where(first)}. Received: {_where(chunk)}"
        )
    if chunk.offset != filled:
        raise TensorError(f"Chunks come in order: byte {filled} is next. Received: {_where(chunk)}")


def _header(chunk: TensorChunk) -> TensorChunk:
    """The chunk without its data, which need not live until the tensor is complete."""
    header = TensorChunk(sample=chunk.sample, tensor=chunk.tensor, dtype=chunk.dtype, size=chunk.size)
    header.shape.extend(chunk.shape)
    return header


def _decode(dtype: str, shape: Tuple[int, ...], buffer: Array) -> Array:
    if dtype == STRING:
        return unpack_strings(buffer.tobytes(), shape)
    return buffer.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _little_endian_bytes(array: Array) -> Array:
    ordered = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    return ordered.reshape(-1).view(np.uint8)


def pack_strings(array: Array) -> bytes:
    """An object array of bytes as a string buffer."""
    items = array.reshape(-1).tolist()
    if not all(isinstance(item, bytes) for item in items):
        types = sorted({type(item).__name__ for item in items})
        raise TensorError(f"A string tensor holds bytes. Received: {', '.join(types)}")
    offsets = [4 * (len(items) + 2)]
    for item in items:
        offsets.append(offsets[-1] + len(item))
    if offsets[-1] >= 1 << 31:
        raise TensorError(f"A string tensor has less than 2 GiB. Received: {offsets[-1]} bytes")
    return struct.pack(f"<{len(offsets) + 1}i", len(items), *offsets) + b"".join(items)


def unpack_strings(data: bytes, shape: Tuple[int, ...]) -> Array:
    """A string buffer as an object array of bytes.

    Raises:
        TensorError: the buffer is damaged.
    """
    count = _count(shape)
    table = 4 * (count + 2)
    if len(data) < table:
        raise TensorError(f"{count} strings need a table of {table} bytes. Received: {len(data)}")
    stored, *offsets = struct.unpack_from(f"<{count + 2}i", data)
    ordered = all(a <= b for a, b in zip(offsets, offsets[1:]))
    if stored != count or offsets[0] != table or offsets[-1] != len(data) or not ordered:
        raise TensorError(f"A string tensor's table contradicts its shape or size: {list(shape)}, {len(data)} bytes")
    strings = np.empty(count, object)
    strings[:] = [data[a:b] for a, b in zip(offsets, offsets[1:])]
    return strings.reshape(shape)


def _count(shape: Sequence[int]) -> int:
    count = 1  # Python's own integers: a hostile shape must not wrap around
    for extent in shape:
        count *= extent
    return count


def _where(chunk: TensorChunk) -> str:
    return f"sample {chunk.sample}, tensor #{chunk.tensor}, offset {chunk.offset}, size {chunk.size}"
