"""Subgraphs: branches, loops, calls."""

from liteback.emit.registry import emits


@emits("IF")
def if_(condition, *values, then_subgraph_index, else_subgraph_index, subgraphs):
    """One of two subgraphs, run on `values`."""
    return subgraphs.choose(condition, values, then_subgraph_index, else_subgraph_index)


@emits("STABLEHLO_CASE")
def case(index, *values, branch_subgraph_indices, subgraphs):
    """One of several subgraphs, run on `values`: the last, where there is none of that number."""
    return subgraphs.pick(index, values, branch_subgraph_indices)


@emits("WHILE")
def while_(*values, cond_subgraph_index, body_subgraph_index, subgraphs):
    """The body, run on its own results for as long as the condition holds. Keras' recurrent layers are recognized."""
    return subgraphs.loop(values, cond_subgraph_index, body_subgraph_index)


@emits("CALL")
def call(*values, subgraph, subgraphs):
    """A subgraph, run on `values`."""
    return subgraphs.inline(subgraph, values)


@emits("STABLEHLO_COMPOSITE")
def composite(*values, decomposition_subgraph_index, subgraphs):
    """The subgraph that says what the composite computes."""
    return subgraphs.inline(decomposition_subgraph_index, values)


@emits("CALL_ONCE")
def call_once():
    """Nothing: what the subgraph assigns are the variables' initial values."""
    return ()
