"""Sparse weights keep their zeros while they train.

A file that stores a constant sparse has no room for other elements: `export` can write back what it stores alone. A
pruned network is also fine-tuned that way (Zhu and Gupta, arXiv:1710.01878).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from liteback.emit.weight import Joined, Weight
from liteback.ir import Graph


class KeepZeros(keras.constraints.Constraint):
    """After each step of an optimizer: 0 where `kept` is False."""

    def __init__(self, kept: NDArray[np.bool_]) -> None:
        self.kept = kept

    def __call__(self, w: Any) -> Any:
        return keras.ops.where(self.kept, w, keras.ops.zeros_like(w))


def keep_zeros(layer: Any, weights: Sequence[Weight | Joined], graphs: Sequence[Graph]) -> None:
    """Let the variables of a layer that the file stores sparse train only where they are not zero.

    The constraint is the variable's, not in the layer's configuration: the saved model loads without liteback.
    """
    for variable, weight in zip(layer.weights, weights, strict=True):
        if all(graphs[part.graph].tensors[part.tensor].is_sparse for part in weight.parts):
            variable.constraint = KeepZeros(np.asarray(variable) != 0)
