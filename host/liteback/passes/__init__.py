"""Graph -> Graph rewrites, each in a file of its own with what it is given and what it results in."""

from __future__ import annotations

from collections.abc import Sequence

from liteback.ir import Graph
from liteback.passes.bare_zeros import bare_zeros
from liteback.passes.bias_scale import bias_scale
from liteback.passes.constant_arguments import constant_arguments
from liteback.passes.flat_bias import flat_bias
from liteback.passes.fold_dequantize import fold_dequantize
from liteback.passes.fold_rounding import fold_rounding
from liteback.passes.hidden_state import hidden_state
from liteback.passes.idle_state import idle_state
from liteback.passes.recover_activations import recover_activations
from liteback.passes.settled_variables import settled_variables
from liteback.passes.shared_zeros import shared_zeros
from liteback.passes.signed_weights import signed_weights
from liteback.passes.tensor_lists import tensor_lists
from liteback.passes.turned_constants import turned_constants

# The order matters where a comment says so.
PASSES = (
    bare_zeros,
    signed_weights,
    flat_bias,  # bias_scale knows those of one axis
    bias_scale,
    fold_rounding,
    fold_dequantize,
    turned_constants,  # of float16, too, once they are folded
    shared_zeros,  # likewise
    recover_activations,
    hidden_state,
)
# Codes saturate by themselves, so no activation is read from their range; they do not train; and which type a file
# gives its weights decides which kernel takes them.
OF_REAL_VALUES = frozenset({recover_activations, shared_zeros, signed_weights, turned_constants})


def simplify_all(graphs: Sequence[Graph], codes: bool = False, served: Sequence[int] = (0,)) -> tuple[Graph, ...]:
    """`simplify` all graphs of a file, and show what goes from one into another.

    served: the graphs that are run, and share their variables.
    """
    shown = constant_arguments(settled_variables(idle_state(tensor_lists(graphs)), served))
    return tuple(simplify(graph, codes) for graph in shown)


def simplify(graph: Graph, codes: bool = False) -> Graph:
    """Run every pass, in order.

    codes: the model is to compute on codes.
    """
    for rewrite in PASSES:
        if not (codes and rewrite in OF_REAL_VALUES):
            graph = rewrite(graph)
    return graph
