"""Nodes that have the same constants are one layer, called several times.

A layer that a model applies to several tensors (a detector's head) has one kernel in the file, but its quantized bias
once for each scale of its input. Such biases are one variable too, where they are the same number up to their rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from liteback.emit.weight import Joined, Weight

Weights = Sequence[Weight | Joined]


@dataclass
class SharedLayers:
    """The layers that were built, each with what it was built of."""

    built: dict[Any, list[tuple[Any, Weights]]] = field(default_factory=dict)

    def find(self, kind: Any, weights: Weights) -> tuple[Any, Weights]:
        """The layer of a kind that has these weights, and those it was built of; (None, ()) if there is none."""
        for layer, own in self.built.get((kind, weights[0].key), ()) if weights else ():
            if len(own) == len(weights) and all(map(equal, own, weights)):
                return layer, own
        return None, ()

    def add(self, kind: Any, weights: Weights, layer: Any) -> None:
        self.built.setdefault((kind, weights[0].key), []).append((layer, weights))


def equal(one: Weight | Joined, other: Weight | Joined) -> bool:
    """Whether two weights are one constant, or codes of the same numbers in two scales: of an int32 bias."""
    if isinstance(one, Joined) or isinstance(other, Joined):
        return bool(one.key == other.key)
    if one.key == other.key and one.same_scale(other):
        return True
    if one.shape != other.shape or len(one.shape) != 1:
        return False
    a, b = one.quantization, other.quantization
    if a is None or b is None or one.stored.dtype.itemsize < 4 or other.stored.dtype.itemsize < 4:
        return False
    rounding = (a.scale + b.scale) / 2
    return bool(np.all(np.abs(one.value - other.value) <= rounding * np.float32(1.01)))
