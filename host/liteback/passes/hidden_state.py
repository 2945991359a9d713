"""Show what an operator keeps inside, which the file does not mention, as variable tensors.

Given:    %y = SignalDelay(%x)
Result:   %y = SignalDelay(%x, %before)      %before variable, zeros at first

From here on it lasts, is saved, and is reset like every other variable of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from liteback.ir import ABSENT, Graph, Node, Tensor

MAX_ELEMENTS = 1 << 24  # of an operator's state; these run on microcontrollers
Sizes = Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape and dtype


def hidden_state(graph: Graph) -> Graph:
    tensors, nodes = list(graph.tensors), []
    for node in graph.nodes:
        inputs = list(node.inputs)
        for name, (shape, dtype) in _sizes(node, graph).items():
            inputs.append(len(tensors))
            tensors.append(Tensor(len(tensors), f"{node.name}_{name}", dtype, shape, shape, is_variable=True))
        nodes.append(replace(node, inputs=tuple(inputs)))
    return replace(graph, tensors=tuple(tensors), nodes=tuple(nodes))


def _sizes(node: Node, graph: Graph) -> Sizes:
    """What a node keeps; nothing where its options make no sense, which its emission then says."""
    rule = STATES.get(node.op)
    if rule is None or len(node.inputs) != 1 or node.inputs[0] == ABSENT:
        return {}
    try:
        sizes = rule(graph.tensors[node.inputs[0]], **node.options)
    except (TypeError, ValueError, ArithmeticError, LookupError):
        return {}
    sound = all(d >= 0 for shape, _ in sizes.values() for d in shape)
    return sizes if sound and sum(math.prod(shape) for shape, _ in sizes.values()) <= MAX_ELEMENTS else {}


def _spectral_subtraction(x: Tensor, **_: Any) -> Sizes:
    return {"noise": (x.shape, "uint32")}


def _delay(x: Tensor, *, delay_length: int, **_: Any) -> Sizes:
    return {"before": ((*x.shape[:-1], delay_length), x.dtype)}


def _overlap_add(x: Tensor, **_: Any) -> Sizes:
    return {"rest": ((*x.shape[:-2], x.shape[-1]), x.dtype)}


def _framer(x: Tensor, *, frame_size: int, frame_step: int, prefill: bool, **_: Any) -> Sizes:
    """Prefilled, each step ends a frame; else each frame starts with a step, and ends inside one."""
    before = frame_size - frame_step if prefill else (frame_size - 1) // frame_step * frame_step
    return {"before": ((*x.shape[:-1], before), x.dtype), "count": ((), "int32")}


def _stacker(x: Tensor, *, stacker_left_context: int, stacker_right_context: int, **_: Any) -> Sizes:
    frames = stacker_left_context + 1 + stacker_right_context
    return {"before": ((frames, *x.shape), x.dtype), "filled": ((), "int32")}


STATES: Mapping[str, Callable[..., Sizes]] = {
    "CUSTOM:SignalDelay": _delay,
    "CUSTOM:SignalFilterBankSpectralSubtraction": _spectral_subtraction,
    "CUSTOM:SignalFramer": _framer,
    "CUSTOM:SignalOverlapAdd": _overlap_add,
    "CUSTOM:SignalStacker": _stacker,
}
