"""Loops that are a recurrent layer of Keras.

Keras converts LSTM, GRU and SimpleRNN to a WHILE whose body takes one step. What a body computes is compared with what
the layers' cells do, term by term.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import permutations, product

from liteback.emit.recurrent_cells import GATES, KINDS, Cell
from liteback.ir import Graph, Node, Tensor
from liteback.terms import Terms

MOST_NODES = 200  # of a cell; Keras' have some forty
MOST_STATES = 3  # of a loop: h and c of an LSTM, and the last result where steps are masked


@dataclass(frozen=True)
class Recurrence:
    """A recurrent layer in a loop.

    x, mask, states, results: their places among the loop's values; held: that of the last result, where it stands in
    for those of the steps that are masked; without one, zeros do. x and results are (time, batch, features), a mask is
    (time, batch, 1); results hold one step where the layer gives its last alone, and are none where only its states are
    read.
    """

    cell: Cell
    x: int
    mask: int | None
    states: tuple[int, ...]
    results: int | None
    every_step: bool
    held: tuple[int, ...] = ()


def recurrence(graphs: Sequence[Graph], graph: Graph, node: Node) -> Recurrence | None:
    """What a WHILE is, if it is a recurrent layer that runs over all of a sequence."""
    with suppress(LookupError, TypeError, ValueError):  # of a damaged file, whose fault its emission tells
        return _recurrence(graphs, graph, node)
    return None


def _recurrence(graphs: Sequence[Graph], graph: Graph, node: Node) -> Recurrence | None:
    cond, body = (graphs[int(node.options[f"{which}_subgraph_index"])] for which in ("cond", "body"))
    same_values = len(cond.inputs) == len(body.inputs) == len(body.outputs) == len(node.inputs) == len(node.outputs)
    if not same_values or len(body.nodes) > MOST_NODES:
        return None
    loop, steps = Loop(Terms.of(body)), Terms.of(cond)
    shapes = [graph.tensors[t].shape for t in node.inputs]
    changing = [k for k in range(len(shapes)) if k not in (*loop.counters, *loop.fixed)]
    results = [k for k in changing if len(shapes[k]) == 3]
    states = [k for k in changing if k not in results]
    place = results[0] if results else None
    if len(results) > 1 or len(states) > MOST_STATES or not all(is_zero(graph, node.inputs[k]) for k in loop.counters):
        return None
    sequences = [(k, *rest) for k, *rest in loop.sequences() if len(shapes[k]) == 3]
    for x, index, step in sequences:
        lengths = [k for k in loop.fixed if _is_length(graph, node.inputs[k], node.inputs[x])]
        if not _runs_through(graph.tensors[node.inputs[x]], index, lengths, loop, steps):
            continue
        for mask, choice in [(None, None), *((k, term) for k, i, term in sequences if i == index and k != x)]:
            for held, own in _shares(states, mask is not None):
                for cell, result in loop.cells(step, own, choice, held):
                    every_step = place is not None and loop.stores(place, index, result)
                    found = Recurrence(cell, x, mask, own, place, every_step, held)
                    whole = every_step or place is None or loop.keeps(place, result)
                    if whole and all(is_zero(graph, node.inputs[k]) for k in held) and _fits(found, shapes, body):
                        return found
    return None


def _shares(places: Sequence[int], masked: bool) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """What values may be for: the last result, which only a masked layer may need, and the states."""
    for order in permutations(places):
        yield (), order
        if masked:
            yield order[:1], order[1:]


def is_zero(graph: Graph, tensor: int) -> bool:
    """Whether a tensor is known to be zeros, maybe for each sample of a batch."""
    made = graph.producers().get(tensor)
    if made is not None and made.op == "ZEROS_LIKE":
        return True
    data = graph.tensors[made.inputs[1] if made is not None and made.op == "FILL" else tensor].data
    return data is not None and not data.any()


def _fits(found: Recurrence, shapes: Sequence[tuple[int, ...]], body: Graph) -> bool:
    """Whether the extents are those of the layer: a term does not tell a matrix from its reshaping."""
    steps, batch, features = shapes[found.x]
    units, gates = found.cell.config["units"], GATES[found.cell.layer]
    kernel, recurrent = ([body.tensors[t].shape for t in ts] for ts in (found.cell.kernel, found.cell.recurrent))
    return (
        sum(rows for rows, _ in kernel) == sum(rows for rows, _ in recurrent) == gates * units
        and all(columns == features for _, columns in kernel)
        and (found.results is None or shapes[found.results] == (steps if found.every_step else 1, batch, units))
        and all(shapes[k] == (batch, units) for k in found.states)
        and (found.mask is None or shapes[found.mask] == (steps, batch, 1))
    )


def _is_length(graph: Graph, tensor: int, sequence: int) -> bool:
    """Whether a tensor is the first extent of another, or of what that is the reverse of."""
    producers = graph.producers()
    reverse = producers.get(sequence)
    taken = producers.get(tensor)
    if taken is None or taken.op != "STRIDED_SLICE" or graph.tensors[tensor].shape != ():
        return False
    begin, shape = graph.tensors[taken.inputs[1]].data, producers.get(taken.inputs[0])
    return (
        begin is not None
        and not begin.any()
        and shape is not None
        and shape.op == "SHAPE"
        and shape.inputs[0]
        in (sequence, reverse.inputs[0] if reverse is not None and reverse.op == "REVERSE_V2" else None)
    )


def _runs_through(sequence: Tensor, index: int, lengths: Sequence[int], loop: Loop, cond: Terms) -> bool:
    """Whether a condition holds for as long as counters, a sequence's own among them, are below its length.

    lengths: the places of the values that are its length.
    """
    known = [cond.number(sequence.shape[0])] if sequence.shape_signature[0] != -1 else []
    limits = [*known, *(cond("argument", k) for k in lengths)]
    below = {cond("LESS", cond("argument", k), limit): k for k in loop.counters for limit in limits}
    pending, found = list(cond.results), set[int | None]()
    while pending:
        term = pending.pop()
        name, *parts = cond.keys[term]
        if name == "LOGICAL_AND":
            pending += parts
        else:
            found.add(below.get(term))
    return index in found and None not in found


@dataclass
class Loop:
    """What the body of a loop makes of its values, as terms.

    counters: the places of the values that it adds one to. fixed: of those that it leaves as they are.
    """

    terms: Terms
    results: list[int] = field(init=False)
    values: list[int] = field(init=False)
    counters: list[int] = field(init=False)
    fixed: list[int] = field(init=False)

    def __post_init__(self) -> None:
        t = self.terms
        self.results = t.results
        self.values = [t("argument", k) for k in range(len(self.results))]
        self.counters = [k for k, v in enumerate(self.values) if self.results[k] == t.sum(v, t.number(1))]
        self.fixed = [k for k, v in enumerate(self.values) if self.results[k] == v]

    def sequences(self) -> Iterator[tuple[int, int, int]]:
        """(the place of a sequence, that of the counter that runs through it, the term of its step)."""
        for term, key in enumerate(tuple(self.terms.keys)):
            for x, index in product(self.fixed, self.counters):
                if key[-2:] == (self.values[x], self.values[index]) and key[:2] == ("GATHER", ("axis", "0")):
                    yield x, index, term

    def stores(self, place: int, index: int, result: int) -> bool:
        """Whether the value at a place is the results so far: those before, this step's, and room for those after."""
        t, whole, counter = self.terms, self.values[place], self.values[index]
        along = ("CONCATENATION", ("axis", "0"))
        before = t("SLICE", whole, t.number(0, 0, 0), t(*along, counter, t.number(-1, -1)))
        after = t("SLICE", whole, t(*along, t.sum(counter, t.number(1)), t.number(0, 0)), t.number(-1, -1, -1))
        start = t("PACK", ("axis", "0"), ("values_count", "3"), counter, t.number(0), t.number(0))
        updated = t("DYNAMIC_UPDATE_SLICE", whole, result, start)
        return self.results[place] in (t(*along, before, result, after), updated)

    def keeps(self, place: int, result: int) -> bool:
        """Whether the value at a place is this step's result alone."""
        first = self.terms("DYNAMIC_UPDATE_SLICE", self.values[place], result, self.terms.number(0, 0, 0))
        return self.results[place] in (result, first)

    def cells(self, x: int, places: Sequence[int], mask: int | None, held: Sequence[int]) -> Iterator[tuple[Cell, int]]:
        """The cells that make of these states what the body makes of them, each with the term of its result.

        mask: the term that decides whether a step is taken. held: the place of the last result, which a step that is
        not taken repeats; without one, its result is zero.
        """
        t, states = self.terms, [self.values[k] for k in places]

        def chosen(new: int, old: int) -> int:
            return new if mask is None else t("SELECT_V2", mask, new, old)

        for cell in (cell for kind in KINDS.get(len(states), ()) for cell in kind(t, x, *states)):
            result = chosen(cell.after[0], self.values[held[0]] if held else t.number(0))
            after = [*(result for _ in held), *map(chosen, cell.after, states)]
            if [self.results[k] for k in (*held, *places)] == after:
                yield cell, result
