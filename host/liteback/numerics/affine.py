"""Affine quantization: real = scale * (code - zero_point), per tensor or per channel.

The rounding is that of TensorFlow Lite's QUANTIZE and DEQUANTIZE kernels (`AffineQuantize`, `Dequantize` in
tensorflow/lite/kernels/internal/reference/{quantize,dequantize}.h, v2.14.0): a float32 division,
`TfLiteRound`, which is half away from zero, and a clamp to the type's range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import CODE_RANGE, QUANTIZED_TYPES, Quantization, numpy_dtype
from liteback.numerics.aligned import aligned


def dequantize(codes: NDArray[Any], quantization: Quantization) -> NDArray[np.float32]:
    """real = scale * (code - zero_point), in float32.

    codes: any integer type and shape. Returns: float32 of the same shape.
    """
    scale, zero_point = quantization.along(codes.ndim)
    # float32 holds every difference of two 16-bit codes exactly; wider ones need float64 till the end.
    work = np.dtype(np.float32 if codes.dtype.itemsize <= 2 else np.float64)
    real = aligned(codes, work)
    real -= zero_point.astype(work)  # in place: a network's largest weight is a good part of its memory
    real *= scale.astype(work)
    return np.asarray(real, np.float32)


def quantize(real: NDArray[Any], quantization: Quantization, dtype: str) -> NDArray[Any]:
    """code = clip(round(real / scale) + zero_point), rounding half away from zero.

    real: floating point, any shape. dtype: one of `ir.QUANTIZED_TYPES`. Returns: codes in
    `numpy_dtype(dtype)`. Infinity becomes the end of the range; NaN becomes zero_point, as ARMv8's
    float-to-integer conversion has it. Raises: ValueError for a type that holds no codes.
    """
    if dtype not in QUANTIZED_TYPES:
        raise ValueError(f"Only {', '.join(QUANTIZED_TYPES)} hold codes of real numbers. Received: {dtype=}.")
    work = np.float32 if dtype in CODE_RANGE else np.float64
    scale, zero_point = quantization.along(real.ndim)
    with np.errstate(over="ignore"):  # beyond float32's range is beyond the codes' range
        ratio = real.astype(work) / scale.astype(work)
    codes = round_half_away(np.where(np.isnan(ratio), work(0), ratio)).astype(np.float64) + zero_point
    return np.clip(codes, *_limits(dtype)).astype(numpy_dtype(dtype))


def round_half_away(x: NDArray[Any]) -> NDArray[Any]:
    """The nearest integer, halves away from zero, in x's own floating-point type.

    Not floor(x + 0.5): that sum rounds 0.49999997 up to 1 in float32.
    """
    whole = np.trunc(x)
    with np.errstate(invalid="ignore"):  # infinity - infinity; the comparison then keeps infinity
        rounded: NDArray[Any] = whole + np.copysign(np.abs(x - whole) >= 0.5, x)
    return rounded


def _limits(dtype: str) -> tuple[float, float]:
    """The type's range as float64 that converts back without overflow (2**63 - 1 itself would not)."""
    if dtype in CODE_RANGE:
        return CODE_RANGE[dtype]
    info = np.iinfo(dtype)
    high = float(info.max)
    return float(info.min), high if high <= info.max else float(np.nextafter(high, 0))
