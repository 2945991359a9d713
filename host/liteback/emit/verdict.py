"""What stands in the way of reconstructing a graph. Needs no TensorFlow, so that `inspect` answers at once."""

from __future__ import annotations

from collections.abc import Collection

from ai_edge_litert import schema_py_generated as schema

from ..errors import Problem
from ..ir import ABSENT, Graph, Node
from .carried import PREFIX, obstacle
from .gaps import CUSTOM_OPS, GAPS

# The schema's fused activations -> Keras' names. Kernels clamp, and ignore any other activation
# (CalculateActivationRange, tensorflow/lite/kernels/kernel_util.h, v2.14.0).
CLAMPS = {"RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "hard_tanh"}
# Recurrent kernels compute theirs, one of which Keras has no counterpart of: hybrid_recurrent.sign_bit.
ACTIVATIONS = {**CLAMPS, "TANH": "tanh", "SIGN_BIT": "sign_bit"}

# What liteback supports; a test holds this equal to what the registry has.
KNOWN_OPS = frozenset(name for name in vars(schema.BuiltinOperator) if name.isupper()) - GAPS.keys() | CUSTOM_OPS


def problems(graph: Graph, known: Collection[str] = KNOWN_OPS) -> list[Problem]:
    """Everything in a graph that cannot be reconstructed, in the order of its nodes."""
    found = []
    known_tensors = {t.index for t in graph.tensors if t.is_constant or t.is_variable} | set(graph.inputs)
    for node in graph.nodes:
        where = graph.label(node.outputs[0]) if node.outputs else ""
        why = _why(node) if node.op not in known else None
        if why is not None:
            found.append(Problem(node.op, where, why))
        found += [
            Problem(node.op, graph.label(t), "nothing before it computes this input, and it is no constant")
            for t in node.inputs
            if t != ABSENT and t not in known_tensors
        ]
        known_tensors.update(node.outputs)
    found += [
        Problem("output", graph.label(t), "nothing computes it, and it is no constant")
        for t in graph.outputs
        if t not in known_tensors
    ]
    return found


def _why(node: Node) -> str | None:
    """What stands in the way of an operator that has no emitter; None: nothing, TensorFlow computes it."""
    op = node.op
    if op == "CUSTOM:edgetpu-custom-op":
        return (
            "an Edge TPU program: the original operators are inside the compiled blob. "
            "Reconstruct the .tflite file that was given to edgetpu_compiler"
        )
    if op.startswith(PREFIX):
        return obstacle(node)
    if op.startswith("CUSTOM:"):
        return (
            "a custom operator whose arithmetic liteback does not know; docs/adding-an-op.md shows how to register it"
        )
    return GAPS.get(op, "not an operator of the schema that liteback reads")
