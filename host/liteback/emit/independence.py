"""Whether what a model computes of a sample depends on that sample alone. It is tried: no rule knows all operators."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from .batch import UnknownBatch
from .emission import Emission, places

SAMPLES = 2
LARGE = 1 << 28  # bytes of a sample's tensors: more are not tried
TOLERANCE = 1e-3  # of a tensor's range: kernels sum in another order where there are more samples
MOST = 0.95  # of a tensor's elements: behind an argmax, or a rounding, single ones differ


def check_independent(emission: Emission) -> None:
    """Run samples together and one by one, and compare every tensor of the file.

    Raises:
        UnknownBatch: one of them is another for a sample that is alone, or they are too large to try.
    """
    model, graph, rng = emission.model, emission.graph, np.random.default_rng(0)
    if sum(graph.tensors[t].nbytes for t in emission.values) > LARGE:
        raise UnknownBatch
    probe = keras.Model(model.inputs, list(places(model, emission.values).values()))
    samples = [_random(x, graph.tensors[t].is_quantized, rng) for x, t in zip(model.inputs, graph.inputs, strict=True)]
    together = probe(samples)
    alone = [probe([x[k : k + 1] for x in samples]) for k in range(SAMPLES)]
    for k, value in enumerate(together):
        if not _agree(np.asarray(value), np.concatenate([np.asarray(a[k]) for a in alone])):
            raise UnknownBatch


def _random(x: Any, codes: bool, rng: np.random.Generator) -> NDArray[Any]:
    dtype, shape = np.dtype(x.dtype), (SAMPLES, *x.shape[1:])
    if dtype.kind not in "iu":
        return rng.normal(size=shape).astype(dtype)
    limits = np.iinfo(dtype)
    # What is no code is most likely an index, for which 0 and 1 are in any table.
    return rng.integers(*((limits.min, limits.max) if codes else (0, 2)), shape, dtype)


def _agree(together: NDArray[Any], alone: NDArray[Any]) -> bool:
    if together.shape != alone.shape:
        return False
    if together.dtype.kind in "fc":
        span = np.ptp(np.abs(alone[np.isfinite(alone)])) if np.isfinite(alone).any() else 0
        same = np.isclose(together, alone, rtol=TOLERANCE, atol=TOLERANCE * span, equal_nan=True)
    else:
        same = together == alone
    return bool(same.size == 0 or np.mean(same) >= MOST)
