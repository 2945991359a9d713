"""Fixed-point multiplication against its definitions, transcribed with Python's integers of any size."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from liteback.numerics.fixed_point import (
    DOUBLE,
    FLOAT32,
    HALF_UP,
    SINGLE,
    Multiplier,
    high_mul,
    multiply,
    multiply_wide,
    quantize_multiplier,
    rounding_divide_by_pot,
)

REAL = st.floats(1e-9, 127.0)
INT31 = st.integers(-(2**30), 2**30)


def truncating_divide(a: int, b: int) -> int:
    return abs(a) // b * (1 if a >= 0 else -1)


def srdhm(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul, as it is written."""
    nudge = 1 << 30 if a * b >= 0 else 1 - (1 << 30)
    return truncating_divide(a * b + nudge, 1 << 31)


def divide_by_pot(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT, as it is written."""
    mask = (1 << exponent) - 1
    remainder, threshold = x & mask, (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if remainder > threshold else 0)


def double(x: int, m: int, shift: int) -> int:
    return divide_by_pot(srdhm(x << max(shift, 0), m), max(-shift, 0))


def half_up(x: int, m: int, shift: int) -> int:
    high = (((x << max(shift, 0)) * m) + (1 << 30)) >> 31
    right = max(-shift, 0)
    return high if right == 0 else (high + (1 << (right - 1))) >> right


def single(x: int, m: int, shift: int) -> int:
    total = 31 - shift
    return (x * m + (1 << (total - 1))) >> total


DEFINITIONS = {DOUBLE: double, HALF_UP: half_up, SINGLE: single}


@given(REAL)
def test_a_multiplier_is_the_nearest_of_31_bits(real: float) -> None:
    m, shift = quantize_multiplier(real)
    assert 1 << 30 <= m < 1 << 31
    error = abs(Fraction(m) * Fraction(2) ** (shift - 31) - Fraction(real))
    assert error <= Fraction(2) ** (shift - 31) / 2


@pytest.mark.parametrize(
    ("real", "expected"),
    [(0.0, (0, 0)), (1.0, (1 << 30, 1)), (0.5, (1 << 30, 0)), (math.ldexp(1, -40), (0, 0)), (-0.75, (-3 << 29, 0))],
)
def test_the_ends_of_the_range(real: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(real) == expected


def test_a_fraction_that_rounds_up_to_one_moves_the_shift() -> None:
    assert quantize_multiplier(math.nextafter(1.0, 0.0)) == (1 << 30, 1)


@given(st.lists(INT31, min_size=1, max_size=8), st.integers(1 << 30, (1 << 31) - 1))
def test_high_mul_is_gemmlowps(values: list[int], m: int) -> None:
    assert high_mul(tf.constant(values, tf.int64), m).numpy().tolist() == [srdhm(v, m) for v in values]


@given(st.lists(INT31, min_size=1, max_size=8), st.integers(0, 31))
def test_division_by_a_power_of_two_is_gemmlowps(values: list[int], exponent: int) -> None:
    got = rounding_divide_by_pot(tf.constant(values, tf.int64), exponent)
    assert got.numpy().tolist() == [divide_by_pot(v, exponent) for v in values]


@settings(deadline=None)  # the first call traces
@pytest.mark.parametrize("rounding", DEFINITIONS)
@given(
    reals=st.lists(st.floats(1e-6, 4.0), min_size=1, max_size=4),
    rows=st.lists(st.integers(-(2**26), 2**26), min_size=1, max_size=4),
)
def test_every_rounding_follows_its_definition(rounding: str, reals: list[float], rows: list[int]) -> None:
    by = Multiplier.of(reals)
    x = np.repeat(np.array(rows, np.int64)[:, None], len(reals), 1)
    expected = [[DEFINITIONS[rounding](v, *quantize_multiplier(r)) for r in reals] for v in rows]
    assert multiply(tf.constant(x), by, rounding).numpy().tolist() == expected


def _ties() -> list[int]:
    """Accumulators whose product with 2**-9 lies half between two integers, on both sides of zero."""
    return [256 + 512 * k for k in range(-4, 4)]


@pytest.mark.parametrize(
    ("rounding", "rounds"),
    [
        (DOUBLE, lambda t: math.copysign(math.floor(abs(t) + 0.5), t)),
        (HALF_UP, lambda t: math.floor(t + 0.5)),
        (SINGLE, lambda t: math.floor(t + 0.5)),
        (FLOAT32, round),
    ],
)
def test_the_roundings_differ_where_they_say_they_do(rounding: str, rounds: object) -> None:
    got = multiply(tf.constant(_ties(), tf.int32), Multiplier.of(2.0**-9), rounding)
    assert got.numpy().tolist() == [rounds(t / 512) for t in _ties()]  # type: ignore[operator]


@given(st.lists(st.integers(-(2**46), 2**46), min_size=1, max_size=8), st.floats(1e-6, 0.9))
def test_the_wide_multiplier_has_fifteen_bits(values: list[int], real: float) -> None:
    m, shift = quantize_multiplier(real)
    reduced = (m + (1 << 15)) >> 16 if m < 0x7FFF0000 else 0x7FFF
    total = 15 - shift
    expected = [(v * reduced + (1 << (total - 1))) >> total for v in values]
    assert multiply_wide(tf.constant(values, tf.int64), Multiplier.of(real)).numpy().tolist() == expected


@pytest.mark.parametrize("rounding", [DOUBLE, HALF_UP, SINGLE, FLOAT32])
def test_xla_computes_the_same_bits(rounding: str) -> None:
    x = np.random.default_rng(0).integers(-(2**22), 2**22, (64, 3)).astype(np.int64)
    x[: len(_ties()), 0] = _ties()
    by = Multiplier.of([2.0**-9, 0.0123, 1.7])
    compiled = tf.function(lambda v: multiply(v, by, rounding), jit_compile=True)
    assert np.array_equal(compiled(tf.constant(x)), multiply(tf.constant(x), by, rounding))
