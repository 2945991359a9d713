"""Fake-quantization at the device's recorded scales, with a straight-through gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import ArrayLike

from liteback.ir import Tensor
from liteback.numerics.operator import Operand


@keras.saving.register_keras_serializable(package="liteback")
class FakeQuant(keras.layers.Layer):
    """Rounds to the grid a quantized tensor can hold: y = scale * (clip(round(x / scale) + zero_point) - zero_point).

    scale: float, of the whole tensor, or one for each slice of `axis`. zero_point: int, likewise. low, high: the type's
    smallest and largest code. The gradient is 1 inside the range and 0 where the codes saturate (Jacob et al. 2018,
    arXiv:1712.05877). Halves are rounded away from zero, as TfLiteRound does.
    """

    def __init__(
        self,
        scale: float | Sequence[float],
        zero_point: int | Sequence[int],
        low: int,
        high: int,
        axis: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.scale, self.zero_point, self.low, self.high, self.axis = scale, zero_point, low, high, axis

    @classmethod
    def like(cls, tensor: Tensor, **kwargs: Any) -> FakeQuant:
        """The grid of a quantized tensor."""
        q = tensor.quantization
        if q is None:
            raise ValueError(f"tensor {tensor.index} is not quantized")
        low, high = Operand.of(tensor).range
        if q.per_channel:
            return cls(q.scale.tolist(), q.zero_point.tolist(), low, high, q.axis, **kwargs)
        return cls(float(q.scale[0]), int(q.zero_point[0]), low, high, **kwargs)

    def call(self, x: Any) -> Any:
        if isinstance(self.scale, (int, float)):
            return on_grid(x, self.scale, self.zero_point, self.low, self.high)
        shape = [-1 if axis == self.axis else 1 for axis in range(len(x.shape))]
        scale, zero_point = (np.reshape(v, shape) for v in (self.scale, self.zero_point))
        return on_grid(x, scale, zero_point, self.low, self.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "zero_point": self.zero_point, "low": self.low, "high": self.high}
        return {**super().get_config(), **own, **({"axis": self.axis} if self.axis else {})}


def on_grid(x: Any, scale: ArrayLike, zero_point: ArrayLike, low: int, high: int) -> Any:
    """x rounded to the nearest value that a code of [low, high] stands for; see `FakeQuant`.

    scale, zero_point: of shapes that broadcast to that of x.
    """
    step = np.maximum(np.asarray(scale, np.float32), np.finfo(np.float32).tiny)  # TensorFlow takes a smaller one for 0
    first, last = (np.asarray(edge - np.asarray(zero_point), np.float32) for edge in (low, high))
    smallest, largest = first * step, last * step

    @ops.custom_gradient
    def through(x: Any) -> tuple[Any, Any]:
        steps = ops.clip(x / step, first, last)
        rounded = ops.sign(steps) * ops.floor(ops.abs(steps) + 0.5)

        def grad(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.logical_and(x >= smallest, x <= largest)
            return ops.where(inside, upstream, ops.zeros_like(upstream))

        return rounded * step, grad

    return through(x)
