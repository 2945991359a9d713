"""Affine quantization against the arithmetic of the kernels, and the properties it must have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from liteback.ir import CODE_RANGE, Quantization, numpy_dtype
from liteback.numerics.affine import dequantize, quantize, round_half_away


def quantization(scale: float | list[float], zero_point: int | list[int] = 0, axis: int = 0) -> Quantization:
    return Quantization(np.atleast_1d(np.float32(scale)), np.atleast_1d(np.int64(zero_point)), axis)


scales = st.floats(2.0**-20, 2.0**20, width=32)


@given(st.data(), st.sampled_from(["int8", "uint8", "int16"]), scales)
def test_quantize_undoes_dequantize(data: st.DataObject, dtype: str, scale: float) -> None:
    zero_point = data.draw(st.integers(*CODE_RANGE[dtype]))
    codes = data.draw(npst.arrays(dtype, npst.array_shapes(min_dims=0, max_dims=3)))
    q = quantization(scale, zero_point)
    real = dequantize(codes, q)
    assert real.dtype == np.float32
    assert real.shape == codes.shape
    np.testing.assert_array_equal(quantize(real, q, dtype), codes)


@given(npst.arrays(np.float32, 20, elements=st.floats(-100, 100, width=32)), scales)
def test_the_error_inside_the_range_is_at_most_half_a_step(real: np.ndarray, scale: float) -> None:
    q = quantization(scale)
    codes = quantize(real, q, "int8")
    inside = np.abs(real / np.float32(scale)) < 127
    error = np.abs(dequantize(codes, q).astype(np.float64) - real)
    assert np.all(error[inside] <= scale * 0.5 * (1 + 1e-5))


@given(npst.arrays(np.float32, 20, elements=st.floats(width=32)), st.sampled_from(list(CODE_RANGE)))
def test_any_float_gives_a_code_in_range(real: np.ndarray, dtype: str) -> None:
    codes = quantize(real, quantization(0.5, 3), dtype)
    low, high = CODE_RANGE[dtype]
    assert codes.dtype == numpy_dtype(dtype)
    assert np.all((codes >= low) & (codes <= high))


def test_halves_round_away_from_zero() -> None:
    x = np.float32([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    np.testing.assert_array_equal(round_half_away(x), [-3, -2, -1, 1, 2, 3])
    np.testing.assert_array_equal(quantize(x, quantization(1.0), "int8"), [-3, -2, -1, 1, 2, 3])


def test_the_float_just_below_a_half_rounds_to_zero() -> None:
    assert round_half_away(np.nextafter(np.float32(0.5), np.float32(0))) == 0


def test_special_values() -> None:
    real = np.float32([np.nan, np.inf, -np.inf, 3e38])
    np.testing.assert_array_equal(quantize(real, quantization(1e-3, -5), "int8"), [-5, 127, -128, 127])


def test_per_channel_along_an_inner_axis() -> None:
    q = quantization([1.0, 0.5, 0.25], [0, 1, -1], axis=1)
    codes = np.array([[[4], [5], [7]]], np.int8)
    np.testing.assert_array_equal(dequantize(codes, q), [[[4.0], [2.0], [2.0]]])
    np.testing.assert_array_equal(quantize(dequantize(codes, q), q, "int8"), codes)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_wide_codes_reach_their_ends(dtype: str) -> None:
    info = np.iinfo(dtype)
    codes = quantize(np.float64([-1e30, 7.5, 1e30]), quantization(1.0), dtype)
    assert codes[0] == info.min
    assert codes[1] == 8
    assert info.max - codes[2] < 1024  # 2**63 - 1 has no float64: its nearest neighbour below


def test_a_bias_of_large_codes_keeps_its_low_bits() -> None:
    codes = np.array([2**30 + 1, -(2**30) - 1], np.int32)
    expected = (codes.astype(np.float64) * np.float64(np.float32(1e-4))).astype(np.float32)
    np.testing.assert_array_equal(dequantize(codes, quantization(1e-4)), expected)


def test_a_type_without_codes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Received: dtype='float32'"):
        quantize(np.zeros(1), quantization(1.0), "float32")
