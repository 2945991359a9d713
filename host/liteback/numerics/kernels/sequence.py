"""What recurrent kernels share: their inputs by name, and the run over a sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.numerics.kernels.common import Codes
from liteback.numerics.operator import Operand, Operator

Step = Callable[[list[Any], list[Any]], list[Any]]  # what one step is given, the states -> the states after it


@dataclass(frozen=True)
class Held:
    """A constant of the operator: its codes or numbers, and what they mean."""

    values: NDArray[Any]
    operand: Operand

    @property
    def scale(self) -> np.float32:
        return self.operand.scale


def held(op: Operator, names: Sequence[str], values: Sequence[Codes | None], first: int = 1) -> dict[str, Held]:
    """The constants that are given, by name. first: where they begin among the inputs.

    Raises:
        NotImplementedError: one is computed at run time.
    """
    found = {}
    for position, (name, value) in enumerate(zip(names, values, strict=False), first):
        if value is None:
            continue
        if not isinstance(value, np.ndarray):
            raise NotImplementedError(f"its input {position} is computed at run time")
        found[name] = Held(value, op.input(position))
    return found


def run(step: Step, inputs: list[Any], states: list[Any], time_major: bool = False, backwards: bool = False) -> Any:
    """The first state after each step, in the inputs' order, and all states after the last.

    inputs: (batch, time, features) each, or (time, batch, features) with time_major; of two axes, a single step.
    backwards: the last step comes first.
    """
    if len(inputs[0].shape) == 2:
        states = step(inputs, states)
        return [states[0], *states]
    steps = inputs if time_major else [tf.transpose(x, (1, 0, 2)) for x in inputs]
    every = tf.scan(lambda before, now: step(list(now), before), steps, states, reverse=backwards)
    y = every[0] if time_major else tf.transpose(every[0], (1, 0, 2))
    y.set_shape([*inputs[0].shape[:2], states[0].shape[-1]])
    return [y, *(state[0 if backwards else -1] for state in every)]


def batch_of(x: Any, time_major: bool) -> Any:
    """How many sequences x holds."""
    axis = 1 if time_major and len(x.shape) == 3 else 0
    return tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]


def initial(state: Codes | None, batch: Any, width: int, dtype: Any, value: int = 0) -> Any:
    """A state, as it is given or as it begins."""
    return tf.fill([batch, width], tf.constant(value, dtype)) if state is None else tf.cast(state, dtype)
