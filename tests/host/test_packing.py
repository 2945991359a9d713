"""Codes narrower than a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from liteback.ir import CODE_RANGE, PACKED_BITS, numpy_dtype
from liteback.packing import pack, unpack


@pytest.mark.parametrize(
    ("bits", "codes", "packed"),
    [(4, [1, -1, 7, -8], b"\xf1\x87"), (2, [1, -1, -2, 0], b"\x2d"), (2, [1], b"\x01")],
)
def test_the_first_code_is_in_the_low_bits(bits: int, codes: list[int], packed: bytes) -> None:
    assert pack(np.array(codes, np.int8), bits) == packed


@given(data=st.data(), dtype=st.sampled_from(list(PACKED_BITS)))
def test_codes_come_back(data: Any, dtype: str) -> None:
    low, high = CODE_RANGE[dtype]
    shape = npst.array_shapes(min_dims=0, max_dims=3)
    held = numpy_dtype(dtype)
    codes: NDArray[Any] = data.draw(npst.arrays(held, shape, elements=st.integers(low, high)))
    packed = pack(codes, PACKED_BITS[dtype])
    assert len(packed) == -(-codes.size * PACKED_BITS[dtype] // 8)
    assert np.array_equal(unpack(packed, PACKED_BITS[dtype], held)[: codes.size].reshape(codes.shape), codes)
