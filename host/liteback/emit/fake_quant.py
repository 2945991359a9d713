"""Fake-quantization at the device's recorded scales, with a straight-through gradient."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from ..ir import CODE_RANGE, Tensor


@keras.saving.register_keras_serializable(package="liteback")
class FakeQuant(keras.layers.Layer):
    """Rounds to the grid a quantized tensor can hold: y = scale * (clip(round(x / scale) + zero_point) - zero_point).

    scale: float, of the whole tensor. zero_point: int. low, high: the type's smallest and largest code. The gradient
    is 1 inside the range and 0 where the codes saturate (Jacob et al. 2018, arXiv:1712.05877). Halves are rounded
    away from zero, as TfLiteRound does.
    """

    def __init__(self, scale: float, zero_point: int, low: int, high: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.zero_point, self.low, self.high = scale, zero_point, low, high

    @classmethod
    def like(cls, tensor: Tensor, **kwargs: Any) -> FakeQuant:
        """The grid of a tensor that is quantized per tensor."""
        if tensor.quantization is None:
            raise ValueError(f"tensor {tensor.index} is not quantized")
        low, high = CODE_RANGE[tensor.dtype]
        return cls(float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0]), low, high, **kwargs)

    def call(self, x: Any) -> Any:
        return on_grid(x, self.scale, self.zero_point, self.low, self.high)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"scale": self.scale, "zero_point": self.zero_point, "low": self.low, "high": self.high}
        return {**super().get_config(), **own}


def on_grid(x: Any, scale: float, zero_point: int, low: int, high: int) -> Any:
    """x rounded to the nearest value that a code of [low, high] stands for; see `FakeQuant`."""
    step = np.maximum(np.float32(scale), np.finfo(np.float32).tiny)  # TensorFlow takes a smaller scale for 0
    smallest, largest = ((edge - zero_point) * step for edge in (low, high))

    @ops.custom_gradient
    def through(x: Any) -> tuple[Any, Any]:
        steps = ops.clip(x / step, low - zero_point, high - zero_point)
        rounded = ops.sign(steps) * ops.floor(ops.abs(steps) + 0.5)

        def grad(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            inside = ops.logical_and(x >= smallest, x <= largest)
            return ops.where(inside, upstream, ops.zeros_like(upstream))

        return rounded * step, grad

    return through(x)
