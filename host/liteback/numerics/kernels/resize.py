"""RESIZE_BILINEAR on codes: in integers, in float32, or as XNNPACK does."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.numerics.kernels.common import Codes, fused32, product32, sum32
from liteback.numerics.kernels.neon import NEON
from liteback.numerics.operator import Operator, exact

REFERENCE, OPTIMISED, XNNPACK = "reference", "optimised", "xnnpack"
NEON_REFERENCE = "neon-reference"  # the reference kernel as the compiler for aarch64 rearranges it
Places = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]  # below, above, how far beyond the first


@exact(
    "RESIZE_BILINEAR",
    variants=(REFERENCE, XNNPACK),
    uint8=(REFERENCE, OPTIMISED, XNNPACK, NEON, NEON_REFERENCE),
)
def resize_bilinear(op: Operator, x: Codes, size: Codes) -> Any:
    """x (N,H,W,C), size (2,) -> (N,h,w,C). Codes of one scale: their mixtures are codes too."""
    if not isinstance(size, np.ndarray) or None in x.shape[1:3]:
        raise NotImplementedError("its extents are known only at run time")
    extents = list(zip((int(n) for n in x.shape[1:3]), (int(n) for n in size), strict=True))
    corners, half = bool(op.options["align_corners"]), bool(op.options["half_pixel_centers"])
    if op.variant == XNNPACK:
        places, mix = _xnnpack_places, _mix_xnnpack
    elif op.input(0).dtype == "uint8":
        mixes = {OPTIMISED: _mix_optimised, NEON: _mix_neon, NEON_REFERENCE: _mix_neon_reference}
        places, mix = _float_places, mixes.get(op.variant, _mix_reference)
    else:
        places, mix = _integer_places, _mix_integers
    (y0, y1, down), (x0, x1, right) = (places(n, m, corners, half) for n, m in extents)
    rows = tf.gather(x, y0, axis=1), tf.gather(x, y1, axis=1)
    corner = {f"{i}{j}": tf.gather(row, c, axis=2) for i, row in enumerate(rows) for j, c in ((0, x0), (1, x1))}
    return tf.cast(mix(corner, down[:, None, None], right[:, None]), op.out.dtype)


def _integer_places(extent: int, size: int, corners: bool, half: bool) -> Places:
    """In 1024ths. Source: ComputeInterpolationValuesInteger (reference/resize_bilinear.h, v2.14.0)."""
    moved = int(corners and size > 1)
    scale = ((extent - moved) * 1024 + (size - moved) // 2) // (size - moved)
    place = np.arange(size, dtype=np.int32) * scale + (scale // 2 - 512 if half else 0)
    low = np.maximum(np.trunc(place / 1024), 0).astype(np.int32)
    high = np.minimum(np.trunc((place + 1023) / 1024), extent - 1).astype(np.int32)
    return low, high, (place - 1024 * low).astype(np.int64)


def _mix_integers(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """Halves away from zero. Source: ResizeBilinearInteger (reference/resize_bilinear.h, v2.14.0)."""
    c = {key: tf.cast(value, tf.int64) for key, value in corner.items()}
    top = c["00"] * (1024 - right) + c["01"] * right
    bottom = c["10"] * (1024 - right) + c["11"] * right
    total = top * (1024 - down) + bottom * down
    size = tf.bitwise.right_shift(tf.abs(total) + (1 << 19), tf.constant(20, tf.int64))
    return tf.sign(total) * size


def _float_places(extent: int, size: int, corners: bool, half: bool) -> Places:
    """In float32. Source: ComputeInterpolationValues (reference/resize_bilinear.h, v2.14.0)."""
    moved = int(corners and size > 1)
    scale = np.float32(extent - moved) / np.float32(size - moved)
    steps = np.arange(size, dtype=np.float32)
    place = (steps + np.float32(0.5)) * scale - np.float32(0.5) if half else steps * scale
    low = np.maximum(np.floor(place), 0).astype(np.int32)
    high = np.minimum(np.ceil(place), extent - 1).astype(np.int32)
    return low, high, place - low.astype(np.float32)


def _mix_reference(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """Each corner times its two shares, one after the other. Source: ResizeBilinear (reference/resize_bilinear.h)."""
    one = np.float32(1)
    shares = [
        ("00", one - down, one - right),
        ("10", down, one - right),
        ("01", one - down, right),
        ("11", down, right),
    ]
    return _float_sum([product32(product32(corner[key], a), b) for key, a, b in shares])


def _mix_optimised(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """Each corner times the product of its shares. Source: ResizeBilinearGenericSmallChannel
    (tensorflow/lite/kernels/internal/optimized/resize_bilinear.h, v2.14.0).
    """
    one = np.float32(1)
    shares = [
        ("00", one - down, one - right),
        ("01", one - down, right),
        ("10", down, one - right),
        ("11", down, right),
    ]
    return _float_sum([product32(corner[key], a * b) for key, a, b in shares])


def _mix_neon(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """As `_mix_optimised`, in the order and with the fused sums of the compiler for aarch64."""
    one = np.float32(1)
    total = product32(corner["01"], (one - down) * right)
    total = fused32(corner["00"], (one - down) * (one - right), total) + np.float32(0.5)
    total = fused32(corner["10"], down * (one - right), total)
    return tf.cast(fused32(corner["11"], down * right, total), tf.int32)


def _mix_neon_reference(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """As `_mix_reference`, factored and with the fused sums of the compiler for aarch64."""

    def between(a: Any, b: Any, share: Any) -> Any:
        return fused32(a, np.float32(1) - share, product32(b, share))

    left, far = (between(corner[f"0{k}"], corner[f"1{k}"], down) for k in (0, 1))
    return tf.cast(between(left, far, right) + np.float32(0.5), tf.int32)


def _float_sum(parts: list[Any]) -> Any:
    return tf.cast(reduce(sum32, [*parts, np.float32(0.5)]), tf.int32)


def _xnnpack_places(extent: int, size: int, corners: bool, half: bool) -> Places:
    """In 2048ths. Source: xnn_indirection_init_resize_bilinear2d_hwc_q11 (XNNPACK src/indirection.c)."""
    moved = int(corners and size > 1)
    scale = np.float32(extent - moved) / np.float32(size - moved)
    place = np.arange(size, dtype=np.float32) * scale
    if half:
        place = np.clip(place + (np.float32(0.5) * scale - np.float32(0.5)), 0, extent - 1).astype(np.float32)
    low = place.astype(np.int32)
    share = np.rint((place - low.astype(np.float32)) * np.float32(2048)).astype(np.int32)
    return low, np.minimum(low + 1, extent - 1).astype(np.int32), share


def _mix_xnnpack(corner: Mapping[str, Any], down: Any, right: Any) -> Any:
    """Halves up. Source: xnn_s8_ibilinear_ukernel__scalar_c1 (XNNPACK src/s8-ibilinear/gen/scalar-c1.c)."""
    c = {key: tf.cast(value, tf.int32) for key, value in corner.items()}
    top = c["00"] * 2048 + (c["01"] - c["00"]) * right
    bottom = c["10"] * 2048 + (c["11"] - c["10"]) * right
    return tf.bitwise.right_shift(top * 2048 + (bottom - top) * down + (1 << 21), 22)
