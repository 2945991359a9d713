"""Functions of fixed-point numbers, as gemmlowp computes them: of 16 bits, as tables over every code.

A code of `word` bits besides its sign, n of them integer bits, stands for code / 2**(word - n); word is 15 but where
said. A product has the integer bits of both its factors; it is rounded to a word, halves up. Source: google/gemmlowp
fixedpoint/fixedpoint.h (`exp_on_negative_values`, `one_over_one_plus_x_for_x_in_0_1`, `logistic`, `tanh`).
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
LOW, HIGH = -32768, 32767
CODES = np.arange(LOW, HIGH + 1, dtype=np.int64)


@cache
def logistic_table(integer_bits: int) -> NDArray[np.int16]:
    """1 / (1 + exp(-x)) for each code of x, the lowest first; the result has no integer bits."""
    above = _shifted_up(_inverse(exp(-np.abs(CODES), integer_bits)), 1)
    return np.where(CODES == 0, 1 << 14, np.where(CODES > 0, above, HIGH - above)).astype(np.int16)


@cache
def tanh_table(integer_bits: int) -> NDArray[np.int16]:
    """tanh(x) for each code of x, the lowest first; the result has no integer bits."""
    powers = exp(-np.abs(CODES), integer_bits + 1)  # of -2 |x|: the same code, with one integer bit more
    size = _shifted_up(_inverse(powers) - _constant(1.0, 2), 2)
    return np.where(CODES == 0, 0, np.where(CODES < 0, -size, size)).astype(np.int16)


def exp(x: Ints, integer_bits: int, word: int = 15) -> Ints:
    """exp(x) for x <= 0: a polynomial within a quarter, times exp of the quarters; the result has no integer bits."""
    fraction_bits = word - integer_bits
    quarter = 1 << (fraction_bits - 2)
    within = (x & (quarter - 1)) - quarter  # of [-1/4, 0)
    result = _exp_within(_shifted_up(within, integer_bits, word), word)
    for exponent in range(-2, min(integer_bits, 5)):
        factor = _constant(math.exp(-(2.0**exponent)), 0, word)
        bit = (within - x) >> (fraction_bits + exponent) & 1
        result = np.where(bit == 1, _times(result, factor, word), result)
    if integer_bits > 5:
        result = np.where(x < -(32 << fraction_bits), 0, result)
    return np.where(x == 0, (1 << word) - 1, result)


def _exp_within(x: Ints, word: int) -> Ints:
    """exp(x) for -1/4 <= x < 0: its series around -1/8."""
    x = x + (1 << (word - 3))
    square = _times(x, x, word)
    cube, fourth = _times(square, x, word), _times(square, square, word)
    terms = _halved(_times(_halved(fourth, 2) + cube, _constant(1 / 3, 0, word), word) + square, 1)
    start = _constant(math.exp(-1 / 8), 0, word)
    return np.clip(start + _times(x + terms, start, word), -(1 << word), (1 << word) - 1)


def reciprocal(x: Ints) -> Ints:
    """1 / (1 + x) for x of [0, 1): numbers of 31 bits without integer bits."""
    return _shifted_up(_inverse(x, 31), 1, 31)


def _inverse(x: Ints, word: int = 15) -> Ints:
    """2 / (1 + x) for x of [0, 1], with two integer bits: three steps of Newton's method."""
    half = (x + (1 << word)) >> 1
    y = _constant(48 / 17, 2, word) + _times(half, _constant(-32 / 17, 2, word), word)
    for _ in range(3):
        y = y + _shifted_up(_times(y, _constant(1.0, 2, word) - _times(half, y, word), word), 2, word)
    return y


def _constant(real: float, integer_bits: int, word: int = 15) -> int:
    return min(round(real * (1 << (word - integer_bits))), (1 << word) - 1)


def _times(a: Ints, b: Ints | int, word: int = 15) -> Ints:
    """The upper half of 2 a b, halves up."""
    return np.minimum((a * b + (1 << (word - 1))) >> word, (1 << word) - 1)


def _halved(x: Ints, times: int) -> Ints:
    """x / 2**times, halves away from zero."""
    return (x + (1 << (times - 1)) - (x < 0)) >> times


def _shifted_up(x: Ints, bits: int, word: int = 15) -> Ints:
    """x * 2**bits, saturated."""
    return np.clip(x << bits, -(1 << word), (1 << word) - 1)
