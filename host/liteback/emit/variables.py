"""A layer's variables: made without values, then given the file's, with no copy of either on the way.

A network's largest weight can be most of its file, and an int8 file's real values are four times it: what is in memory
twice for a moment decides what a reconstruction takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.names import is_symbolic
from liteback.emit.registry import Layer
from liteback.emit.weight import Joined, Weight
from liteback.numerics.aligned import aligned, is_aligned

_LARGE = 1 << 16  # bytes; a smaller variable is not worth the care


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


def fill(layer: Any, weights: Sequence[Weight | Joined]) -> None:
    """Set a layer's variables, in its own order.

    Raises: ValueError where the layer wants others.
    """
    if len(layer.weights) != len(weights):
        raise ValueError(f"it has {len(layer.weights)} variables; the file has {len(weights)}")
    for variable, weight in zip(layer.weights, weights, strict=True):
        assign(variable, np.asarray(weight, variable.dtype))


def assign(variable: Any, values: NDArray[Any]) -> None:
    """Set a Keras variable. A large array that is new becomes the variable's own memory.

    Of an array TensorFlow makes two copies; what comes by DLPack it takes as it is, if aligned. An array that can be
    written and is aligned was made by `dequantize` or `Weight.value` for its caller alone.

    Raises: ValueError for another shape.
    """
    if values.dtype.kind != "f" or values.nbytes < _LARGE or values.shape != tuple(variable.shape):
        variable.assign(values)
        return
    if not (values.flags.writeable and values.flags.c_contiguous and is_aligned(values)):
        values = aligned(values)
    variable.assign(tf.experimental.dlpack.from_dlpack(values.__dlpack__()))
