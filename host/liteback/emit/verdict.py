"""What stands in the way of reconstructing a graph. Needs no TensorFlow, so that `inspect` answers at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ai_edge_litert import schema_py_generated as schema

from liteback.emit.carried import PREFIX, obstacle
from liteback.emit.gaps import CUSTOM_OPS, GAPS
from liteback.errors import Problem
from liteback.ir import ABSENT, CODE_RANGE, Graph, Node
from liteback.numerics.operator import MOVING
from liteback.passes.settled_variables import Name, variable_names

# The schema's fused activations -> Keras' names. Kernels clamp, and ignore any other activation
# (CalculateActivationRange, tensorflow/lite/kernels/kernel_util.h, v2.14.0).
CLAMPS = {"RELU": "relu", "RELU6": "relu6", "RELU_N1_TO_1": "hard_tanh"}
# Recurrent kernels compute theirs, one of which Keras has no counterpart of: hybrid_recurrent.sign_bit.
ACTIVATIONS = {**CLAMPS, "TANH": "tanh", "SIGN_BIT": "sign_bit"}
PER_CHANNEL = "it is computed at run time and has a scale for each channel, of which the kernel reads none"
# (operator, input) whose kernel reads a scale for each channel.
WEIGHTS = {(op, 1) for op in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")}

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
        elif not node.op.startswith("CUSTOM:"):
            found += [Problem(node.op, graph.label(t), PER_CHANNEL) for t in _misread(node, graph)]
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


def unassigned(used: Sequence[Graph], graphs: Sequence[Graph]) -> list[Problem]:
    """The variables that graphs of a file read and no graph of it assigns: what they are to hold is not in the file.

    A runtime gives what is in its memory, which nobody wrote.
    """
    assigned = {name for graph in graphs for name, _ in _uses(graph, "ASSIGN_VARIABLE")}
    if None in assigned:  # one that it was handed
        return []
    why = "the file never assigns the variable {!r}: its values are not in it"
    return [
        Problem("READ_VARIABLE", graph.label(node.outputs[0]), why.format("/".join(filter(None, name))))
        for graph in used
        for name, node in _uses(graph, "READ_VARIABLE")
        if name is not None and name not in assigned
    ]


def _uses(graph: Graph, op: str) -> Iterator[tuple[Name | None, Node]]:
    """The nodes of an operator on a variable, each with its name; None for one that another graph made."""
    names = variable_names(graph)
    return ((names.get(node.inputs[0]), node) for node in graph.nodes if node.op == op)


def _misread(node: Node, graph: Graph) -> list[int]:
    """The tensors of which a kernel wants one scale, and that have one for each channel.

    The runtime then says that it is 0 (GetLegacyQuantization in lite/core/subgraph.cc, v2.21.0).
    """
    if node.op == "DEQUANTIZE" or (
        node.op == "QUANTIZE" and not any(graph.tensors[t].is_quantized for t in node.inputs[:1])
    ):
        return []
    reads = [t for i, t in enumerate(node.inputs) if t != ABSENT and (node.op, i) not in WEIGHTS]
    coded = [t for t in map(graph.tensors.__getitem__, (*reads, *node.outputs)) if t.dtype in CODE_RANGE]
    grids = {t.index: t.quantization for t in coded if t.quantization is not None and t.data is None}
    if node.op in MOVING and len({(q.scale.tobytes(), q.zero_point.tobytes()) for q in grids.values()}) == 1:
        return []
    return [t for t, q in grids.items() if q.per_channel]


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
