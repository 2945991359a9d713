"""Tensors of one sample in one safetensors file, by tensor index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from liteback.errors import UsageError
from liteback_proto.tensors import pack_strings, unpack_strings

Arrays = Mapping[int, NDArray[Any]]


def pack_arrays(arrays: Arrays) -> bytes:
    """Arrays as the bytes of a safetensors file.

    That format has no strings: they go as TFLite's string buffer in uint8, and the file's metadata keep
    their shape under `string:INDEX`.
    """
    metadata = {f"string:{i}": json.dumps(a.shape) for i, a in arrays.items() if a.dtype == object}
    tensors = {
        str(i): np.frombuffer(pack_strings(a), np.uint8) if a.dtype == object else np.asarray(a, order="C")
        for i, a in arrays.items()
    }
    return bytes(save(tensors, metadata))


def read_arrays(path: Path) -> dict[int, NDArray[Any]]:
    """Raises: UsageError for a file that is missing or damaged."""
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {int(key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no dict)
        for key, shape in metadata.items():
            index = int(key.partition(":")[2])
            arrays[index] = unpack_strings(arrays[index].tobytes(), tuple(json.loads(shape)))
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise UsageError(
            f"A recording's tensors are safetensors files. Received: {path}: {error}. "
            "`Recording.verify` lists every damaged file; copy or record them again."
        ) from None
    return arrays


def digest(array: NDArray[Any]) -> bytes:
    """A hash of an array's type, shape and bits: NaN equals the same NaN, -0 does not equal 0."""
    content = pack_strings(array) if array.dtype == object else np.ascontiguousarray(array).data
    return hashlib.blake2b(content, digest_size=16, key=f"{array.dtype.str}{array.shape}".encode()[:64]).digest()
