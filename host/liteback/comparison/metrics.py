"""How far a candidate's tensor is from the device's, accumulated over samples in constant memory.

With d the device's values, c the candidate's and e = c - d, over all elements of all samples:

    max_abs             max |e|                              range       max(d, 0) - min(d, 0)
    rmse                sqrt(mean(e^2))                      max_abs_over_range   max_abs / range
    sqnr_db             10 log10(sum d^2 / sum e^2)          cosine      sum c d / (|c| |d|)
    norm_ratio          |c| / |d|                            differ      share of elements with e != 0

    for quantized tensors, s the device's scale, q = code of c - code of d:
    lsb_max             max |q|                              lsb_differ  share of elements with q != 0
    nfr                 mean((e / s)^2) * 12                 saturated   share of d's codes at the rails

`range` includes 0, as a quantized range does: a constant tensor then has one too. `nfr` is the noise-to-floor
ratio MSE / (s^2 / 12): 1 is what rounding alone leaves of an exact real-valued candidate. Where an element is
infinite or NaN on one side only, the errors of the tensor are undefined and every error metric is NaN, which
no threshold accepts; elements that are so on both sides alike are left out. So are those that are infinite on
one side and on the other the largest float32 there is: some kernels end there what is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from liteback.ir import CODE_RANGE, Tensor
from liteback.numerics.affine import dequantize, quantize
from liteback.tensorfile import digest

HISTOGRAM_REACH = 4  # LSB; what lies beyond goes into one bin on each side
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Metrics:
    """The metrics of one tensor; None where they do not apply. Formulas: the module's docstring.

    nan, inf: counts in the candidate. all_zero: the candidate is zero everywhere and the device is not;
    reference_all_zero: the other way round, which points at the device's kernel; and so does reference_constant: of
    several samples, the device gives the same in each, and the candidate does not.
    lsb_histogram: q in words ("<-4", "-4", ..., "4", ">4") -> elements. top1, top5: share of rows (last axis
    = classes) in which a best class of the device is among the candidate's 1 or 5 best; ties count as
    agreement.
    """

    elements: int
    max_abs: float
    rmse: float
    range: float
    max_abs_over_range: float
    sqnr_db: float
    cosine: float
    norm_ratio: float
    differ: float
    nan: int
    inf: int
    reference_nan: int
    reference_inf: int
    all_zero: bool
    reference_all_zero: bool
    reference_constant: bool = False
    lsb_max: float | None = None
    lsb_differ: float | None = None
    lsb_histogram: Mapping[str, int] | None = None
    nfr: float | None = None
    saturated: float | None = None
    top1: float | None = None
    top5: float | None = None

    def to_json(self) -> dict[str, Any]:
        """What applies, in JSON's own types.

        JSON has no infinity and no NaN: they go as the strings "Infinity", "-Infinity" and "NaN", which
        float() of Python and Number() of JavaScript read back.
        """
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: json_number(value) for name, value in values.items() if value is not None}


Better = Literal["low", "high", "one"]
# What a gate or a ranking can name, and which way is better.
METRICS: Mapping[str, Better] = {
    "max_abs": "low",
    "rmse": "low",
    "max_abs_over_range": "low",
    "sqnr_db": "high",
    "cosine": "high",
    "norm_ratio": "one",
    "differ": "low",
    "nan": "low",
    "inf": "low",
    "all_zero": "low",
    "lsb_max": "low",
    "lsb_differ": "low",
    "nfr": "low",
    "saturated": "low",
    "top1": "high",
    "top5": "high",
}


def badness(metric: str, value: float) -> tuple[bool, float]:
    """A key that sorts from best to worst; NaN is the worst."""
    if math.isnan(value):
        return True, 0.0
    return False, {"low": value, "high": -value, "one": abs(value - 1)}[METRICS[metric]]


def json_number(value: Any) -> Any:
    """A value that every JSON reader takes: non-finite numbers become "Infinity", "-Infinity", "NaN"."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


