"""Show lists of tensors, which TensorFlow's loops write their results to, as the tensors that they hold.

Given:    %list = FlexTensorListReserve(%shape, %n)
          ..., %list' = WHILE(..., %list)        in its body: %after = FlexTensorListSetItem(%list, %i, %x)
          %y = FlexTensorListStack(%list')
Result:   %list zeros (n, *x)
          ..., %y = WHILE(..., %list)            in its body: %after = DYNAMIC_UPDATE_SLICE(%list, [%x], [%i, 0, ...])

A list that is read is FlexTensorListFromTensor's tensor, FlexTensorListGetItem a GATHER. What is used in another way
stays as it is. The file's batch stands for one that varies, as it does in the shapes of its tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import Graph, Node, Tensor

LIST = "CUSTOM:FlexTensorList"
MAX_ELEMENTS = 1 << 24  # of a list


def tensor_lists(graphs: Sequence[Graph]) -> tuple[Graph, ...]:
    """All graphs of a file, as a list goes from one into another."""
    result = list(graphs)
    if not any(node.op.startswith(LIST) for graph in graphs for node in graph.nodes):
        return tuple(result)
    for index, graph in enumerate(graphs):
        for node in (n for n in graph.nodes if n.op == "WHILE"):
            for place in range(len(node.inputs)):
                with suppress(LookupError, TypeError, ValueError):  # of a damaged file, whose fault its emission tells
                    _show(result, index, node.index, place)
    return tuple(map(_without_unread, result))


def _show(graphs: list[Graph], outer: int, loop: int, place: int) -> None:
    """Show the list at a place of a loop's values, if all of its uses are known."""
    node = next(n for n in graphs[outer].nodes if n.index == loop)
    indices = [int(node.options.get(f"{which}_subgraph_index", -1)) for which in ("cond", "body")]
    if len({outer, *indices}) != 3 or not all(0 <= i < len(graphs) for i in indices):
        return
    graph, (cond, body) = graphs[outer], (graphs[i] for i in indices)
    if not all(place < len(values) for values in (node.outputs, cond.inputs, body.inputs, body.outputs)):
        return
    uses = _Uses.of(graph, node, place, cond, body)
    if uses is not None:
        shown = _shown_outside(graph, node, place, uses), _shown_inside(body, place, uses)
        graphs[outer], graphs[indices[1]] = shown
        graphs[indices[0]] = _with_tensor(cond, uses.held(cond.inputs[place]))


@dataclass(frozen=True)
class _Uses:
    """What is known of a list.

    made: the node that makes it. stack: the one that takes it after the loop. item: what it holds. extent: how many,
    as in shape, and in shape_signature. like: a value of the loop of the item's shape, where that varies.
    """

    made: Node
    stack: Node | None
    item: Tensor
    extent: tuple[int, int]
    like: int | None = None

    @classmethod
    def of(cls, graph: Graph, loop: Node, place: int, cond: Graph, body: Graph) -> _Uses | None:
        """None where there is no list, or a use of it that is not known."""
        made = graph.producers().get(loop.inputs[place])
        inside, after = body.inputs[place], body.outputs[place]
        readers = body.consumers().get(inside, ())
        stacks = graph.consumers().get(loop.outputs[place], ())
        writes = [n for n in readers if n.op == f"{LIST}SetItem"]
        known = (
            all(n.op in (f"{LIST}SetItem", f"{LIST}GetItem") and n.inputs[0] == inside for n in readers)
            and (after == inside if not writes else len(writes) == 1 and after == writes[0].outputs[0])
            and cond.inputs[place] not in cond.consumers()
            and len(stacks) <= 1
            and all(n.op == f"{LIST}Stack" for n in stacks)
            and loop.outputs[place] not in graph.outputs
        )
        if made is None or not known:
            return None
        stack = stacks[0] if stacks else None
        if made.op == f"{LIST}FromTensor":
            source = graph.tensors[made.inputs[0]]
            item = replace(source, shape=source.shape[1:], shape_signature=source.shape_signature[1:])
            return cls(made, stack, item, (source.shape[0], source.shape_signature[0]))
        if made.op == f"{LIST}Reserve" and stack is not None and writes:
            return cls._reserved(graph, loop, made, stack, body.tensors[writes[0].inputs[2]])
        return None

    @classmethod
    def _reserved(cls, graph: Graph, loop: Node, made: Node, stack: Node, item: Tensor) -> _Uses | None:
        number, result = graph.tensors[made.inputs[1]].data, graph.tensors[stack.outputs[0]]
        extent = (int(number), int(number)) if number is not None else (result.shape[0], result.shape_signature[0])
        if not 0 <= extent[0] * math.prod(item.shape) <= MAX_ELEMENTS:
            return None
        if -1 not in item.shape_signature:
            return cls(made, stack, item, extent)
        like = [t for t in loop.inputs if graph.tensors[t].shape_signature == item.shape_signature]
        return cls(made, stack, item, extent, like[0]) if like else None

    def held(self, index: int, name: str = "") -> Tensor:
        """The tensor that is the list."""
        (number, varying), item = self.extent, self.item
        return Tensor(index, name, item.dtype, (number, *item.shape), (varying, *item.shape_signature))


