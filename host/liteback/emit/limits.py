"""What no file may make the emission do: end in an error of its own kind, or take gigabytes.

A damaged file can be well-formed and still ask for the absurd: strides of zero, a FILL of 2**40 elements.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.errors import Problem, UnsupportedModel

_SMALL = 1024  # elements; values of a larger constant do not say how large a result is

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # Keras writes for a terminal

_WRAPPED = ("Exception encountered when calling", "Could not automatically infer")

# What NumPy, Keras and TensorFlow raise for arguments they do not take.
REFUSALS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,  # NotImplementedError and RecursionError too
    TypeError,
    ValueError,
    tf.errors.OpError,
)


@contextmanager
def refusing(op: str, where: str) -> Iterator[None]:
    """What an operator's emission fails with is told as what stands in the way.

    Raises:
        UnsupportedModel: for every one of REFUSALS.
    """
    try:
        yield
    except REFUSALS as error:
        raise UnsupportedModel([Problem(op, where, _reason(error))]) from error


def _reason(error: BaseException) -> str:
    """What an exception says, or the one that Keras wrapped into words on layers and arguments."""
    while str(error).startswith(_WRAPPED) and error.__context__ is not None:
        error = error.__context__
    return " ".join(_COLOURS.sub("", str(error)).split())[:300] or type(error).__name__


@dataclass
class Folding:
    """How many elements may still be computed before the model runs."""

    left: int = 1 << 27

    def spend(self, shape: Sequence[int | None]) -> None:
        """Raises: ValueError when results of this shape are beyond what is left."""
        elements = math.prod(d or 0 for d in shape)
        if elements > self.left:
            raise ValueError(f"its result, of shape {list(shape)}, is too large to be computed beforehand")
        self.left -= elements

    def check(self, fn: Callable[..., Any], inputs: Sequence[Any], options: Mapping[str, Any]) -> None:
        """Let TensorFlow say what `fn` would compute from known inputs, before it does.

        Raises: ValueError as `spend` does.
        """
        # What is suppressed: it wants numbers, or refuses these. Either shows when it runs.
        with tf.Graph().as_default() as graph, suppress(*REFUSALS):
            fn(*map(_stand_in, inputs), **options)
        shapes = [t.shape for op in graph.get_operations() for t in op.outputs if t.shape.rank is not None]
        self.spend(max((s.as_list() for s in shapes), key=lambda s: math.prod(d or 0 for d in s), default=[]))


def _stand_in(value: Any) -> Any:
    """A large known array without its values."""
    if not isinstance(value, np.ndarray) or value.size <= _SMALL or value.dtype == object:
        return value
    return tf.compat.v1.placeholder(value.dtype, value.shape)