class Meter:
    """Accumulates the metrics of one tensor. `add` once per sample, then `result`.

    top: which top-k agreements to keep, for outputs.
    """

    def __init__(self, tensor: Tensor, top: tuple[int, ...] = ()) -> None:
        self._tensor = tensor
        self._errors = _Errors()
        self._codes = _Codes(tensor) if tensor.quantization is not None and tensor.is_quantized else None
        self._agreement = _Agreement(top)

    def add(self, device: NDArray[Any], candidate: NDArray[Any]) -> None:
        """device: the codes as recorded. candidate: real values, or codes in the tensor's own integer type.

        Raises: ValueError when shapes differ, or an integer candidate has another type than the tensor.
        """
        if device.shape != candidate.shape:
            raise ValueError(f"shape {candidate.shape} against the device's {device.shape}")
        if self._codes and candidate.dtype.kind in "iub" and candidate.dtype != device.dtype:
            raise ValueError(f"codes of {candidate.dtype} against the device's {device.dtype}")
        if device.dtype == object:  # texts have no distance: 1 where they differ
            reference, value = np.zeros(device.shape), np.asarray(device != candidate, np.float64)
        else:
            reference, value = self._real(device), self._real(candidate)
        self._errors.add(reference, value)
        if self._codes:
            self._codes.add(device, candidate, value - reference)
        self._agreement.add(reference, value)

    def result(self) -> Metrics:
        """The metrics over all that was added."""
        codes = self._codes.result() if self._codes else {}
        return Metrics(**self._errors.result(), **codes, **self._agreement.result())

    def _real(self, array: NDArray[Any]) -> NDArray[np.float64]:
        quantization = self._tensor.quantization
        if self._codes and quantization is not None and array.dtype.kind in "iu":
            array = dequantize(array, quantization)
        if array.dtype.kind == "c":
            array = np.stack([array.real, array.imag], axis=-1)
        return array.astype(np.float64)


class _Errors:
    """Sums over real values."""

    def __init__(self) -> None:
        self.elements = self.finite = self.different = self.one_sided = 0
        self.nan = self.inf = self.reference_nan = self.reference_inf = 0
        self.low = self.high = self.max_abs = 0.0
        self.error = self.signal = self.energy = self.product = 0.0  # sums of e^2, d^2, c^2, c d
        self.samples = 0
        self.references: set[bytes] = set()  # a digest of each that there was
        self.candidates: set[bytes] = set()

    def add(self, d: NDArray[np.float64], c: NDArray[np.float64]) -> None:
        self.samples += 1
        self.references.add(digest(d))
        self.candidates.add(digest(c))
        finite = np.isfinite(d) & np.isfinite(c)
        alike = finite | (np.clip(d, -LARGEST, LARGEST) == np.clip(c, -LARGEST, LARGEST)) | (np.isnan(d) & np.isnan(c))
        self.elements += d.size
        self.one_sided += int(np.count_nonzero(~alike))
        self.nan += int(np.count_nonzero(np.isnan(c)))
        self.inf += int(np.count_nonzero(np.isinf(c)))
        self.reference_nan += int(np.count_nonzero(np.isnan(d)))
        self.reference_inf += int(np.count_nonzero(np.isinf(d)))
        d, c = d[finite], c[finite]
        if not d.size:
            return
        e = c - d
        self.finite += d.size
        self.different += int(np.count_nonzero(e))
        self.low, self.high = min(self.low, float(d.min())), max(self.high, float(d.max()))
        self.max_abs = max(self.max_abs, float(np.abs(e).max()))
        self.error += float(e @ e)
        self.signal += float(d @ d)
        self.energy += float(c @ c)
        self.product += float(c @ d)

    def result(self) -> dict[str, Any]:
        span, norms = self.high - self.low, math.sqrt(self.signal) * math.sqrt(self.energy)
        errors = {
            "max_abs": self.max_abs,
            "rmse": math.sqrt(self.error / self.finite) if self.finite else 0.0,
            "max_abs_over_range": _ratio(self.max_abs, span, nothing=0.0),
            "sqnr_db": _decibel(_ratio(self.signal, self.error, nothing=math.inf)),
            "cosine": max(-1.0, min(1.0, self.product / norms)) if norms else float(self.energy == self.signal),
            "norm_ratio": math.sqrt(_ratio(self.energy, self.signal, nothing=1.0)),
        }
        if self.one_sided:
            errors = dict.fromkeys(errors, math.nan)
        return {
            **errors,
            "elements": self.elements,
            "range": span,
            "differ": (self.different + self.one_sided) / self.elements if self.elements else 0.0,
            "nan": self.nan,
            "inf": self.inf,
            "reference_nan": self.reference_nan,
            "reference_inf": self.reference_inf,
            "all_zero": self.energy == 0 and self.signal > 0,
            "reference_all_zero": self.signal == 0 and self.energy > 0,
            "reference_constant": self.samples > len(self.references) == 1 < len(self.candidates),
        }


