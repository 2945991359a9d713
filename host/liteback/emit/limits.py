"""What no file may make the emission do: end in an error of its own kind, or take gigabytes.

A damaged file can be well-formed and still ask for the absurd: strides of zero, a FILL of 2**40 elements.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..errors import Problem, UnsupportedModel
from .names import is_symbolic
from .registry import Layer

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


def built(layer: Any, recipe: Layer) -> Any:
    """Call a new layer of a recipe, so that it has its variables; its symbolic result.

    They are memory that nothing was written to till the file's weights are set: random values, or zeros, would be
    pages that the allocator keeps. The layer's configuration is not touched. A layer that wants other weights than the
    file has gets no memory for them.

    Raises: ValueError for such a layer.
    """
    slots = [name for name in vars(layer) if name.endswith("_initializer") and getattr(layer, name) is not None]
    kept = {name: getattr(layer, name) for name in slots}
    unset = _unset({w.shape for w in recipe.weights if w is not None})
    for name in slots:
        setattr(layer, name, unset)
    inputs = recipe.inputs if isinstance(recipe.inputs, (list, tuple)) else [recipe.inputs]
    known = not any(map(is_symbolic, inputs))
    value = layer(_described(recipe.inputs) if known else recipe.inputs, **recipe.given)
    for name, initializer in kept.items():
        setattr(layer, name, initializer)
    return value


def _described(value: Any) -> Any:
    """Known arrays as KerasTensors, which have a shape and take no memory."""
    if isinstance(value, (list, tuple)):
        return [_described(v) for v in value]
    return keras.KerasTensor(value.shape, str(value.dtype)) if isinstance(value, np.ndarray) else value


def _unset(shapes: Collection[tuple[int, ...]]) -> Callable[..., Any]:
    """An initializer that knows no other shapes than these."""

    def unset(shape: Sequence[int], dtype: Any = None, **_: Any) -> Any:
        if tuple(shape) not in shapes:
            known = ", ".join(str(list(s)) for s in shapes)
            raise ValueError(f"it needs a weight of shape {list(shape)}; the file has {known}")
        return tf.raw_ops.Empty(shape=shape, dtype=dtype)

    return unset
