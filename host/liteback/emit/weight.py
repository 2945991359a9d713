"""A constant of the file on its way into a layer, and back.

The file and Keras lay weights out differently. A `Weight` remembers each step from the one to the other, so that
`export` can take the same way back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import Quantization, Step, Tensor
from liteback.numerics.affine import dequantize
from liteback.numerics.aligned import aligned


@dataclass(frozen=True)
class Weight:
    """The real values of a constant tensor, in a layout of the emitter's choice.

    graph, tensor: its indices in the file. stored: its values, or its codes, as the file has them; real values, of
    type `dtype`, are made anew each time they are asked for, since a dequantized int8 weight kept here would take four
    times the file. steps: the way from the file's layout to this one. shape: in this layout. Behaves as an array where
    Keras wants one.
    """

    graph: int
    tensor: int
    stored: NDArray[Any]
    quantization: Quantization | None = None
    dtype: str = "float32"
    steps: tuple[Step, ...] = ()
    joined: NDArray[Any] | None = None  # the whole that this is a part of; `stored` has then served

    @property
    def value(self) -> NDArray[Any]:
        """Real values, in this layout; of a part: those of the whole variable."""
        if self.joined is not None:
            return self.joined
        codes, grid, steps = self.stored, self.quantization, list(self.steps)
        # The codes turn first: they are the smaller, and real values would be in memory once more.
        while steps and steps[0][0] == "transpose" and not (grid and grid.block_size):
            _, perm, _ = steps.pop(0)
            codes, grid = codes.transpose(perm), grid and grid.transpose(perm)
        if grid is not None:
            return turned(dequantize(codes, grid), steps)
        return turned(codes if codes.dtype == self.dtype else aligned(codes, self.dtype), steps)

    @classmethod
    def of(cls, tensor: Tensor, home: tuple[int, int], data: NDArray[Any], grid: Quantization | None) -> Weight:
        """The weight that a constant is. home: the subgraph and the index that it has in the file."""
        weight = cls(*home, data, grid, tensor.dtype if grid is None else "float32", tensor.steps)
        return replace(weight, stored=weight.restore(data))

    @property
    def unturned(self) -> Weight:
        """The same in the file's own layout."""
        return replace(self, steps=())

    @property
    def constant(self) -> tuple[int, int]:
        """Which constant of the file it is."""
        return (self.graph, self.tensor)

    @property
    def key(self) -> Any:
        """Equal for weights that hold the same."""
        return (self.graph, self.tensor, self.steps)

    def same_scale(self, other: Weight) -> bool:
        """Whether equal codes are equal numbers."""
        a, b = self.quantization, other.quantization
        return a is b or (a is not None and b is not None and np.array_equal(a.scale, b.scale))

    @property
    def parts(self) -> tuple[Weight, ...]:
        """The constants of the file that it is made of."""
        return (self,)

    @property
    def shape(self) -> tuple[int, ...]:
        if self.joined is not None:
            return self.joined.shape
        shape = self.stored.shape
        for step, argument, _ in self.steps:
            shape = tuple(shape[a] for a in argument) if step == "transpose" else argument
        return shape

    def transpose(self, *perm: int) -> Weight:
        return replace(self, steps=(*self.steps, Step("transpose", perm, self.shape)))

    def reshape(self, *shape: int) -> Weight:
        if -1 in shape:
            rest = math.prod(self.shape) // max(1, -math.prod(shape))
            shape = tuple(rest if d == -1 else d for d in shape)
        return replace(self, steps=(*self.steps, Step("reshape", shape, self.shape)))

    def restore(self, array: NDArray[Any]) -> NDArray[Any]:
        """A variable's value, back in the file's layout."""
        for step, argument, before in reversed(self.steps):
            if step == "part":
                axis, start, stop = argument
                array = array[(slice(None),) * axis + (slice(start, stop),)]
            else:
                array = array.transpose(np.argsort(argument)) if step == "transpose" else array.reshape(before)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype=dtype, copy=True) if copy else np.asarray(self.value, dtype=dtype)


@dataclass(frozen=True)
class Joined:
    """Several constants that make one variable of a layer."""

    value: NDArray[Any]
    parts: tuple[Weight, ...]  # each with all of the variable's values, and the step to its own

    @property
    def key(self) -> Any:
        return tuple(part.key for part in self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape

    def reshape(self, *shape: int) -> Joined:
        whole = self.value.reshape(shape)
        step = Step("reshape", shape, self.shape)
        return Joined(whole, tuple(replace(p, joined=whole, steps=(*p.steps, step)) for p in self.parts))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.value, dtype=dtype, copy=True) if copy else np.asarray(self.value, dtype=dtype)


def concatenate(weights: Sequence[Weight], axis: int) -> Joined:
    """Put weights side by side; each knows its own part of the result (axis counts from 0)."""
    whole = np.concatenate([w.value for w in weights], axis)
    whole.flags.writeable = False  # its parts keep it
    stops = np.cumsum([w.shape[axis] for w in weights]).tolist()
    parts = tuple(
        replace(w, joined=whole, steps=(*w.steps, Step("part", (axis, stop - w.shape[axis], stop), w.shape)))
        for w, stop in zip(weights, stops, strict=True)
    )
    return Joined(whole, parts)


def turned(array: Any, steps: Sequence[Step], by: Any = np) -> Any:
    """What steps make of an array, or of a tensor of the model. by: the module that does it, numpy or keras.ops."""
    for kind, argument, _ in steps:
        array = by.transpose(array, argument) if kind == "transpose" else by.reshape(array, argument)
    return array


def plain(value: Any) -> Any:
    """A weight's array, for an emitter that has no use for a variable here; all else as it is."""
    return value.value if isinstance(value, Weight) else value