class _Codes:
    """Differences in LSB of the device's scale."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.bins = np.zeros(2 * HISTOGRAM_REACH + 3, np.int64)
        self.elements = self.max = self.rails = self.undefined = 0
        self.floors = 0.0  # sum of (e / s)^2

    def add(self, device: NDArray[Any], candidate: NDArray[Any], error: NDArray[np.float64]) -> None:
        quantization, dtype = self.tensor.quantization, self.tensor.dtype
        if quantization is None or not device.size:
            return
        self.undefined += int(np.count_nonzero(~np.isfinite(error)))
        codes = quantize(candidate, quantization, dtype) if candidate.dtype.kind == "f" else candidate
        q = codes.astype(np.int64) - device.astype(np.int64)
        beyond = HISTOGRAM_REACH + 1
        self.bins += np.bincount((np.clip(q, -beyond, beyond) + beyond).reshape(-1), minlength=self.bins.size)
        self.elements += q.size
        self.max = max(self.max, int(np.abs(q).max()))
        self.floors += float(np.sum(np.square(error / quantization.along(error.ndim)[0])))
        if dtype in CODE_RANGE:
            low, high = CODE_RANGE[dtype]
            self.rails += int(np.count_nonzero((device == low) | (device == high)))

    def result(self) -> dict[str, Any]:
        reach, count = HISTOGRAM_REACH, max(self.elements, 1)
        names = [f"<{-reach}", *map(str, range(-reach, reach + 1)), f">{reach}"]
        return {
            "lsb_max": math.nan if self.undefined else float(self.max),
            "lsb_differ": 1 - int(self.bins[reach + 1]) / count if self.elements else 0.0,
            "lsb_histogram": dict(zip(names, self.bins.tolist(), strict=True)),
            "nfr": math.nan if self.undefined else 12 * self.floors / count,
            "saturated": self.rails / count,
        }


class _Agreement:
    """Top-k agreement along the last axis, where it is long enough to have k best and others."""

    def __init__(self, top: tuple[int, ...]) -> None:
        self.hits = dict.fromkeys(top, 0)
        self.rows = 0

    def add(self, d: NDArray[np.float64], c: NDArray[np.float64]) -> None:
        if d.ndim < 1 or d.shape[-1] < 2 or not d.size:
            return
        d, c = d.reshape(-1, d.shape[-1]), c.reshape(-1, d.shape[-1])
        best = np.where(d == d.max(axis=-1, keepdims=True), c, -np.inf).max(axis=-1, keepdims=True)
        better = np.count_nonzero(~(c <= best), axis=-1)  # NaN counts as better: it never agrees
        self.rows += len(d)
        for k in list(self.hits):
            if k >= d.shape[-1]:
                del self.hits[k]
            else:
                self.hits[k] += int(np.count_nonzero(better < k))

    def result(self) -> dict[str, Any]:
        return {f"top{k}": hits / self.rows for k, hits in self.hits.items()} if self.rows else {}


def _ratio(a: float, b: float, nothing: float) -> float:
    """a / b for what is never negative; `nothing` is 0 / 0."""
    if b:
        return a / b
    return math.inf if a else nothing


def _decibel(ratio: float) -> float:
    return 10 * math.log10(ratio) if ratio else -math.inf
