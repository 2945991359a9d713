"""Codes narrower than a byte, as a file stores them: a byte holds the first of its codes in its low bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pack(codes: NDArray[Any], bits: int) -> bytes:
    """Codes of any shape -> bytes; what is left of the last byte is 0."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    low = codes.reshape(-1).astype(np.uint8) & np.uint8((1 << bits) - 1)
    groups = np.pad(low, (0, -low.size % places.size)).reshape(-1, places.size)
    return bytes(np.bitwise_or.reduce(groups << places, axis=1).astype(np.uint8))


def unpack(packed: bytes | memoryview, bits: int, dtype: Any = np.int8) -> NDArray[Any]:
    """Bytes -> all the codes that they have room for. dtype: what holds them: int8, or uint8 where none has a sign."""
    places = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (np.frombuffer(packed, np.uint8)[:, np.newaxis] >> places) << np.uint8(8 - bits)  # the sign is on top
    held: NDArray[Any] = codes.view(dtype) >> np.array(8 - bits, dtype)
    return held.reshape(-1)
