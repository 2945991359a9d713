"""Random inputs: good for arithmetic, no claim about accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.errors import UsageError
from liteback.inputs.samples import Inputs
from liteback.ir import ABSENT, CODE_RANGE, Graph, Node, Tensor, numpy_dtype
from liteback.numerics.affine import dequantize
from liteback.words import counted

RANDOM = "RANDOM numbers, "  # so begins what a recording, and its report, says of such inputs
CLIP = 3.0  # standard deviations; what lies beyond drives a network where no data ever did

# Operators whose output holds the values of their inputs, in another place, shape or type.
_MOVES = (
    *("CAST", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE"),
    *("SLICE", "STRIDED_SLICE", "PACK", "UNPACK"),
)
_CHOICES = ("SELECT", "SELECT_V2")  # "a negative index counts from the end" comes as one of these

# (operator, position of the indices) -> position of what they are looked up in; of ONE_HOT, the depth.
_TABLES = {("EMBEDDING_LOOKUP", 0): 1, ("GATHER", 1): 0, ("GATHER_ND", 1): 0, ("ONE_HOT", 0): 1}


def random_inputs(graph: Graph, count: int, seed: int = 0) -> Inputs:
    """`count` random samples. Sample i depends on `seed` and i alone.

    Indices into a table whose size the graph shows stay inside it. Float tensors that the graph quantizes are
    uniform over the quantized range; others are standard normal, clipped at CLIP. Narrow integers take every
    code; int32 and int64 take 0 or 1, which are valid as a size, an index and a flag alike. An extent that may vary
    is 1, or what the file writes down for it.

    Raises: UsageError when `count` is not positive or `seed` is negative.
    """
    if count < 1 or seed < 0:
        raise UsageError(
            "Random inputs take a positive number of samples and a seed from 0. "
            f"Received: {counted(count, 'sample')}, seed {seed}."
        )
    bounds = {index: index_bound(graph, index) for index in graph.inputs}

    def load(sample: int) -> dict[int, NDArray[Any]]:
        rng = np.random.default_rng((seed, sample))
        return {index: _values(rng, graph, graph.tensors[index], bounds[index]) for index in graph.inputs}

    varying = [graph.tensors[i].shape for i in graph.inputs if -1 in graph.tensors[i].shape_signature[1:]]
    shapes = f", shapes {[list(s) for s in varying]} where any would do" if varying else ""
    return Inputs(f"{RANDOM}{counted(count, 'sample')}, seed {seed}{shapes}", count, load)


def _values(rng: np.random.Generator, graph: Graph, tensor: Tensor, bound: int) -> NDArray[Any]:
    shape, dtype = tensor.shape, numpy_dtype(tensor.dtype)
    if tensor.dtype == "string":
        letters = rng.integers(ord("a"), ord("z") + 1, (int(np.prod(shape)), 4), np.uint8)
        words = np.empty(len(letters), dtype=object)
        words[:] = [row.tobytes() for row in letters]
        return words.reshape(shape)
    if bound:
        return np.asarray(rng.integers(0, bound, shape)).astype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        low, high = CODE_RANGE.get(tensor.dtype, (0, 1))
        return rng.integers(low, high, shape, np.int64, endpoint=True).astype(dtype)
    limits = _quantized_range(graph, tensor.index)
    if limits:
        return rng.uniform(*limits, shape).astype(dtype)
    if dtype.kind == "c":
        return np.asarray(_normal(rng, shape) + 1j * _normal(rng, shape)).astype(dtype)
    return _normal(rng, shape).astype(dtype)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
    return np.asarray(np.clip(rng.standard_normal(shape), -CLIP, CLIP))


def index_bound(graph: Graph, index: int) -> int:
    """Rows of the smallest table that a tensor's values are looked up in; 0 where the graph shows none."""
    consumers = graph.consumers()
    reached, found = [index], []
    for tensor in reached:
        for node in consumers.get(tensor, ()):
            found.append(_rows(graph, node, tensor))
            if node.op in _MOVES or (node.op in _CHOICES and node.inputs[0] != tensor):
                reached.extend(t for t in node.outputs if t not in reached)
    return min((rows for rows in found if rows > 0), default=0)


def _rows(graph: Graph, node: Node, tensor: int) -> int:
    """Size of the table that `node` looks `tensor` up in; 0 where it does not."""
    position = _TABLES.get((node.op, node.inputs.index(tensor)), len(node.inputs))
    if position >= len(node.inputs) or node.inputs[position] == ABSENT:
        return 0
    table = graph.tensors[node.inputs[position]]
    if node.op == "ONE_HOT":
        return int(table.data.reshape(-1)[0]) if table.data is not None and table.data.size else 0
    if node.op == "GATHER_ND":
        return min(table.shape[: (0, *graph.tensors[tensor].shape)[-1]], default=0)
    axis = int(node.options.get("axis", 0))
    return table.shape[axis] if -len(table.shape) <= axis < len(table.shape) else 0


def _quantized_range(graph: Graph, index: int) -> tuple[float, float] | None:
    """(lowest, highest) real number of the codes that a QUANTIZE makes of a tensor."""
    for node in graph.consumers().get(index, ()):
        out = graph.tensors[node.outputs[0]] if node.outputs and node.outputs[0] != ABSENT else None
        if node.op == "QUANTIZE" and out and out.quantization and out.dtype in CODE_RANGE:
            low, high = dequantize(np.array(CODE_RANGE[out.dtype]), out.quantization)
            return float(low), float(high)
    return None
