"""Functions as the int16 kernels compute them: straight lines between the points of a table.

The points and the steps between them are rounded, so results stray from the function, far from it where it is steep.
In `fakequant` a `TableLookup` gives the kernel's own results, with the slope of its lines as the gradient.

Source: LUTPopulateInt16 and LUTLookup in tensorflow/lite/kernels/internal/common.h, TanhPrepare in
kernels/activations.cc, Tanh and Logistic in kernels/internal/reference/integer_ops/{tanh,logistic}.h (v2.14.0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from liteback.emit.registry import Context, Layer
from liteback.ir import Tensor
from liteback.numerics.affine import round_half_away
from liteback.numerics.fixed_point import DOUBLE, Multiplier, multiply
from liteback.numerics.gemmlowp import logistic_table, tanh_table

Points = NDArray[np.float32]
LOW, HIGH = np.float32(-32768), np.float32(32767)


def _gelu(x: Points) -> Points:
    return np.asarray([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], np.float32)


def _gelu_approximate(x: Points) -> Points:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), np.float32)


# (x, the scale of the result) -> the function at x. Outside of its domain a kernel saturates.
FUNCTIONS: dict[str, Callable[[Points, np.float32], Points]] = {
    "EXP": lambda x, scale: np.exp(x),
    "GELU": lambda x, scale: _gelu(x),
    "GELU_APPROXIMATE": lambda x, scale: _gelu_approximate(x),
    "LOG": lambda x, scale: np.where(x > 0, np.log(np.maximum(x, np.finfo(np.float32).tiny)), LOW * scale),
    "RSQRT": lambda x, scale: np.where(x > 0, 1 / np.sqrt(np.maximum(x, np.finfo(np.float32).tiny)), HIGH * scale),
}


def looked_up(function: str, x: Any, context: Context, out: Tensor) -> Layer | None:
    """The layer that computes a function as its int16 kernel does, where such a kernel computes it."""
    scales = _int16_scales(context, out)
    if scales is None:
        return None
    scale, out_scale = scales
    return Layer(TableLookup, x, config={"function": function, "scale": scale, "out_scale": out_scale})


def softmax_looked_up(x: Any, context: Context, out: Tensor, beta: float) -> Layer | None:
    """The layer that computes SOFTMAX as its int16 kernel does, where that computes it."""
    scales = _int16_scales(context, out)
    return Layer(TableSoftmax, x, config={"scale": scales[0], "beta": beta}) if scales else None


def _int16_scales(context: Context, out: Tensor) -> tuple[float, float] | None:
    """The scales of a node from int16 codes to int16 codes, where those are to be reproduced."""
    source = context.sources[0]
    if context.numerics != "fakequant" or source is None or source.dtype != "int16" or out.dtype != "int16":
        return None
    if source.quantization is None or out.quantization is None:
        return None
    return float(source.quantization.scale[0]), float(out.quantization.scale[0])


@keras.saving.register_keras_serializable(package="liteback")
class TableLookup(keras.layers.Layer):
    """A function of int16 codes: y = out_scale * lookup(round(x / scale)).

    function: a name of FUNCTIONS or SIGMOIDS. scale, out_scale: of the input's and the result's codes; both zero
    points are 0.
    """

    def __init__(self, function: str, scale: float, out_scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function, self.scale, self.out_scale = function, scale, out_scale
        if function in SIGMOIDS:
            fixed = FixedPoint.of(function, scale)
            self._lookup: Callable[[Any], tuple[Any, Any]] = fixed or Sigmoid(function, scale)
        else:
            self._lookup = function_lines(function, np.float32(scale), np.float32(out_scale))

    def call(self, x: Any) -> Any:
        @ops.custom_gradient
        def through(x: Any) -> tuple[Any, Any]:
            codes = ops.cast(ops.round(ops.clip(x / np.float32(self.scale), LOW, HIGH)), "int32")
            result, slope = self._lookup(codes)

            def grad(*args: Any, upstream: Any = None) -> Any:
                upstream = args[0] if upstream is None else upstream
                return upstream * slope * (self.out_scale / self.scale)

            return ops.cast(result, "float32") * np.float32(self.out_scale), grad

        return through(x)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        own = {"function": self.function, "scale": self.scale, "out_scale": self.out_scale}
        return {**super().get_config(), **own}


def populate(function: Callable[[Any], Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> NDArray[np.int32]:
    """The 513 points of a table, each moved by half the error that its line makes in the middle.

    inputs, outputs: the real values of the lowest and the highest code, in the floating-point type to work in.
    """
    (low, high), dtype = inputs, np.asarray(inputs[0]).dtype
    step = (high - low) / dtype.type(512)
    per_code = dtype.type(65536) / (outputs[1] - outputs[0])
    edges = low + np.arange(513, dtype=dtype) * step
    with np.errstate(over="ignore", invalid="ignore"):  # infinity - infinity; what is beyond the codes saturates
        value, middle, following, last = (
            np.asarray(function(x), dtype) * per_code
            for x in (edges[:-1], edges[:-1] + step / 2, edges[1:], np.asarray([high], dtype))
        )
        error = round_half_away((following + round_half_away(value)) / 2) - round_half_away(middle)
        points = round_half_away(value) - round_half_away(error / 2)
    points = np.where(np.isfinite(points), points, HIGH)
    return np.clip(np.append(points, round_half_away(last)), LOW, HIGH).astype(np.int32)


def function_lines(function: str, scale: np.float32, out_scale: np.float32) -> Lines:
    """The lines of a function of FUNCTIONS, over all int16 codes."""
    ends = [(s * LOW, s * HIGH) for s in (scale, out_scale)]
    return Lines(populate(lambda x: FUNCTIONS[function](x, out_scale), *ends))


class Lines:
    """128 codes to a line. Called on int32 codes: the results, and the slopes there."""

    def __init__(self, points: NDArray[np.int32]) -> None:
        self.points = points

    def __call__(self, codes: Any) -> tuple[Any, Any]:
        index = 256 + ops.right_shift(codes, 7)
        base = ops.take(self.points, index)
        slope = ops.take(self.points, index + 1) - base
        result = base + ops.right_shift(slope * ops.bitwise_and(codes, 127) + 64, 7)
        return result, ops.cast(slope, "float32") / 128


# How many bits of the scaled input lie within one line of the sigmoid's table.
SIGMOIDS = {"LOGISTIC": 9, "TANH": 8}
# 65536 sigmoid(i / 24), rounded; the kernels' table has one more at these places, as measured on tflite-runtime 2.14.
_RAISED = [4, 8, 12, 14, 15, 16, 17, 19, 20, 21, 22, 25, 27, 28, 29, 30, 31, 33, 34, 35, 37, 39, 40, 41, 43, 44, 45, 46]
_RAISED += [49, 50, 54, 62, 63, 64, 66, 82, 86, 93, 100, 103, 112, 116, 135, 255]
SIGMOID_POINTS = np.round(65536 / (1 + np.exp(-np.arange(256) / 24))).clip(max=65535).astype(np.int32)
SIGMOID_POINTS[_RAISED] += 1


class Sigmoid:
    """The sigmoid of |x| at steps of 1/24, and tanh(x) = 2 sigmoid(2 x) - 1 from the same points."""

    def __init__(self, function: str, scale: float) -> None:
        self.bits, self.tanh = SIGMOIDS[function], function == "TANH"
        multiplier, self.shift = scale * 4096 * 3, 0
        while multiplier <= 32767 / 2 and self.shift <= 30:
            multiplier, self.shift = multiplier * 2, self.shift + 1
        self.multiplier = int(multiplier)

    def __call__(self, codes: Any) -> tuple[Any, Any]:
        half = 1 << (self.shift - 1) if self.shift else 0
        scaled = ops.right_shift(codes * self.multiplier + half, self.shift)
        size, bits = ops.absolute(scaled), self.bits
        index = ops.minimum(ops.right_shift(size, bits), 254)
        base = ops.take(SIGMOID_POINTS, index)
        slope = ops.take(SIGMOID_POINTS, index + 1) - base
        line = ops.left_shift(base, bits) + slope * ops.bitwise_and(size, (1 << bits) - 1)
        inside = ops.right_shift(size, bits) < 255
        # Beyond the table: the constants of the kernels.
        line = ops.where(inside, line, (0xFFFF << 8) if self.tanh else (0x7FFF << 10))
        result = _tanh(line, scaled) if self.tanh else _logistic(line, scaled)
        per_code = self.multiplier / 2**self.shift / 2 ** (8 if self.tanh else 10)
        return result, ops.where(inside, ops.cast(slope, "float32") * per_code, 0.0)


@dataclass(frozen=True)
class FixedPoint:
    """The sigmoid and tanh of scales for which the optimized kernels have arithmetic in fixed point.

    Source: Logistic and Tanh of int16 in kernels/internal/optimized/optimized_ops.h, TanhEval and LogisticEval in
    kernels/activations.cc (v2.14.0).
    """

    tanh: bool
    doubled: int  # how often a code is doubled so that it has 3 integer bits

    @classmethod
    def of(cls, function: str, scale: float) -> FixedPoint | None:
        """None for a scale that the kernels use a table for."""
        doubled = {2.0**-12: 0, 2.0**-11: 1}.get(scale)
        return None if doubled is None or (function == "LOGISTIC" and doubled) else cls(function == "TANH", doubled)

    def __call__(self, codes: Any) -> tuple[Any, Any]:
        table = tanh_table(3) if self.tanh else logistic_table(3)
        place = ops.clip(ops.left_shift(codes, self.doubled), int(LOW), int(HIGH)) - int(LOW)
        result = ops.take(table.astype(np.int32), place)
        y = ops.cast(result, "float32") / 32768
        return result, (1 - y * y if self.tanh else y - y * y) * 2.0 ** (3 + self.doubled)


def _tanh(line: Any, x: Any) -> Any:
    half = 1 << 23
    return ops.right_shift(ops.where(x >= 0, line - half + 128, half - line + 127), 8)


def _logistic(line: Any, x: Any) -> Any:
    return ops.right_shift(ops.where(x >= 0, line + 512, (1 << 25) - line + 511), 10)


@keras.saving.register_keras_serializable(package="liteback")
class TableSoftmax(keras.layers.Layer):
    """exp(beta x) / sum(exp(beta x)) over the last axis, of int16 codes: exp and 1 / (1 + x) come from tables.

    scale: of the input's codes; the result's is 1/32768. Source: SoftmaxInt16 in
    kernels/internal/reference/softmax.h (v2.14.0).
    """

    def __init__(self, scale: float, beta: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale, self.beta = scale, beta
        unit = 1 / 65535
        ends = (-65536 * unit, 65534 * unit)
        self._exp = Lines(populate(np.exp, (-655350 * unit, 0.0), ends))
        self._inverse = Lines(populate(lambda x: 1 / (1 + x), (0.0, 65535 * unit), ends))

    def call(self, x: Any) -> Any:
        @ops.custom_gradient
        def through(x: Any) -> tuple[Any, Any]:
            codes = ops.round(x / np.float32(self.scale))
            largest = ops.max(codes, axis=-1, keepdims=True, initial=-32768.0)  # of no rows as well
            y = ops.cast(self._codes(codes - largest), "float32") / 32768

            def grad(*args: Any, upstream: Any = None) -> Any:
                upstream = args[0] if upstream is None else upstream
                return self.beta * y * (upstream - ops.sum(upstream * y, axis=-1, keepdims=True))

            return y, grad

        return through(x)

    def _codes(self, below: Any) -> Any:
        """The result's codes, from how far each code is below the largest."""
        per_code = Multiplier.of(self.scale * self.beta / (10.0 / 65535.0))  # 65535 steps to exp(-10)
        return self.shares(ops.cast(multiply(ops.cast(below, "int32"), per_code, DOUBLE), "int64"))

    def shares(self, steps: Any) -> Any:
        """The result's codes, from how far each is below the largest in steps of 10 / 65535 (int64)."""
        powers, _ = self._exp(ops.cast(ops.clip(steps + 32767, -32768, 32767), "int32"))
        powers = ops.cast(powers, "int64")
        total = ops.sum(powers, axis=-1, keepdims=True)
        bits = ops.sum(ops.cast(total >= 2 ** np.arange(1, 32), "int64"), axis=-1, keepdims=True)
        mantissa = ops.right_shift(ops.left_shift(total, 30 - bits) + (1 << 13), 14)  # of [1, 2), 16 bits of fraction
        inverse, _ = self._inverse(ops.cast(ops.clip(mantissa - (3 << 15), -32768, 32767), "int32"))
        half = ops.left_shift(ops.ones_like(bits), bits - 1)
        return ops.clip(ops.right_shift(powers * ops.cast(inverse, "int64") + half, bits), 0, 32767)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale": self.scale, "beta": self.beta}
