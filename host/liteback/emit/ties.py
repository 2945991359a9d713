"""A constant of the file is one variable, also where several layers have it, or a layer and an operation.

A table that embeds tokens and scores them, the kernel of a recurrent layer that was unrolled into one operator a step,
a bias that is fused into the first of these steps and added in the others: which constants are so used is seen when
the model is built. It is then built again: layers that differ in their bias alone become one without it, and what
still is in several places becomes the table of a layer of its own, from which they all take it.
"""

from __future__ import annotations

import math
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import keras

from liteback.emit.emission import Binding, Emission, layer_at
from liteback.emit.registry import Layer
from liteback.emit.weight import Weight, turned

Constant = tuple[int, int]  # subgraph, tensor


@dataclass(frozen=True)
class Ties:
    """kernels: of layers whose bias is added after them. variables: constants that have a layer of their own."""

    kernels: frozenset[Constant] = frozenset()
    variables: frozenset[Constant] = frozenset()

    def more(self, emission: Emission, plain: Set[Constant]) -> Ties:
        """These, and the constants that an emission still has more than once. plain: those it has as numbers."""
        uses: dict[Constant, dict[str, Binding]] = {}
        for binding in emission.bindings:
            if binding.weight.dtype == "float32":
                uses.setdefault(binding.weight.constant, {})[binding.layer] = binding
        several = {constant: list(u.values()) for constant, u in uses.items() if len(u) + (constant in plain) > 1}
        kernels = {c for c, u in several.items() if c not in plain | self.kernels and _differ_in_bias(emission, u)}
        return Ties(self.kernels | kernels, self.variables | (several.keys() - kernels))


def _differ_in_bias(emission: Emission, uses: list[Binding]) -> bool:
    """Whether layers of one kind have a constant as kernel, some of them with a bias."""
    layers = [layer_at(emission.model, binding.layer) for binding in uses]
    kinds = {(type(layer), b.position, b.weight.steps) for layer, b in zip(layers, uses, strict=True)}
    return len(kinds) == 1 and uses[0].position == 0 and any(getattr(layer, "use_bias", False) for layer in layers)


def table(weight: Weight, place: Any) -> Layer:
    """The layer of a constant: a table whose only row `place` names."""
    row = weight.reshape(1, math.prod(weight.shape))
    return Layer(keras.layers.Embedding, place, [row], dict(zip(("input_dim", "output_dim"), row.shape, strict=True)))


def taken(value: Any, own: Weight, weight: Weight) -> Any:
    """A weight of the constant that `own` is of, too, as a tensor of the model. value: the constant's.

    A bias that kernels of several scales share is in proportion to them: see passes/bias_scale.py.
    """
    if not own.same_scale(weight) and own.quantization is not None and weight.quantization is not None:
        value = keras.ops.multiply(value, weight.quantization.scale / own.quantization.scale)
    return turned(value, weight.steps, keras.ops)


def leads_to_tables(anchor: Any) -> bool:
    """Whether `place` can be made of a tensor of the model."""
    return anchor is not None and anchor.dtype != "string"


def place(anchor: Any) -> Any:
    """Zero, int32 (), as a tensor of the model that `anchor` is one of."""
    if not leads_to_tables(anchor):
        raise NotImplementedError("it has weights that no layer of its own holds, and no input of numbers leads there")
    return keras.ops.sum(keras.ops.zeros_like(anchor, dtype="int32"))
