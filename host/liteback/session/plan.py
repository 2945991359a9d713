"""What a capture taps, and in how many passes. Pure functions of the graph; no board, no files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from liteback.errors import UsageError
from liteback.ir import ABSENT, Graph, Node

# Tapped tensors live until the run ends. The rest of the free memory is for the file (held twice while it is
# patched), the weights a delegate packs anew, the copy of the tensor under way, and other programs.
RAM_SHARE = 0.25
WORKER_BYTES = 2 << 30  # a worker's address space at least, where the host asks for no other
RAM_UNKNOWN = 64 * 2**20  # the budget of a board that does not tell how much memory is free

_HANDLES = ("resource", "variant")
_CONTROL_FLOW = ("WHILE", "IF", "CALL", "STABLEHLO_WHILE", "STABLEHLO_CASE", "STABLEHLO_COMPOSITE")
# Their values differ from run to run, so no runtime folds them although their inputs are constants.
_RANDOM = ("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL", "STABLEHLO_RNG_BIT_GENERATOR")


@dataclass(frozen=True)
class Selection:
    """tensors: indices to capture, in order of execution. untappable: (name, reason) of what stays unseen."""

    tensors: tuple[int, ...]
    untappable: tuple[tuple[str, str], ...]


def select(graph: Graph, patterns: str | Sequence[str] = ()) -> Selection:
    """The node outputs that `patterns`, one or several, name; all where there is no pattern, or only excluding ones.

    A pattern is a glob on node or tensor names (`conv2d_*`), `op:GLOB` on operators (`op:CONV_2D`), or a
    range of nodes (`#12`, `#12..30`, both ends included). `!PATTERN` excludes.

    Raises: UsageError that lists every pattern that names nothing.
    """
    patterns = [patterns] if isinstance(patterns, str) else patterns
    chosen: set[int] = set()
    dropped: set[int] = set()
    nothing = []
    for pattern in patterns:
        found = _matches(graph, pattern.removeprefix("!"))
        (dropped if pattern.startswith("!") else chosen).update(found)
        if not found:
            nothing.append(pattern)
    if nothing:
        raise UsageError(
            "Each pattern names at least one node or tensor: it is a glob on names, op:NAME, #FIRST..LAST "
            f"or !PATTERN. Received, naming none: {', '.join(map(repr, nothing))}. "
            "`liteback inspect --nodes` lists them."
        )
    computed = [t for node in graph.nodes for t in node.outputs if t != ABSENT]
    if any(not p.startswith("!") for p in patterns):
        computed = [t for t in computed if t in chosen]
    wanted = tuple(dict.fromkeys(t for t in computed if t not in dropped))
    constants = _constants(graph)
    reasons = {t: _reason(graph, t, constants) for t in wanted}
    unseen = [(graph.label(t), reason) for t, reason in reasons.items() if reason]
    return Selection(tuple(t for t in wanted if not reasons[t]), (*unseen, *_hidden(graph, set(wanted))))


def _matches(graph: Graph, pattern: str) -> set[int]:
    """Tensor indices of the node outputs one pattern names."""
    numbers = re.fullmatch(r"#(\d+)(?:\.\.(\d+))?", pattern)

    def names(node: Node) -> bool:
        if numbers:
            return int(numbers[1]) <= node.index <= int(numbers[2] or numbers[1])
        if pattern.startswith("op:"):
            return fnmatchcase(node.op, pattern[3:])
        return fnmatchcase(node.name, pattern)

    return {
        t
        for node in graph.nodes
        for t in node.outputs
        if t != ABSENT and (names(node) or fnmatchcase(graph.tensors[t].name, pattern))
    }


def _constants(graph: Graph) -> set[int]:
    """Tensors whose value is known without a run: constants, and what is computed from them alone."""
    known = {t.index for t in graph.tensors if t.is_constant}
    for node in graph.nodes:
        given = [t for t in node.inputs if t != ABSENT]
        if given and known.issuperset(given) and node.op not in _RANDOM and not node.op.startswith("CUSTOM:"):
            known.update(node.outputs)
    return known


def _reason(graph: Graph, index: int, constants: set[int]) -> str:
    """Why a tensor cannot be tapped; empty where it can."""
    tensor = graph.tensors[index]
    if tensor.dtype in _HANDLES:
        return f"a {tensor.dtype}: it holds a handle, no values"
    if 0 in tensor.shape and -1 not in tensor.shape_signature:
        return "has no elements"
    if index in constants and index not in graph.outputs:
        return "computed from constants alone; as an output it would change what a delegate folds"
    return ""


def _hidden(graph: Graph, wanted: set[int]) -> list[tuple[str, str]]:
    """Nodes with an inside that no tap of the main subgraph reaches."""
    hidden = []
    for node in graph.nodes:
        if not wanted.intersection(node.outputs):
            continue
        if node.op == "CUSTOM:edgetpu-custom-op":
            hidden.append((node.name, "its inside runs on the Edge TPU; only its outputs can be seen"))
        elif node.op in _CONTROL_FLOW:
            hidden.append((node.name, "its inside is a subgraph of its own; only its outputs can be seen"))
    return hidden


def default_budget(ram_available_bytes: int, *limits: int) -> int:
    """Bytes of tapped tensors a pass may hold: RAM_SHARE of the board's free memory or of the tightest limit.

    limits: memory limits of the worker in bytes; 0 means none, as in the protocol.
    """
    known = [bytes_ for bytes_ in (ram_available_bytes, *limits) if bytes_ > 0]
    return int(min(known) * RAM_SHARE) if known else RAM_UNKNOWN


def plan(graph: Graph, tensors: Sequence[int], budget_bytes: int) -> tuple[tuple[int, ...], ...]:
    """Cut `tensors` (in order of execution) into passes of at most `budget_bytes` each.

    A tensor larger than the budget gets a pass of its own. A pass begins with the latest earlier tensor that
    fits beside its first one; captured twice, it proves that runs repeat themselves. Where none fits, the
    model's outputs, which every pass reads, are the only such proof. Sizes are by the file's shapes, where an
    extent it leaves open counts as 1.

    Raises: UsageError when the budget is not positive.
    """
    if budget_bytes <= 0:
        raise UsageError(f"The budget of a pass is a positive number of bytes. Received: {budget_bytes}.")
    size = {t: graph.tensors[t].nbytes for t in tensors}
    passes: list[list[int]] = [[]]
    for position, tensor in enumerate(tensors):
        if passes[-1] and sum(size[t] for t in passes[-1]) + size[tensor] > budget_bytes:
            room = budget_bytes - size[tensor]
            passes.append([t for t in reversed(tensors[:position]) if size[t] <= room][:1])
        passes[-1].append(tensor)
    return tuple(tuple(p) for p in passes if p)
