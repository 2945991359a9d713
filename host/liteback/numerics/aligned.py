"""Arrays at addresses that TensorFlow computes from without a copy.

Its kernels take memory at multiples of EIGEN_MAX_ALIGN_BYTES, at most 64 (tensorflow/core/framework/allocator.h,
`Allocator::kAllocatorAlignment`, v2.19); NumPy's lies 16 bytes behind a page.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

_ALIGNMENT = 64  # bytes


def aligned(values: NDArray[Any], dtype: DTypeLike = None) -> NDArray[Any]:
    """A copy, in row-major order and of another type if one is given."""
    kind = np.dtype(dtype or values.dtype)
    room = np.empty(values.size * kind.itemsize + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    copy: NDArray[Any] = room[start : start + values.size * kind.itemsize].view(kind).reshape(values.shape)
    copy[...] = values
    return copy


def is_aligned(values: NDArray[Any]) -> bool:
    return values.ctypes.data % _ALIGNMENT == 0
