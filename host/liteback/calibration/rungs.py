"""The ladder of corrections of a float layer, the simplest first: what each learns from samples, and its new weights.

With z what a layer computes before its activation from the device's own input x, and y the device's result, over the
elements in which the device's activation and range let y vary:

    channels   z_j := z_p(j)      the permutation p that correlates best, if it is not the identity
    bias       z_c := z_c + b_c   b_c = mean(y_c - z_c)
    affine     z_c := a_c z_c + b_c              least squares
    refit      W, b       least squares with a ridge towards W, for layers whose W is one matrix

Channels are the last axis. Kernels are in Keras' layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Weights = list[NDArray[np.float32]]  # kernel, bias
FEW = 8  # elements of a channel; fewer say nothing about it
RIDGE = 1e-4  # of the mean square of x: what the samples leave open stays as it is
ROWS = 4_000  # of a sample's patches that a refit looks at
TURNS = 40  # each leaves about the clipped share of the distance that was left
WIDEST = 4096  # inputs of an output that a refit takes on: the matrix is of their square


class Rung(Protocol):
    """One kind of correction of one layer."""

    def add(self, x: Floats, z: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        """Learn from a sample. x: the layer's input. z, y, inside: (elements, channels)."""

    def weights(self) -> Weights | None:
        """The layer's new weights; None where this kind of correction has nothing to say."""


