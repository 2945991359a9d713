"""What a graph computes, as terms that are equal where they are the same computation.

Two graphs that differ in the order of their nodes and of a sum's parts, in reshapes, and in what a slice is called,
have the same terms. A pattern is then found by writing down what it computes and comparing one number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from liteback.ir import ABSENT, Graph, Node

# Real values pass through these as they are.
TRANSPARENT = frozenset({"RESHAPE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE"})
_FEW = 8  # elements of a constant that is known by its values; summands that are put in order


@dataclass
class Terms:
    """The terms of one graph. A term is a number; `keys` says what it stands for: an operator's name and its terms."""

    graph: Graph
    keys: list[tuple[Any, ...]] = field(default_factory=list)
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)
    tensors: dict[int, int] = field(default_factory=dict)  # tensor index -> its term
    own: int = 0  # how many of the terms the graph itself has

    @classmethod
    def of(cls, graph: Graph) -> Terms:
        terms = cls(graph)
        terms.tensors.update({t: terms("argument", k) for k, t in enumerate(graph.inputs)})
        for node in graph.nodes:
            terms._read(node)
        terms.own = len(terms.keys)
        return terms

    def __call__(self, *key: Any) -> int:
        """The term of a key, the same one each time."""
        if key not in self.known:
            self.known[key] = len(self.keys)
            self.keys.append(key)
        return self.known[key]

    def is_read(self, term: int) -> bool:
        """Whether the graph computes a term, and not only a pattern that it is compared with."""
        return term < self.own

    def sum(self, *terms: int) -> int:
        if len(terms) == 1:
            return terms[0]
        parts = [part for term in terms for part in self.summands(term)]
        return self("ADD", *sorted(parts)) if len(parts) <= _FEW else self("ADD", *sorted(terms))

    def product(self, a: int, b: int) -> int:
        return self("MUL", *sorted((a, b)))

    def summands(self, term: int) -> tuple[int, ...]:
        key = self.keys[term]
        return key[1:] if key[0] == "ADD" else (term,)

    def number(self, *values: Any) -> int:
        return self("values", *map(float, values))

    @property
    def results(self) -> list[int]:
        return [self.tensor(t) for t in self.graph.outputs]

    def tensor(self, index: int) -> int:
        """The term of a tensor: that of its node; of a constant: its value, or itself where it may be a weight."""
        if index not in self.tensors:
            data = None if index == ABSENT else self.graph.tensors[index].data
            plain = data is not None and (data.ndim == 0 or data.dtype.kind in "iu") and data.size <= _FEW
            self.tensors[index] = self.number(*np.asarray(data).ravel()) if plain else self("tensor", index)
        return self.tensors[index]

    def _read(self, node: Node) -> None:
        inputs = [self.tensor(t) for t in node.inputs]
        results = self._results(node, inputs) if inputs else None
        for k, index in enumerate(node.outputs):
            term = self("node", node.index, k) if results is None else results[k]
            self.tensors[index] = term if node.activation == "NONE" else self(node.activation, term)

    def _results(self, node: Node, inputs: Sequence[int]) -> Sequence[int] | None:
        """The terms of a node's results; None for one that nothing is known of."""
        first, *rest = inputs
        match node.op:
            case op if op in TRANSPARENT:
                return [first]
            case "ADD":
                return [self.sum(first, *rest)]
            case "MUL":
                return [self.product(first, *rest)]
            case "FULLY_CONNECTED":
                product = self("FULLY_CONNECTED", first, self("tensor", node.inputs[1]))
                bias = [self("tensor", t) for t in node.inputs[2:] if t != ABSENT]
                return [self.sum(product, *bias)]
            case "SPLIT" | "SPLIT_V":
                return self._parts(node, inputs[1] if node.op == "SPLIT" else first)
            case "STRIDED_SLICE":
                return self._slice(node, first)
        if len(node.outputs) != 1:
            return None
        options = tuple((name, str(value)) for name, value in sorted(node.options.items()) if name != "pot_scale_int16")
        return [self(node.op, *options, *inputs)]

    def _parts(self, node: Node, whole: int) -> Sequence[int] | None:
        """Of a split: which elements of the last axis each result has."""
        place, axis = (1, 0) if node.op == "SPLIT" else (0, 2)
        source, along = self.graph.tensors[node.inputs[place]], self.graph.tensors[node.inputs[axis]].data
        if along is None or not source.shape or int(np.ravel(along)[0]) % len(source.shape) != len(source.shape) - 1:
            return None
        stops = np.cumsum([self.graph.tensors[t].shape[-1] for t in node.outputs]).tolist()
        return [self("part", start, stop, whole) for start, stop in zip([0, *stops], stops, strict=False)]

    def _slice(self, node: Node, whole: int) -> Sequence[int] | None:
        """Of a slice of a matrix: which elements of the last axis it has."""
        source, result = (self.graph.tensors[t] for t in (node.inputs[0], node.outputs[0]))
        begin, stride = (self.graph.tensors[t].data for t in (node.inputs[1], node.inputs[3]))
        if begin is None or stride is None or begin.size != 2 or np.any(stride != 1) or len(result.shape) != 2:
            return None
        if result.shape[0] != source.shape[0]:
            return None
        start = 0 if int(node.options["begin_mask"]) & 2 else int(begin[1]) % max(1, source.shape[1])
        return [self("part", start, start + result.shape[1], whole)]
