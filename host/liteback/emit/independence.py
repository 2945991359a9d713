"""Whether what a model computes of a sample depends on that sample alone.

Of most operators that is known; where others work on a batch that the file does not have, it is tried.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from liteback.emit.batch import UnknownBatch
from liteback.emit.emission import Emission, places
from liteback.ir import Graph, Node
from liteback.passes.per_sample import AXES, AXIS, BROADCASTING, ENTRIES, works_on_first_axis

SAMPLES = 2
LARGE = 1 << 28  # bytes of a sample's tensors: more are not tried
TOLERANCE = 1e-3  # of a tensor's range: kernels sum in another order where there are more samples
MOST = 0.95  # of a tensor's elements: behind an argmax, or a rounding, single ones differ

# What does the same with every element, or with every sample of each of its inputs; what is laid out in place; and
# loops, which are recurrent layers or have the file's batch.
EACH = BROADCASTING | frozenset(
    {"ABS", "ADD_N", "CALL", "CAST", "CEIL", "CONCATENATION", "COS", "DEQUANTIZE", "ELU", "EXP", "FAKE_QUANT", "FLOOR"}
    | {"GELU", "HARD_SWISH", "LEAKY_RELU", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "PACK", "QUANTIZE", "RELU", "RELU6"}
    | {"RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN", "SIN", "SQRT", "SQUARE", "STABLEHLO_COMPOSITE", "TANH"}
    | {"WHILE", "ZEROS_LIKE"}
)
# The same, as long as all but one of their inputs are constants.
EACH_BESIDE_CONSTANTS = frozenset(
    {"AVERAGE_POOL_2D", "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "BROADCAST_TO", "CONV_2D"}
    | {"CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "EMBEDDING_LOOKUP", "EXPAND_DIMS"}
    | {"FULLY_CONNECTED", "L2_NORMALIZATION", "L2_POOL_2D", "LOCAL_RESPONSE_NORMALIZATION", "LOG_SOFTMAX", "ONE_HOT"}
    | {"MAX_POOL_2D", "PRELU", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SPACE_TO_DEPTH"}
    | {"SQUEEZE", "SVDF", "TOPK_V2", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"}
    | {*AXES, *AXIS, *ENTRIES}
)


def is_known(graphs: Iterable[Graph], steps: Container[int] = ()) -> bool:
    """Whether every operator is known to leave samples apart that stand along the first axis of its inputs.

    steps: tensors of the first graph that have time there, which its recurrent layers have seen to.
    """
    for graph in graphs:
        varies = set(graph.inputs)
        for node in graph.nodes:
            moving = [i for i, t in enumerate(node.inputs) if t in varies]
            if not moving or node.op in ("SHAPE", "RANK"):
                continue
            varies.update(node.outputs)
            if node.inputs[moving[0]] not in steps and not _keeps_apart(node, graph, moving):
                return False
        steps = ()
    return True


def _keeps_apart(node: Node, graph: Graph, moving: list[int]) -> bool:
    known = node.op in EACH or (node.op in EACH_BESIDE_CONSTANTS and len(moving) == 1)
    return known and _takes_all(node, graph) and not works_on_first_axis(node, graph, moving)


def _takes_all(node: Node, graph: Graph) -> bool:
    """Whether a slice is of all samples, not of the one that the file has."""
    if node.op == "STRIDED_SLICE":
        return bool((node.options["begin_mask"] & node.options["end_mask"] | node.options["ellipsis_mask"]) & 1)
    size = graph.tensors[node.inputs[2]].data if node.op == "SLICE" else np.array(-1)
    return size is not None and bool(np.ravel(size)[0] == -1)


def check_independent(emission: Emission, steps: Container[int] = ()) -> None:
    """Run samples together and one by one, and compare every tensor of the file. steps: as `is_known` takes them.

    Raises:
        UnknownBatch: one of them is another for a sample that is alone, or it cannot be tried: they are too large, or
            have extents that are not known.
    """
    model, graph, rng = emission.model, emission.graph, np.random.default_rng(0)
    if sum(graph.tensors[t].nbytes for t in emission.values) > LARGE or any(None in x.shape[1:] for x in model.inputs):
        raise UnknownBatch
    probe = keras.Model(model.inputs, list(places(model, emission.values).values()))
    samples = [_random(x, graph.tensors[t].is_quantized, rng) for x, t in zip(model.inputs, graph.inputs, strict=True)]
    together = probe(samples)
    alone = [probe([x[k : k + 1] for x in samples]) for k in range(SAMPLES)]
    for k, (tensor, place) in enumerate(emission.values.items()):
        axis = 1 if tensor in steps and not place.time_first else 0
        if not _agree(np.asarray(together[k]), np.concatenate([np.asarray(a[k]) for a in alone], axis)):
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
