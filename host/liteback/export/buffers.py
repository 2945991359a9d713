"""What each buffer of a file is to hold, and for whom: several constants may lie in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from liteback.errors import UsageError
from liteback.flatbuffer.parse import FlatModel
from liteback.ir import ABSENT, Graph, Node

Payload = bytes | memoryview


@dataclass
class Buffers:
    """The new contents of a file's buffers.

    wanted: buffer -> what it is to hold -> those who want it so: each by its name and its constant.
    """

    flat: FlatModel
    wanted: dict[int, dict[Payload, list[tuple[str, str]]]] = field(default_factory=dict)
    known: set[tuple[int, int]] = field(default_factory=set)  # the constants that a variable was put back into

    def described(self, graph: Graph, tensor: int) -> Any:
        """A tensor as the schema's object."""
        return self.flat.root.subgraphs[graph.index].tensors[tensor]

    def put(self, graph: Graph, tensor: int, user: str, payload: Payload | None) -> None:
        """Have a constant of the file hold `payload`, None for what it holds."""
        buffer = self.described(graph, tensor).buffer
        payload = self.flat.buffer(buffer) if payload is None else payload
        self.wanted.setdefault(buffer, {}).setdefault(payload, []).append((user, graph.label(tensor)))
        self.known.add((graph.index, tensor))

    def keep_others(self, graphs: Sequence[Graph]) -> None:
        """Have the constants that no variable was put back into hold what they do, where a result needs them."""
        for graph in graphs:
            inputs = ((node, t) for node in _needed(graph) for t in node.inputs if t != ABSENT)
            for reader, tensor in inputs:
                if graph.tensors[tensor].is_constant and (graph.index, tensor) not in self.known:
                    self.put(graph, tensor, f"{reader.name}, which does not train it", None)

    def written(self) -> bytes:
        """The file with the new contents.

        Raises:
            UsageError: constants that lie in one buffer are to be different.
        """
        data = bytearray(self.flat.data)
        for buffer, (payload, *others) in self.wanted.items():
            if others:
                raise UsageError(
                    f"The file has one copy of what now differs in the model: {self._users(buffer)}. "
                    "Give it the same values everywhere, or freeze every layer that has it."
                )
            extent = self.flat.extents[buffer]
            data[extent.offset : extent.offset + extent.size] = payload
        return bytes(data)

    def _users(self, buffer: int) -> str:
        users = dict.fromkeys(user for users in self.wanted[buffer].values() for user in users)
        return "; ".join(f"constant {constant} of {user}" for user, constant in users)


def _needed(graph: Graph) -> list[Node]:
    """The nodes that an output, or a variable, comes from."""
    wanted, nodes = set(graph.outputs), list[Node]()
    for node in reversed(graph.nodes):
        if not node.outputs or not wanted.isdisjoint(node.outputs):
            nodes.append(node)
            wanted.update(node.inputs)
    return nodes[::-1]
