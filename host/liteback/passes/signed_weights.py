"""Read a hybrid operator's uint8 weights as its kernel does: their bytes are int8 codes.

Given:    %y = FULLY_CONNECTED(%x float32, %w uint8 constant, zero_point any)
Result:   %y = FULLY_CONNECTED(%x float32, %w int8 constant of the same bytes, zero_point 0)

The first converters that quantized weights alone wrote symmetric int8 codes under the type uint8. The kernels take
either type for int8 and have no use for the zero point (EvalHybrid in tensorflow/lite/kernels/fully_connected.cc and
conv.cc, v2.14.0).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from liteback.ir import ABSENT, Graph, Node, Tensor

HYBRID_OPS = frozenset({"CONV_2D", "FULLY_CONNECTED", "LSTM", "RNN", "SVDF"}) | {
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}


def signed_weights(graph: Graph) -> Graph:
    tensors = list(graph.tensors)
    for node in graph.nodes:
        for index in _weights(node, tensors):
            tensors[index] = _signed(tensors[index])
    return replace(graph, tensors=tuple(tensors))


def _weights(node: Node, tensors: list[Tensor]) -> list[int]:
    """The uint8 constants of a hybrid operator."""
    given = [i for i in node.inputs if i != ABSENT]
    if node.op not in HYBRID_OPS or not given or tensors[given[0]].dtype != "float32":
        return []
    return [i for i in given[1:] if tensors[i].dtype == "uint8" and tensors[i].is_quantized and tensors[i].is_constant]


def _signed(tensor: Tensor) -> Tensor:
    if tensor.data is None or tensor.quantization is None:
        return tensor
    symmetric = replace(tensor.quantization, zero_point=np.zeros_like(tensor.quantization.zero_point))
    return replace(tensor, dtype="int8", data=tensor.data.view(np.int8), quantization=symmetric)
