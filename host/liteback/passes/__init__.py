"""Graph -> Graph rewrites, each in a file of its own with what it is given and what it results in."""

from __future__ import annotations

from ..ir import Graph
from .bias_scale import bias_scale
from .fold_dequantize import fold_dequantize
from .hidden_state import hidden_state
from .recover_activations import recover_activations
from .signed_weights import signed_weights

# The order matters where a comment says so.
PASSES = (
    signed_weights,
    bias_scale,
    fold_dequantize,
    recover_activations,
    hidden_state,
)


def simplify(graph: Graph, codes: bool = False) -> Graph:
    """Run every pass, in order.

    codes: the model is to compute on codes, which saturate by themselves: no activation is read from their range.
    """
    for rewrite in PASSES:
        if not (codes and rewrite is recover_activations):
            graph = rewrite(graph)
    return graph
