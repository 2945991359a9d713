"""The streamed metrics against their formulas written down directly."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from host.compare_data import a_tensor
from liteback.comparison.metrics import METRICS, Meter, Metrics, badness
from liteback.ir import Quantization, Tensor
from liteback.numerics.affine import dequantize, quantize

FLOAT = a_tensor(0, "float32")


def measure(tensor: Tensor, *pairs: tuple[np.ndarray, np.ndarray], top: tuple[int, ...] = ()) -> Metrics:
    meter = Meter(tensor, top)
    for device, candidate in pairs:
        meter.add(device, candidate)
    return meter.result()


def noisy(rng: np.random.Generator, shape: tuple[int, ...] = (3, 5)) -> tuple[np.ndarray, np.ndarray]:
    d = rng.normal(1, 2, shape).astype(np.float32)
    return d, d + rng.normal(0, 0.1, shape).astype(np.float32)


def test_float_metrics_are_their_formulas() -> None:
    rng = np.random.default_rng(0)
    samples = [noisy(rng) for _ in range(4)]
    m = measure(FLOAT, *samples)
    d, c = (np.concatenate([s[i].ravel() for s in samples]).astype(np.float64) for i in (0, 1))
    e = c - d
    assert m.elements == d.size
    assert m.max_abs == np.abs(e).max()
    assert m.rmse == pytest.approx(np.sqrt(np.mean(e**2)))
    assert m.range == max(d.max(), 0) - min(d.min(), 0)
    assert m.max_abs_over_range == pytest.approx(m.max_abs / m.range)
    assert m.sqnr_db == pytest.approx(10 * np.log10(np.sum(d**2) / np.sum(e**2)))
    assert m.cosine == pytest.approx(c @ d / np.linalg.norm(c) / np.linalg.norm(d))
    assert m.norm_ratio == pytest.approx(np.linalg.norm(c) / np.linalg.norm(d))
    assert m.differ == np.mean(e != 0)
    assert m.lsb_max is None
    assert m.nfr is None


def test_quantized_metrics_are_their_formulas() -> None:
    tensor = a_tensor(0, "int8", scale=0.5, zero_point=3)
    rng = np.random.default_rng(1)
    device = rng.integers(-128, 128, (2, 50)).astype(np.int8)
    real = dequantize(device, tensor.quantization) + rng.normal(0, 1, device.shape).astype(np.float32)
    m = measure(tensor, (device, real))
    q = quantize(real, tensor.quantization, "int8").astype(int) - device
    assert m.lsb_max == np.abs(q).max() > 4
    assert m.lsb_differ == pytest.approx(np.mean(q != 0))
    assert m.nfr == pytest.approx(np.mean((real - dequantize(device, tensor.quantization)) ** 2) / (0.5**2 / 12))
    assert m.saturated == np.mean((device == -128) | (device == 127))
    assert m.lsb_histogram["0"] == np.count_nonzero(q == 0)
    assert m.lsb_histogram["-2"] == np.count_nonzero(q == -2)
    assert m.lsb_histogram[">4"] == np.count_nonzero(q > 4)
    assert sum(m.lsb_histogram.values()) == q.size


def test_codes_and_their_real_values_measure_the_same() -> None:
    tensor = a_tensor(0, "uint8", scale=0.1, zero_point=7)
    rng = np.random.default_rng(2)
    device, candidate = rng.integers(0, 256, (2, 4, 9)).astype(np.uint8)
    as_codes = measure(tensor, (device, candidate))
    as_reals = measure(tensor, (device, dequantize(candidate, tensor.quantization)))
    assert as_codes == as_reals


def test_rounding_alone_has_a_noise_to_floor_ratio_of_one() -> None:
    tensor = a_tensor(0, "int8", scale=0.25)
    real = np.random.default_rng(3).uniform(-20, 20, 100_000).astype(np.float32)
    m = measure(tensor, (quantize(real, tensor.quantization, "int8"), real))
    assert m.nfr == pytest.approx(1, rel=0.02)
    assert m.lsb_max == 0


def test_per_channel_errors_are_counted_in_each_channels_own_step() -> None:
    quantization = Quantization(np.float32([1, 0.01]), np.array([0, 0], np.int64), axis=1)
    tensor = Tensor(0, "w", "int8", (1, 2), (1, 2), quantization)
    device = np.array([[10, 10]], np.int8)
    m = measure(tensor, (device, np.float32([[10, 0.12]])))
    assert m.lsb_max == 2
    assert m.nfr == pytest.approx(12 * 2**2 / 2, rel=1e-4)


@given(st.lists(npst.arrays(np.float32, (2, 6), elements=st.floats(-1e3, 1e3, width=32)), min_size=1, max_size=4))
def test_how_samples_are_cut_makes_no_difference(samples: list[np.ndarray]) -> None:
    pairs = [(s[:1], s[1:]) for s in samples]
    whole = tuple(np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    one_by_one, at_once = measure(FLOAT, *pairs), measure(FLOAT, whole)
    for name in METRICS.keys() - {"lsb_max", "lsb_differ", "nfr", "saturated", "top1", "top5"}:
        assert getattr(one_by_one, name) == pytest.approx(getattr(at_once, name), rel=1e-9)


@given(npst.arrays(np.float32, 8, elements=st.floats(-1e3, 1e3, width=32)))
def test_an_equal_tensor_is_perfect(values: np.ndarray) -> None:
    m = measure(FLOAT, (values, values.copy()))
    assert (m.max_abs, m.rmse, m.max_abs_over_range, m.differ) == (0, 0, 0, 0)
    assert m.sqnr_db == math.inf
    assert m.cosine == pytest.approx(1)
    assert m.norm_ratio == 1


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_one_element_that_is_not_finite_spoils_every_error(broken: float) -> None:
    device, candidate = noisy(np.random.default_rng(4))
    candidate[1, 2] = broken
    m = measure(FLOAT, (device, candidate))
    assert math.isnan(m.max_abs)
    assert math.isnan(m.sqnr_db)
    assert math.isnan(m.cosine)
    assert (m.nan, m.inf) == ((1, 0) if math.isnan(broken) else (0, 1))
    assert m.differ > 0

    tensor = a_tensor(0, "int8", scale=1.0)
    m = measure(tensor, (np.zeros((3, 5), np.int8), candidate))
    assert math.isnan(m.lsb_max)
    assert math.isnan(m.nfr)


def test_elements_that_are_not_finite_on_both_sides_agree() -> None:
    device = np.float32([1, np.nan, np.inf, -np.inf])
    m = measure(FLOAT, (device, device.copy()))
    assert m.max_abs == 0
    assert m.differ == 0
    assert (m.reference_nan, m.reference_inf) == (1, 2)
    opposite = measure(FLOAT, (device, np.float32([1, np.nan, np.inf, np.inf])))
    assert math.isnan(opposite.max_abs)


def test_a_kernel_may_end_what_is_infinite_at_the_largest_number() -> None:
    largest = np.finfo(np.float32).max
    device, candidate = np.float32([1, -largest, largest]), np.float32([1, -np.inf, np.inf])
    m = measure(FLOAT, (device, candidate))
    assert (m.max_abs, m.range, m.differ) == (0, 1, 0)
    assert math.isnan(measure(FLOAT, (device, -candidate)).max_abs)


def test_silent_zeros_are_named() -> None:
    device = np.float32([1, -1])
    assert measure(FLOAT, (device, np.zeros(2, np.float32))).all_zero
    assert not measure(FLOAT, (np.zeros(2, np.float32), np.zeros(2, np.float32))).all_zero
    assert measure(FLOAT, (device, np.zeros(2, np.float32))).cosine == 0
    dead_kernel = measure(FLOAT, (np.zeros(2, np.float32), device))
    assert dead_kernel.reference_all_zero
    assert dead_kernel.max_abs_over_range == math.inf
    assert not dead_kernel.reference_constant, "of one sample nothing is known"


def test_a_device_that_gives_the_same_on_all_inputs_is_named() -> None:
    bias, one, other = np.float32([1, 2]), np.float32([3, 4]), np.float32([5, 6])
    assert measure(FLOAT, (bias, one), (bias, other)).reference_constant
    assert not measure(FLOAT, (bias, one), (bias, one)).reference_constant, "a constant of the file"
    assert not measure(FLOAT, (one, one), (other, bias)).reference_constant


def test_a_constant_tensor_has_a_range() -> None:
    five = np.full(3, 5, np.float32)
    assert measure(FLOAT, (five, five + np.float32(1e-5))).max_abs_over_range < 1e-5


def test_top_k_counts_ties_of_the_device_as_agreement() -> None:
    tensor = a_tensor(0, "uint8", scale=1 / 256)
    device = np.array([[0, 90, 90, 1, 2, 3, 4]], np.uint8)
    one = measure(tensor, (device, np.float32([[0, 0.3, 0.4, 0.1, 0, 0, 0]])), top=(1, 5))
    assert (one.top1, one.top5) == (1, 1)
    five = measure(tensor, (device, np.float32([[0.9, 0.3, 0.2, 0.4, 0, 0, 0]])), top=(1, 5))
    assert (five.top1, five.top5) == (0, 1)
    lost = measure(tensor, (device, np.float32([[9, 1, 1, 8, 7, 6, 5]])), top=(1, 5))
    assert (lost.top1, lost.top5) == (0, 0)
    assert measure(FLOAT, (np.zeros((2, 3)), np.zeros((2, 3))), top=(1, 5)).top5 is None  # only three classes


def test_nan_never_agrees() -> None:
    device = np.float32([[1, 2, 3]])
    assert measure(FLOAT, (device, np.float32([[np.nan, 0, 5]])), top=(1,)).top1 == 0
    assert measure(FLOAT, (device, np.float32([[0, 0, np.nan]])), top=(1,)).top1 == 0


@pytest.mark.parametrize(
    ("dtype", "device", "candidate"),
    [("bool", [True, False], [True, True]), ("int64", [2**40, 1], [2**40, 2]), ("int32", [3, -4], [3, 4])],
)
def test_integers_and_booleans_have_a_share_that_differs(dtype: str, device: list, candidate: list) -> None:
    m = measure(a_tensor(0, dtype), (np.array(device, dtype), np.array(candidate, dtype)))
    assert m.differ == 0.5
    assert m.lsb_max is None


def test_complex_errors_count_both_parts() -> None:
    m = measure(a_tensor(0, "complex64"), (np.complex64([1 + 1j]), np.complex64([1 + 3j])))
    assert m.max_abs == 2


@pytest.mark.parametrize("dtype", ["float32", "int8"])
def test_an_empty_tensor_has_no_error(dtype: str) -> None:
    empty = np.zeros((0, 3), dtype)
    m = measure(a_tensor(0, dtype, scale=1.0 if dtype == "int8" else None), (empty, empty), top=(1,))
    assert m.elements == 0
    assert m.max_abs_over_range == 0


def test_another_shape_or_type_is_refused() -> None:
    tensor = a_tensor(0, "int8", scale=1.0)
    with pytest.raises(ValueError, match=r"shape \(3,\) against the device's \(2,\)"):
        Meter(tensor).add(np.zeros(2, np.int8), np.zeros(3, np.int8))
    with pytest.raises(ValueError, match="codes of uint8 against the device's int8"):
        Meter(tensor).add(np.zeros(2, np.int8), np.zeros(2, np.uint8))


def test_json_reads_back_in_any_reader() -> None:
    device = np.float32([1, 2])
    text = json.dumps(measure(FLOAT, (device, device)).to_json(), allow_nan=False)
    assert float(json.loads(text)["sqnr_db"]) == math.inf
    text = json.dumps(measure(FLOAT, (device, device * np.nan)).to_json(), allow_nan=False)
    assert math.isnan(float(json.loads(text)["rmse"]))
    assert "lsb_max" not in json.loads(text)


def test_badness_knows_which_way_is_better() -> None:
    assert sorted([3.0, math.nan, 1.0], key=lambda v: badness("rmse", v))[-2:] == pytest.approx(
        [3.0, math.nan], nan_ok=True
    )
    assert badness("sqnr_db", 10) > badness("sqnr_db", 20)
    assert badness("norm_ratio", 0.5) > badness("norm_ratio", 1.1)
