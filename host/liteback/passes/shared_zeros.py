"""Take zeros that are a bias in several places for what they stand for: no bias.

Given:    %y = CONV_2D(%x, %v, %zeros) ;  %z = CONV_2D(%y, %w, %zeros)
Result:   %y = CONV_2D(%x, %v) ;          %z = CONV_2D(%y, %w)

A converter writes zeros for a layer that has no bias, and keeps equal constants once; the gates of an LSTM are such
places, too. Layers, or gates, that had a variable each would train the one constant into different directions, and it
could not go back into the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from liteback.ir import ABSENT, Graph, Node
from liteback.passes.bias_scale import POSITIONS
from liteback.passes.fold_dequantize import held

GATES = range(12, 16)
# The biases of an operator, each with the inputs that it consists of: a layer has it whole or not at all.
BIASES: Mapping[str, Sequence[Sequence[int]]] = {
    **{op: ((bias,),) for op, (_, _, bias) in POSITIONS.items()},
    "CONV_3D": ((2,),),
    "CONV_3D_TRANSPOSE": ((3,),),
    "LSTM": (GATES,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (GATES,),
    "BIDIRECTIONAL_SEQUENCE_LSTM": (GATES, range(29, 33)),
    "RNN": ((3,),),
    "UNIDIRECTIONAL_SEQUENCE_RNN": ((3,),),
    "BIDIRECTIONAL_SEQUENCE_RNN": ((3,), (7,)),
    "SVDF": ((3,),),
}


def shared_zeros(graph: Graph) -> Graph:
    biases = ((node, bias) for node in graph.nodes for bias in BIASES.get(node.op, ()))
    users = Counter(place for node, bias in biases for place in _zeros(node, bias, graph))
    return graph.replace_nodes(tuple(_bare(node, graph, users) for node in graph.nodes))


def _bare(node: Node, graph: Graph, users: Mapping[int | None, int]) -> Node:
    """A node without the biases that are zeros, some of them in several places."""
    for bias in BIASES.get(node.op, ()):
        places = _zeros(node, bias, graph)
        if None not in places and any(users[place] > 1 for place in places):
            inputs = (ABSENT if position in bias else t for position, t in enumerate(node.inputs))
            node = replace(node, inputs=tuple(inputs))
    return node


def _zeros(node: Node, bias: Sequence[int], graph: Graph) -> list[int | None]:
    """Where in memory each part of a bias is that is all zeros: tensors may share their bytes; None for another."""
    given = (node.inputs[p] for p in bias if p < len(node.inputs) and node.inputs[p] != ABSENT)
    return [_place(graph, t) for t in given]


def _place(graph: Graph, index: int) -> int | None:
    tensor = graph.tensors[index]
    values = held(graph, tensor)  # codes that are zero may stand for other numbers
    if tensor.data is None or values is None or not values.size or values.dtype.kind not in "fi" or values.any():
        return None
    return int(tensor.data.ctypes.data)