class Channels:
    """Which of the layer's outputs looks most like which of the device's."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.n = 0
        self.sums: dict[str, Any] = dict.fromkeys(("z", "y", "zz", "yy", "zy"), 0.0)

    def add(self, x: Floats, z: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        """y has been through the activation, so z goes through it too."""
        z = np.asarray(self.layer.activation(tf.constant(z)))
        self.n += len(z)
        for name, value in (("z", z.sum(0)), ("y", y.sum(0)), ("zz", (z * z).sum(0)), ("yy", (y * y).sum(0))):
            self.sums[name] = self.sums[name] + value
        self.sums["zy"] = self.sums["zy"] + z.T @ y

    def weights(self) -> Weights | None:
        if isinstance(self.layer, keras.layers.DepthwiseConv2D):
            return None  # an output has an input of its own: to permute outputs mends nothing
        mean = {k: v / max(1, self.n) for k, v in self.sums.items()}
        spread_z, spread_y = (np.sqrt(np.maximum(mean[2 * k] - mean[k] ** 2, 0)) for k in "zy")
        alive = np.outer(spread_z, spread_y) > 0
        covariance = mean["zy"] - np.outer(mean["z"], mean["y"])
        likeness = np.divide(covariance, np.outer(spread_z, spread_y), out=np.zeros_like(covariance), where=alive)
        own = np.arange(len(likeness))
        best = np.where(alive.any(0) & (likeness.max(0) > likeness.diagonal() + 1e-6), likeness.argmax(0), own)
        if (best == own).all() or len(set(best.tolist())) < len(best):
            return None
        kernel, bias = _weights(self.layer)
        return [_by_output(self.layer, kernel, lambda k: k[..., best]), bias[best]]


class Bias:
    """What is missing on average."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.n: Any = 0
        self.missing: Any = 0.0

    def add(self, x: Floats, z: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        self.n = self.n + inside.sum(0)
        self.missing = self.missing + np.where(inside, y - z, 0).sum(0)

    def weights(self) -> Weights | None:
        kernel, bias = _weights(self.layer)
        step = np.where(self.n >= FEW, self.missing / np.maximum(self.n, 1), 0)
        return [kernel, (bias + step).astype(np.float32)]


class Affine:
    """A scale and an offset for each channel."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.sums: dict[str, Any] = dict.fromkeys(("n", "z", "y", "zz", "zy"), 0.0)

    def add(self, x: Floats, z: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        terms = {"n": np.ones_like(z), "z": z, "y": y, "zz": z * z, "zy": z * y}
        for name, term in terms.items():
            self.sums[name] = self.sums[name] + np.where(inside, term, 0).sum(0)

    def weights(self) -> Weights | None:
        n, z, y, zz, zy = (self.sums[k] for k in ("n", "z", "y", "zz", "zy"))
        spread = n * zz - z * z
        known = (n >= FEW) & (spread > 1e-9 * np.maximum(n * zz, 1e-30))
        a = np.where(known, (n * zy - z * y) / np.where(known, spread, 1), 1.0)
        b = np.where(n >= FEW, (y - a * z) / np.maximum(n, 1), 0.0)
        kernel, bias = _weights(self.layer)
        scaled = _by_output(self.layer, kernel, lambda k: (k * a).astype(np.float32))
        return [scaled, (a * bias + b).astype(np.float32)]


class Refit:
    """All weights anew: a least squares fit in which a clipped result only says that the sum lies beyond.

    The squares of |y - (W x + b)| inside the range, and of what lies inside where the device was clipped: convex, and
    minimised by turns, the sums beyond the range standing for the results that were clipped.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.seen: list[tuple[Floats, Floats, NDArray[np.bool_]]] = []
        self.random = np.random.default_rng(0)

    def add(self, x: Floats, z: Floats, y: Floats, inside: NDArray[np.bool_]) -> None:
        rows = self._patches(x)
        if rows is not None:
            chosen = self.random.permutation(len(rows))[:ROWS]
            self.seen.append((rows[chosen], y[chosen], inside[chosen]))

    def weights(self) -> Weights | None:
        if not self.seen:
            return None
        kernel, bias = _weights(self.layer)
        rows, y, inside = (np.concatenate(part) for part in zip(*self.seen, strict=True))
        rows = np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], 1)
        before = np.concatenate([kernel.reshape(-1, kernel.shape[-1]), bias[None]]).astype(np.float64)
        square = (rows.T @ rows).astype(np.float64)
        ridge = RIDGE * np.trace(square) / len(square)
        inverse = np.linalg.inv(square + ridge * np.eye(len(square)))
        upper, after = ~inside & (y > np.median(y)), before
        for _ in range(TURNS):
            z = rows @ after.astype(np.float32)
            wanted = np.where(inside, y, np.where(upper, np.maximum(z, y), np.minimum(z, y))).astype(np.float32)
            after = inverse @ (rows.T @ wanted + ridge * before)
        return [after[:-1].reshape(kernel.shape).astype(np.float32), after[-1].astype(np.float32)]

    def _patches(self, x: Floats) -> Floats | None:
        """x as rows of what one output element sees; None for layers that are not one matrix."""
        layer = self.layer
        if isinstance(layer, keras.layers.Dense):
            rows = x.reshape(-1, x.shape[-1])
        elif type(layer) is keras.layers.Conv2D and layer.groups == 1 and layer.data_format == "channels_last":
            size, strides, rates = ((1, *pair, 1) for pair in (layer.kernel_size, layer.strides, layer.dilation_rate))
            patches = tf.image.extract_patches(tf.constant(x), size, strides, rates, layer.padding.upper())
            rows = np.asarray(patches).reshape(-1, patches.shape[-1])
        else:
            return None
        return rows.astype(np.float32) if rows.shape[-1] <= WIDEST else None


RUNGS: Mapping[str, Callable[[Any], Rung]] = {
    "channels": Channels,
    "bias": Bias,
    "affine": Affine,
    "refit": Refit,
}


def _weights(layer: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    kernel, bias = layer.get_weights()
    return kernel, bias


def _by_output(layer: Any, kernel: NDArray[Any], change: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Change a kernel with its output channels on the last axis."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):  # (kh, kw, inputs, multiplier): outputs are both of the last
        return change(kernel.reshape(*kernel.shape[:2], -1)).reshape(kernel.shape)
    if isinstance(layer, keras.layers.Conv2DTranspose):  # (kh, kw, outputs, inputs)
        return change(kernel.swapaxes(2, 3)).swapaxes(2, 3)
    return change(kernel)
