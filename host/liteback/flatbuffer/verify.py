"""Is a file safe to unpack? What the flatbuffers runtime does not ask before it follows an offset.

Offsets may share their targets: thousands of them that lead to one large table or text make a small file unpack into
gigabytes. Honest files share next to nothing, so what unpacking visits is counted first, against a budget.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from liteback.errors import InvalidModel

MAX_TABLES = 250_000  # a second for 20,000; language models with several signatures come to some tens of thousands
MAX_ELEMENTS = 1 << 23  # of the vectors that are unpacked: shapes, indices, scales
SHARING = 2  # how often the bytes of texts and buffers may be visited, on average

_BYTES = {("Buffer", "Data"), ("Operator", "CustomOptions")}  # vectors that stay bytes; of others lift makes numbers


def verify(model: Any, size: int) -> None:
    """Count what unpacking a schema.Model accessor of a file of `size` bytes would visit.

    Raises:
        InvalidModel: it is more than the budget.
        struct.error, IndexError, ...: what the flatbuffers runtime raises when an offset points outside the file.
    """
    _Walk(MAX_TABLES, MAX_ELEMENTS, SHARING * size + (1 << 16)).table(model)


@dataclass
class _Walk:
    """What is left to spend."""

    tables: int
    elements: int
    bytes: int

    def table(self, accessor: Any) -> None:
        """Visit a table and what it leads to."""
        self.spend("tables", 1)
        scalars, vectors, fields = _members(accessor.__class__)
        for name in scalars:
            unit = "bytes" if (type(accessor).__name__, name) in _BYTES else "elements"
            self.spend(unit, getattr(accessor, f"{name}Length")())
        for name in vectors:
            entry = getattr(accessor, name)
            for i in range(getattr(accessor, f"{name}Length")()):
                self.value(accessor, name, entry(i))
        for name in fields:
            self.value(accessor, name, getattr(accessor, name)())

    def value(self, owner: Any, name: str, value: Any) -> None:
        """Visit a field: what it is, its value says."""
        if isinstance(value, bytes):
            self.spend("bytes", len(value))
        elif isinstance(value, flatbuffers.table.Table):
            member = _union_member(owner, name)
            if member is not None:
                member.Init(value.Bytes, value.Pos)
                self.table(member)
        elif hasattr(value, "_tab"):
            self.table(value)

    def spend(self, what: str, amount: int) -> None:
        left = getattr(self, what) - amount
        if left < 0:
            raise InvalidModel(
                "The file is damaged, or made to exhaust its reader: its offsets lead to more "
                f"{what} than a .tflite file of this size holds, again and again to the same ones. "
                "Copy it again from its source."
            )
        setattr(self, what, left)


@cache
def _members(kind: Any) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The fields of a generated accessor: vectors of scalars, other vectors, and all else."""
    methods = {n for n, f in vars(kind).items() if inspect.isfunction(f) and n != "Init"}
    vectors = {n.removesuffix("IsNone") for n in methods if n.endswith("IsNone")}
    scalars = {n for n in vectors if f"{n}AsNumpy" in methods}
    derived = {f"{n}{suffix}" for n in vectors for suffix in ("", "Length", "AsNumpy", "IsNone")}
    return tuple(sorted(scalars)), tuple(sorted(vectors - scalars)), tuple(sorted(methods - derived))


def _union_member(owner: Any, name: str) -> Any:
    """An accessor for the table that a union field holds; None for a kind that this schema does not have."""
    member = _MEMBERS[name].get(getattr(owner, f"{name}Type")())
    return getattr(schema, member)() if member else None


_UNIONS = {
    "BuiltinOptions": schema.BuiltinOptions,
    "BuiltinOptions2": schema.BuiltinOptions2,
    "Details": schema.QuantizationDetails,
    "ArraySegments": schema.SparseIndexVector,
    "ArrayIndices": schema.SparseIndexVector,
}
_MEMBERS = {
    field: {number: name for name, number in vars(union).items() if name[0] != "_" and name != "NONE"}
    for field, union in _UNIONS.items()
}
