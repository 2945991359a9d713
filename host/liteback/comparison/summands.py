"""The largest number in what a float result is a sum of.

A sum is rounded by steps of its largest summand, whatever is left of it: little, where summands cancel, or where an
activation cuts the sum off.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import ABSENT, Graph, Node
from liteback.passes.fold_dequantize import fold_dequantize, held

ADDS = frozenset({"MEAN", "SUM"})
# Where operators that add products have what they multiply, and their bias.
MULTIPLIES: Mapping[str, tuple[int, int, int]] = {
    **dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL"), (0, 1, 2)),
    **dict.fromkeys(("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"), (2, 1, 3)),
}
BY_CHANNEL = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"})  # the last axis of both


class Summands:
    """What the float tensors of a graph are sums of: its constants, and what a board recorded."""

    def __init__(self, graph: Graph) -> None:
        self.graph = fold_dequantize(graph)
        self.producers = self.graph.producers()
        self.constants: dict[int, NDArray[np.float64]] = {}

    def largest(self, tensor: int, device: Mapping[int, NDArray[Any]]) -> float:
        """The largest magnitude of what a float tensor is the sum of, as far as `device` shows it; else 0."""
        node = self.producers.get(tensor)
        if node is None or self.graph.tensors[tensor].is_quantized:
            return 0.0
        if node.op in ADDS:
            return float(self._magnitudes(node, 0, device).max(initial=0))
        if node.op not in MULTIPLIES:
            return 0.0
        x, weight, bias = (self._magnitudes(node, place, device) for place in MULTIPLIES[node.op])
        filters = weight.size // max(1, x.size) if node.op == "DEPTHWISE_CONV_2D" else 1  # for each channel of x
        if node.op in BY_CHANNEL and weight.size == filters * x.size:  # not in groups, and not flattened before
            x = np.repeat(x, filters)
        else:
            x = x.max(initial=0, keepdims=True)
        return float(max((x * weight).max(initial=0), bias.max(initial=0)))

    def _magnitudes(self, node: Node, place: int, device: Mapping[int, NDArray[Any]]) -> NDArray[np.float64]:
        """The largest in each channel of an input: its last axis. None, where that is not there or not float."""
        index = node.inputs[place] if place < len(node.inputs) else ABSENT
        if index in device:
            return _largest(device[index])
        if index not in self.constants:
            self.constants[index] = _largest(None if index == ABSENT else held(self.graph, self.graph.tensors[index]))
        return self.constants[index]


def _largest(values: NDArray[Any] | None) -> NDArray[np.float64]:
    if values is None or values.dtype.kind != "f" or not values.size:
        return np.empty(0)
    rows = np.abs(values.reshape(-1, values.shape[-1] if values.ndim else 1))
    largest: NDArray[np.float64] = np.max(rows, axis=0, where=np.isfinite(rows), initial=0).astype(np.float64)
    return largest
