"""gemmlowp's functions of fixed-point numbers: near the functions themselves, and exact where they are known."""

from __future__ import annotations

import numpy as np
import pytest

from liteback.numerics.gemmlowp import CODES, logistic_table, reciprocal, tanh_table


@pytest.mark.parametrize("bits", range(7))
def test_the_tables_follow_the_functions(bits: int) -> None:
    x = CODES / 2.0 ** (15 - bits)
    for table, real in ((logistic_table(bits), 1 / (1 + np.exp(-x))), (tanh_table(bits), np.tanh(x))):
        assert table.dtype == np.int16
        assert np.abs(table / 32768 - real).max() < 4e-4


@pytest.mark.parametrize("bits", range(7))
def test_zero_is_exact_and_signs_mirror(bits: int) -> None:
    zero = 32768
    assert logistic_table(bits)[zero] == 1 << 14
    assert tanh_table(bits)[zero] == 0
    np.testing.assert_array_equal(tanh_table(bits)[zero + 1 :], -tanh_table(bits)[1:zero][::-1])
    np.testing.assert_array_equal(logistic_table(bits)[zero + 1 :], 32767 - logistic_table(bits)[1:zero][::-1])


def test_values_of_gemmlowp_itself() -> None:
    """Computed with gemmlowp's header: codes -20000, -1, 777 and 32767 of three integer bits."""
    places = np.array([-20000, -1, 777, 32767]) + 32768
    assert tanh_table(3)[places].tolist() == [-32767, -8, 6144, 32767]
    assert logistic_table(3)[places].tolist() == [243, 16383, 17932, 32756]


def test_a_reciprocal_is_within_a_few_steps() -> None:
    """Newton's method stops after three: 2**-28 is left."""
    x = np.linspace(0, 2**31 - 1, 1000).astype(np.int64)
    assert np.abs(reciprocal(x) / 2**31 - 1 / (1 + x / 2**31)).max() < 2**-28