class _Added:
    """Nodes and tensors beyond a graph's own."""

    def __init__(self, graph: Graph) -> None:
        self.tensors = list(graph.tensors)
        self._next = max((n.index for n in graph.nodes), default=-1) + 1

    def constant(self, data: NDArray[Any]) -> int:
        return self.tensor(Tensor(0, "", str(data.dtype), data.shape, data.shape, data=data))

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(replace(tensor, index=len(self.tensors)))
        return len(self.tensors) - 1

    def node(self, op: str, inputs: Sequence[int], output: int, **options: Any) -> Node:
        self._next += 1
        return Node(self._next - 1, op, tuple(inputs), (output,), options)

    def packed(self, first: int, rest: Sequence[int]) -> tuple[int, list[Node]]:
        """A vector: a number of the graph, and known ones."""
        known = self.tensors[first].data
        if known is not None:
            return self.constant(np.array([int(known), *rest], np.int32)), []
        shape = (1 + len(rest),)
        vector = self.tensor(Tensor(0, "", "int32", shape, shape))
        parts = [first, *(self.constant(np.array(r, np.int32)) for r in rest)]
        return vector, [self.node("PACK", parts, vector, axis=0, values_count=len(parts))]


def _shown_outside(graph: Graph, loop: Node, place: int, uses: _Uses) -> Graph:
    """The loop takes the tensor, and gives what was stacked."""
    added, nodes = _Added(graph), list[Node]()
    after = uses.stack.outputs[0] if uses.stack is not None else loop.outputs[place]
    before, making = _zeros(added, uses) if uses.made.op == f"{LIST}Reserve" else (uses.made.inputs[0], [])
    added.tensors[after] = uses.held(after, graph.tensors[after].name)
    shown = replace(loop, inputs=_put(loop.inputs, place, before), outputs=_put(loop.outputs, place, after))
    for node in graph.nodes:
        if node is loop:
            nodes += [*making, shown]
        elif node is not uses.stack:
            nodes.append(node)
    return replace(graph, tensors=tuple(added.tensors), nodes=tuple(nodes))


def _put(values: tuple[int, ...], place: int, value: int) -> tuple[int, ...]:
    return (*values[:place], value, *values[place + 1 :])


def _zeros(added: _Added, uses: _Uses) -> tuple[int, list[Node]]:
    """The list as it is made: a tensor, and the nodes that compute it."""
    zero, item = added.constant(np.zeros((), uses.item.dtype)), uses.item
    dims, nodes = added.packed(uses.made.inputs[1], () if uses.like is not None else item.shape)
    if uses.like is not None:
        rank = len(item.shape)
        extents, whole = (added.tensor(Tensor(0, "", "int32", (n,), (n,))) for n in (rank, rank + 1))
        nodes.append(added.node("SHAPE", [uses.like], extents, out_type="int32"))
        nodes.append(added.node("CONCATENATION", [dims, extents], whole, axis=0))
        dims = whole
    result = added.tensor(uses.held(0))
    return result, [*nodes, added.node("FILL", [dims, zero], result)]


def _shown_inside(body: Graph, place: int, uses: _Uses) -> Graph:
    """The body reads and writes parts of the tensor."""
    added, inside, nodes = _Added(body), body.inputs[place], list[Node]()
    for index in (inside, body.outputs[place]):
        added.tensors[index] = uses.held(index, body.tensors[index].name)
    for node in body.nodes:
        if not node.op.startswith(LIST) or node.inputs[0] != inside:
            nodes.append(node)
        elif node.op == f"{LIST}GetItem":
            nodes.append(replace(node, op="GATHER", inputs=node.inputs[:2], options={"axis": 0, "batch_dims": 0}))
        else:
            start, packing = added.packed(node.inputs[1], [0] * len(uses.item.shape))
            one = replace(uses, extent=(1, 1)).held(0)
            row = added.tensor(one)
            widen = added.node("EXPAND_DIMS", [node.inputs[2], added.constant(np.array(0, np.int32))], row)
            write = replace(node, op="DYNAMIC_UPDATE_SLICE", inputs=(inside, row, start), options={})
            nodes += [*packing, widen, write]
    return replace(body, tensors=tuple(added.tensors), nodes=tuple(nodes))


def _with_tensor(graph: Graph, tensor: Tensor) -> Graph:
    named = replace(tensor, name=graph.tensors[tensor.index].name)
    return replace(graph, tensors=(*graph.tensors[: tensor.index], named, *graph.tensors[tensor.index + 1 :]))


def _without_unread(graph: Graph) -> Graph:
    """Without the lists that nothing takes any longer."""
    read = {t for node in graph.nodes for t in node.inputs} | set(graph.outputs)
    made = (f"{LIST}Reserve", f"{LIST}FromTensor")
    return graph.replace_nodes(tuple(n for n in graph.nodes if n.op not in made or read & set(n.outputs)))
