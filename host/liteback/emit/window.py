"""Windows that slide over an image: the padding that SAME means, and what stands where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

Pads = list[tuple[Any, Any]]  # of each spatial axis: how many zeros before, how many after


def same_padding(
    extents: Sequence[Any], size: Sequence[int], strides: Sequence[int], dilation: Sequence[int] | None = None
) -> Pads | None:
    """The padding for which a window of `strides` gives ceil(extent / stride) results.

    total = max((ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0), the smaller half before. extents: numbers, or scalar
    tensors. None where an extent is None.
    Source: ComputePaddingHeightWidth (tensorflow/lite/kernels/padding.h, v2.14.0).
    """
    pads: Pads = []
    for n, k, s, d in zip(extents, size, strides, dilation or [1] * len(size), strict=True):
        if n is None:
            return None
        total = (-(-n // s) - 1) * s + (k - 1) * d + 1 - n
        total = max(total, 0) if isinstance(total, int) else tf.maximum(total, 0)
        pads.append((total // 2, total - total // 2))
    return pads


def explicit(x: Any, pads: Pads | None) -> Any:
    """x (N, ..., C) with zeros around it, by a stock layer; NotImplemented where it is not known how many."""
    if pads is None:
        return NotImplemented
    layer = {2: keras.layers.ZeroPadding2D, 3: keras.layers.ZeroPadding3D}[len(pads)]
    return layer(tuple(pads))(x)


def crop(y: Any, start: Sequence[Any], extents: Sequence[Any]) -> Any:
    """From y (N, ..., C) the box of `extents` that begins at `start`; zeros where it reaches beyond y."""
    shape = tf.unstack(tf.shape(y))
    beyond = [tf.maximum(a + n - m, 0) for a, n, m in zip(start, extents, shape[1:-1], strict=True)]
    y = tf.pad(y, [(0, 0), *((0, b) for b in beyond), (0, 0)])
    return y[(slice(None), *(slice(a, a + n) for a, n in zip(start, extents, strict=True)))]
