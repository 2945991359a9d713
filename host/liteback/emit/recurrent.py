"""Recurrent layers for what Keras' own lack: peepholes, projection, layer norm, coupled gates, clipping, SVDF.

Weights keep the file's layout, (units, inputs). The state comes in and goes out as tensors; what lasts from call to
call is `state.Memory`'s business. In `fakequant` the layers round where the kernels do.

Source: tensorflow/lite/kernels/lstm_eval.cc, internal/kernel_utils.cc, svdf.cc (v2.14.0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import ops

from liteback.emit.fake_quant import on_grid
from liteback.emit.hybrid import quantize_rows
from liteback.numerics.kernels.hybrid_recurrent import sign_bit

INT8, INT16 = (-128, 127), (-32768, 32767)
Grid = Sequence[Any]  # scale, zero point, smallest code, largest code


class _Recurrent(keras.layers.Layer):
    """A layer over sequences (batch, time, features) whose step is a function of weights, input and state.

    weights: name -> shape, in order. takes: what the layer is called on, of `x`, `aux` and the states; the states that
    are not given start at zero. It gives the first state after each step, and all states after the last. backwards: the
    last step comes first; the results stay in the order of the steps. hybrid: None, or whether a hybrid kernel
    quantizes the activations with a zero point (`asymmetric`) or without (`symmetric`). rounds: how often the sequence
    is run through, each time from the state that the last time left.
    """

    states: tuple[str, ...] = ()

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        takes: Sequence[str] = ("x",),
        activation: str = "linear",
        backwards: bool = False,
        hybrid: str | None = None,
        rounds: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rounds = rounds
        self.shapes = {name: list(shape) for name, shape in shapes.items()}
        self.takes, self.activation, self.backwards, self.hybrid = list(takes), activation, backwards, hybrid
        self.act = _function(activation)
        self.held = {
            name: self.add_weight(shape=tuple(shape), initializer="zeros", name=name)
            for name, shape in self.shapes.items()
        }

    def call(self, inputs: Any) -> Any:
        given = dict(zip(self.takes, inputs if isinstance(inputs, (list, tuple)) else [inputs], strict=True))
        x = given["x"]
        weights = {name: ops.convert_to_tensor(variable) for name, variable in self.held.items()}
        states = [given.get(name, self.zeros(name, x)) for name in self.states]
        steps = [ops.swapaxes(given[name], 0, 1) for name in ("x", "aux") if name in given]
        if steps[0].shape[0] == 1:
            states = self.step(weights, [s[0] for s in steps], states)
            return [ops.expand_dims(states[0], 1), *states]
        for _ in range(self.rounds):
            every = tf.scan(
                lambda states, now: self.step(weights, list(now), states), steps, states, reverse=self.backwards
            )
            states = [s[0 if self.backwards else -1] for s in every]
        return [ops.swapaxes(every[0], 0, 1), *states]

    def zeros(self, state: str, x: Any) -> Any:
        return ops.zeros((ops.shape(x)[0], self.width(state)), x.dtype)

    def width(self, state: str) -> int:
        """The extent of a state."""
        raise NotImplementedError

    def step(self, weights: Mapping[str, Any], x: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        """x: input and auxiliary input of one step -> the states after it."""
        raise NotImplementedError

    def times(self, weight: Any, x: Any) -> Any:
        """weight x for each row of x; a vector stands for a diagonal matrix."""
        x = x if self.hybrid is None else quantize_rows(x, self.hybrid == "asymmetric")
        return x * weight if len(weight.shape) == 1 else ops.matmul(x, ops.transpose(weight))

    def get_config(self) -> dict[str, Any]:
        own = ("shapes", "takes", "activation", "backwards", "hybrid", "rounds")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable(package="liteback")
class Rnn(_Recurrent):
    """h = activation(W x + A aux + R h + b).

    weights: input, recurrent, bias if there is one, and aux where there is an auxiliary input that has weights.
    """

    states = ("h",)

    def width(self, state: str) -> int:
        return int(self.shapes["input"][0])

    def step(self, weights: Mapping[str, Any], x: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        total = self.times(weights["input"], x[0]) + self.times(weights["recurrent"], states[0])
        total = total + weights.get("bias", 0.0)
        if "aux" in weights:
            total = total + self.times(weights["aux"], x[1])
        return [self.act(total)]


@keras.saving.register_keras_serializable(package="liteback")
class Lstm(_Recurrent):
    """The LSTM of the runtime, with all that may be there or not.

        i, f, o = sigmoid(gate(.)), g = activation(gate(cell)); without weights of its own, i = 1 - f
        gate = N(W x + A aux + R h + P c), N(v) = v + b, or norm * (v - mean) / std + b
        c' = clip(f c + i g, cell_clip);  h' = clip(J (o activation(c')) + b_J, proj_clip)

    Where the activation is NONE, the kernel does not write activation(c'), and multiplies what it left there: g.
    Source: CalculateLstmOutputFloat (tensorflow/lite/kernels/lstm_eval.cc), ApplyActivationToVector
    (kernels/internal/portable_tensor_utils.h) (v2.14.0).

    weights: {input, aux, recurrent, peephole}_to_GATE, GATE_norm, GATE_bias, projection, projection_bias. P for the
    output gate reads c'. clips: cell_clip, proj_clip; 0 for none. grids: where an integer kernel rounds: the sum at
    each gate (`input`, `forget`, `cell`, `output`), what the gate and the activation give (`unit`), the cell state
    (`state`), what is projected (`hidden`), the result (`result`).
    """

    states = ("h", "c")

    def __init__(
        self, *args: Any, clips: Sequence[float] = (0.0, 0.0), grids: Mapping[str, Grid] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.clips, self.grids = [float(c) for c in clips], {k: list(v) for k, v in (grids or {}).items()}

    def width(self, state: str) -> int:
        name = "projection" if state == "h" and "projection" in self.shapes else "recurrent_to_forget"
        return int(self.shapes[name][0])

    def step(self, weights: Mapping[str, Any], x: Sequence[Any], states: Sequence[Any]) -> list[Any]:
        h, c = states
        forget = self.unit(ops.sigmoid(self.gate("forget", weights, x, h, c)))
        coupled = "input_to_input" not in weights
        let_in = 1 - forget if coupled else self.unit(ops.sigmoid(self.gate("input", weights, x, h, c)))
        candidate = self.unit(self.act(self.gate("cell", weights, x, h, c)))
        c = self.round("state", self.round("state", forget * c) + self.round("state", let_in * candidate))
        c = _clip(c, self.clips[0])
        output = self.unit(ops.sigmoid(self.gate("output", weights, x, h, c)))
        # The integer kernel leaves out the activation of a cell below 0.5: see numerics/kernels/lstm.py.
        skipped = "state" in self.grids and self.grids["state"][0] < 2.0**-15 and not coupled
        left = let_in if skipped else candidate if self.activation == "linear" else self.unit(self.act(c))
        h = self.round("hidden", output * left)
        if "projection" in weights:
            h = self.times(weights["projection"], h)
            h = h + weights["projection_bias"] if "projection_bias" in weights else h
            h = _clip(self.round("result", h), self.clips[1])
        return [h, c]

    def gate(self, name: str, weights: Mapping[str, Any], x: Sequence[Any], h: Any, c: Any) -> Any:
        """The sum that a gate's nonlinearity is applied to."""
        norm, bias = weights.get(f"{name}_norm"), weights.get(f"{name}_bias", 0.0)
        total = self.times(weights[f"input_to_{name}"], x[0])
        total = self.round(name, total if norm is not None else total + bias)
        if f"aux_to_{name}" in weights:
            total = total + self.times(weights[f"aux_to_{name}"], x[1])
        total = self.round(name, total + self.times(weights[f"recurrent_to_{name}"], h))
        if f"peephole_to_{name}" in weights:
            total = self.round(name, total + weights[f"peephole_to_{name}"] * c)
        if norm is None:
            return total
        mean, variance = ops.moments(total, axes=[-1], keepdims=True)
        return self.round("normed", (total - mean) * ops.rsqrt(variance + 1e-8) * norm + bias)

    def unit(self, x: Any) -> Any:
        return self.round("unit", x)

    def round(self, place: str, x: Any) -> Any:
        return on_grid(x, *self.grids[place]) if place in self.grids else x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "clips": self.clips, "grids": self.grids}


@keras.saving.register_keras_serializable(package="liteback")
class Svdf(keras.layers.Layer):
    """A rank-`rank` filter over features and time, one step a call.

        s' = the last memory values of s, then F x;  y_u = sum over the rank's filters and time of T s' + b_u

    weights: feature (filters, inputs), time (filters, memory), bias (units,), filters = rank * units. Called on x
    (batch, inputs) and s (batch, filters * memory), or x alone, then s is zero; gives y (batch, units) and s'.
    hybrid: as in `Lstm`. grid: that of the state, where the kernel rounds to it.
    """

    def __init__(
        self,
        shapes: Mapping[str, Sequence[int]],
        rank: int,
        activation: str = "linear",
        hybrid: str | None = None,
        grid: Grid | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shapes = {name: list(shape) for name, shape in shapes.items()}
        self.rank, self.activation, self.hybrid, self.grid = rank, activation, hybrid, grid
        self.act = _function(activation)
        for name, shape in self.shapes.items():
            setattr(self, name, self.add_weight(shape=tuple(shape), initializer="zeros", name=name))

    def call(self, inputs: Any) -> Any:
        x, state = inputs if isinstance(inputs, (list, tuple)) else (inputs, None)
        filters, memory = self.shapes["time"]
        x = x if self.hybrid is None else quantize_rows(x, self.hybrid == "asymmetric")
        new = ops.matmul(x, ops.transpose(self.feature))
        new = on_grid(new, *self.grid) if self.grid is not None else new
        batch = ops.shape(x)[0]
        old = ops.zeros((batch, filters, memory)) if state is None else ops.reshape(state, (batch, filters, memory))
        now = ops.concatenate([old[:, :, 1:], ops.expand_dims(new, -1)], axis=-1)
        each = ops.sum(now * self.time, axis=-1)
        total = ops.sum(ops.reshape(each, (batch, filters // self.rank, self.rank)), axis=-1)
        total = total + self.bias if "bias" in self.shapes else total
        return [self.act(total), ops.reshape(now, (batch, filters * memory))]

    def get_config(self) -> dict[str, Any]:
        own = ("shapes", "rank", "activation", "hybrid", "grid")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _function(activation: str) -> Any:
    return sign_bit if activation == "sign_bit" else keras.activations.get(activation)


def _clip(x: Any, bound: float) -> Any:
    return ops.clip(x, -bound, bound) if bound > 0 else x
