"""Which operators have an exact kernel, known without TensorFlow, so that `inspect` answers at once.

A test holds this equal to the registry, `operator.EXACT`.
"""

from __future__ import annotations

from liteback.errors import Problem
from liteback.ir import PACKED_BITS, Graph
from liteback.numerics.operator import Operator, is_moving, unread_scales

# Of real data and quantized weights, or from real values to codes.
HYBRID = frozenset(
    {
        "BATCH_MATMUL",
        "BIDIRECTIONAL_SEQUENCE_LSTM",
        "BIDIRECTIONAL_SEQUENCE_RNN",
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "FULLY_CONNECTED",
        "LSTM",
        "QUANTIZE",
        "RNN",
        "SVDF",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        "UNIDIRECTIONAL_SEQUENCE_RNN",
    }
)
ON_CODES = frozenset(
    {
        "ABS",
        "ADD",
        "AVERAGE_POOL_2D",
        "BATCH_MATMUL",
        "CAST",
        "CONCATENATION",
        "CONV_2D",
        "CUSTOM:TFLite_Detection_PostProcess",
        "DEPTHWISE_CONV_2D",
        "DEQUANTIZE",
        "DIV",
        "ELU",
        "EMBEDDING_LOOKUP",
        "EQUAL",
        "EXP",
        "FLOOR_DIV",
        "FLOOR_MOD",
        "FULLY_CONNECTED",
        "GELU",
        "GREATER",
        "GREATER_EQUAL",
        "HARD_SWISH",
        "L2_NORMALIZATION",
        "LEAKY_RELU",
        "LESS",
        "LESS_EQUAL",
        "LOG",
        "LOGISTIC",
        "LOG_SOFTMAX",
        "LSTM",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MUL",
        "NEG",
        "NOT_EQUAL",
        "PAD",
        "PADV2",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "REDUCE_PROD",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "RESIZE_BILINEAR",
        "RSQRT",
        "SOFTMAX",
        "SPACE_TO_BATCH_ND",
        "SQRT",
        "SQUARED_DIFFERENCE",
        "SUB",
        "SUM",
        "SVDF",
        "TANH",
        "TRANSPOSE_CONV",
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
    }
)


def uncovered(graph: Graph) -> list[Problem]:
    """The nodes on codes that no exact kernel computes."""
    found = []
    for node in graph.nodes:
        operator = Operator.of(node, graph)
        if not operator.on_codes or is_moving(operator):
            continue
        narrow = [d for t in node.outputs if (d := graph.tensors[t].dtype) in PACKED_BITS]  # kernels give whole bytes
        reason = unread_scales(operator)
        if narrow or node.op not in (HYBRID if "/float32" in operator.kind else ON_CODES):
            reason = f"no exact kernel for {'/'.join((operator.kind, *narrow))}"
        if reason:
            where = graph.label(node.outputs[0]) if node.outputs else ""
            found.append(Problem(node.op, where, reason))
    return found
