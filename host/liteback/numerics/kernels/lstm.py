"""Integer LSTMs: 8-bit inputs and weights, 16-bit gates and cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.emit.lstm_inputs import GATES, LSTM_WEIGHTS, NORMS
from liteback.numerics.fixed_point import Multiplier, multiply, rounding_divide_by_pot
from liteback.numerics.gemmlowp import logistic_table, tanh_table
from liteback.numerics.kernels.common import Codes, accumulate
from liteback.numerics.kernels.roots import inverse_root, scaled
from liteback.numerics.kernels.sequence import Held, batch_of, held, initial, run
from liteback.numerics.operator import Operand, Operator

H_AT, C_AT = len(LSTM_WEIGHTS) + 1, len(LSTM_WEIGHTS) + 2
GATE_BITS = 3  # integer bits of what a gate's function is applied to, and of all numbers there


def integer_lstm(op: Operator, x: Codes, rest: tuple[Codes | None, ...]) -> Any:
    """x (N,T,I), or (T,N,I) time_major, or (N,I) -> (..., O), and the states (N,O), (N,C).

    Source: EvalInteger8x8_16 (tensorflow/lite/kernels/lstm_eval.cc), PopulateQuantizedLstmParams8x8_16
    (unidirectional_sequence_lstm.cc) (v2.14.0).
    """
    if len(op.intermediates) != 5:
        raise NotImplementedError(f"no exact kernel for an LSTM of {len(op.intermediates)} intermediate tensors")
    cell = _Cell.of(op, rest)
    time_major = bool(op.options.get("time_major"))
    batch, out = batch_of(x, time_major), op.input(H_AT)
    h, c = (rest[i - 1] for i in (H_AT, C_AT))
    states = [
        initial(h, batch, out.shape[-1], tf.int64, out.zero_point),
        initial(c, batch, op.input(C_AT).shape[-1], tf.int64),
    ]
    y, h, c = run(cell.step, [x], states, time_major)
    return [tf.cast(y, tf.int8), tf.cast(h, tf.int8), tf.cast(c, tf.int16)]


@dataclass(frozen=True)
class _Cell:
    """weights: by the names of LSTM_WEIGHTS and NORMS. scales: what the sum at each gate is in."""

    op: Operator
    weights: dict[str, Held]
    scales: dict[str, np.float32]

    @classmethod
    def of(cls, op: Operator, rest: tuple[Codes | None, ...]) -> _Cell:
        weights = {**held(op, LSTM_WEIGHTS, rest), **held(op, NORMS, rest[C_AT:], C_AT + 1)}
        normed = "forget_norm" in weights
        scales = (o.scale if normed else np.float32(2.0**-12) for o in op.intermediates[:4])
        return cls(op, weights, dict(zip(GATES, scales, strict=True)))

    def step(self, inputs: list[Any], states: list[Any]) -> list[Any]:
        """Codes; those of the states are int64.

        Source: LstmStepInteger8x8_16, UpdateLstmCellInteger, CalculateLstmOutputInteger8x8_16 (lstm_eval.cc).
        """
        (x,), (h, c) = inputs, states
        exponent = int(np.frexp(float(self.op.input(C_AT).scale))[1]) - 1  # of the cell's scale, a power of two
        sigmoid, tanh = logistic_table(GATE_BITS), tanh_table(GATE_BITS)
        forget = _looked_up(sigmoid, self._gate("forget", x, h, c))
        coupled = "input_to_input" not in self.weights
        let_in = 32767 - forget if coupled else _looked_up(sigmoid, self._gate("input", x, h, c))
        candidate = _looked_up(tanh, self._gate("cell", x, h, c))
        kept, new = self._halved(forget * c, 15), self._halved(let_in * candidate, 30 + exponent)
        c = _clipped(_to_int16(kept + new), self.op.options["cell_clip"], self.op.input(C_AT), 32767)
        output = _looked_up(sigmoid, self._gate("output", x, h, c))
        # Of a cell below 0.5 ApplyTanh makes nothing: what it was to overwrite, the input gate, stands in.
        shown = let_in if exponent < -15 and not coupled else _looked_up(tanh_table(15 + exponent), c)
        return [self._result(output * shown), c]

    def _gate(self, gate: str, x: Any, h: Any, c: Any) -> Any:
        """The sum at a gate, of 16 bits. Source: CalculateLstmGateInteger8x8_16 (lstm_eval.cc)."""
        op, scale = self.op, self.scales[gate]
        normed = f"{gate}_norm" in self.weights
        total = self._product(f"input_to_{gate}", x, op.input(0), scale, None if normed else f"{gate}_bias")
        total = _to_int16(total)
        total = _to_int16(total + self._product(f"recurrent_to_{gate}", h, op.input(H_AT), scale))
        peephole = self.weights.get(f"peephole_to_{gate}")
        if peephole is not None:
            by = Multiplier.of(op.input(C_AT).scale * peephole.scale / scale)
            total = _to_int16(total + self._scaled(peephole.values.astype(np.int64) * c, by))
        return self._normed(gate, total) if normed else total

    def _product(self, name: str, x: Any, data: Operand, to: np.float32, bias: str | None = None) -> Any:
        """(w (x - z) + b) s_w s_x / to."""
        w = self.weights[name]
        acc = accumulate(_row_products, x, w.values, data, w.operand, taps=(1,))
        acc = tf.cast(acc, tf.int64)
        if bias is not None and bias in self.weights:
            acc = acc + self.weights[bias].values.astype(np.int64)
        return self._scaled(acc, Multiplier.of(w.scale * data.scale / to))

    def _normed(self, gate: str, x: Any) -> Any:
        """norm * (x - mean) / deviation + bias. Source: PortableApplyLayerNorm (portable_tensor_utils.cc, v2.14.0)."""
        norm, bias = self.weights[f"{gate}_norm"], self.weights[f"{gate}_bias"]
        count = int(norm.values.size)
        mean = _quotient(tf.reduce_sum(x, -1, keepdims=True) * 1024, count)
        variance = tf.reduce_sum(x * x, -1, keepdims=True) * ((1 << 20) // count) - mean * mean
        variance = _quotient(variance, 1 << 20)
        guard = max(1, int(np.float32(10000) * norm.scale))
        m, right = inverse_root(tf.where(variance < 1, tf.constant(guard, tf.int64), variance))
        value = scaled(1024 * x - mean, m, right, up=0) * norm.values.astype(np.int64) + bias.values.astype(np.int64)
        value = _quotient(value + tf.where(value > 0, tf.constant(512, tf.int64), tf.constant(-512, tf.int64)), 1024)
        by = Multiplier.of(norm.scale)
        return _to_int16(self._scaled(value, Multiplier(by.m, by.shift + 12, by.float32)))

    def _result(self, product: Any) -> Any:
        """The output gate times the cell's tanh, in codes; projected, where there are weights for that."""
        inner, out = self.op.intermediates[4], self.op.input(H_AT)
        hidden = self._scaled(product, Multiplier.of(np.float32(2.0**-30) / inner.scale))
        if "projection" not in self.weights:
            return _to_int8(hidden + inner.zero_point)
        hidden = _to_int8(hidden + inner.zero_point)
        result = self._product("projection", hidden, inner, out.scale, "projection_bias") + out.zero_point
        return _clipped(_to_int8(result), self.op.options["proj_clip"], out, 127)

    def _scaled(self, x: Any, by: Multiplier) -> Any:
        return multiply(x, by, self.op.variant)

    def _halved(self, x: Any, bits: int) -> Any:
        return rounding_divide_by_pot(x, bits)


def basic_lstm(op: Operator, x: Codes, h: Codes, w: Codes, b: Codes, c: Codes) -> list[Any]:
    """One step of uint8: x (N,I), h (N,O), w (4 O,I+O), b (4 O,), c (N,O) int16 -> h, c, [x, h], the sums at the gates.

    Source: LstmCell (tensorflow/lite/kernels/internal/reference/reference_ops.h), lstm.cc (v2.14.0).
    """
    joined = tf.concat([x, h], -1)
    acc = accumulate(_row_products, joined, w, op.input(0), op.input(2), taps=(1,))
    acc = tf.cast(acc, tf.int64) + tf.cast(b, tf.int64)
    sums = _to_int16(multiply(acc, Multiplier.of(float(4096 * op.input(3).scale)), op.variant))
    i, g, f, o = tf.split(sums, 4, -1)
    sigmoid, tanh = logistic_table(GATE_BITS), tanh_table(GATE_BITS)
    new = rounding_divide_by_pot(_times(_looked_up(sigmoid, i), _looked_up(tanh, g)), BASIC_BITS)
    after = _to_int16(new + _times(_looked_up(sigmoid, f), tf.cast(c, tf.int64)))
    result = _times(_looked_up(sigmoid, o), _looked_up(tanh, _to_int16(2 * after)))
    y = 128 + _to_int8(rounding_divide_by_pot(result, 8))
    after = tf.cast(after, tf.int16)
    y = tf.cast(y, tf.uint8)
    return [y, after, joined, tf.cast(sums, tf.int16), y, after]


BASIC_BITS = 4  # integer bits of the cell's state


def _row_products(x: Any, w: Any) -> Any:
    return tf.matmul(x, w, transpose_b=True)


def _times(a: Any, b: Any) -> Any:
    """A product of 16-bit numbers, halves up."""
    return tf.bitwise.right_shift(a * b + (1 << 14), tf.constant(15, tf.int64))


def _looked_up(table: NDArray[np.int16], x: Any) -> Any:
    return tf.cast(tf.gather(table, x + 32768), tf.int64)


def _quotient(x: Any, divisor: int) -> Any:
    """x / divisor, cut to an integer towards zero."""
    return tf.sign(x) * (tf.abs(x) // divisor)


def _to_int16(x: Any) -> Any:
    return tf.clip_by_value(x, tf.constant(-32768, tf.int64), tf.constant(32767, tf.int64))


def _to_int8(x: Any) -> Any:
    return tf.clip_by_value(x, tf.constant(-128, tf.int64), tf.constant(127, tf.int64))


def _clipped(x: Any, bound: float, operand: Operand, most: int) -> Any:
    """Codes clipped at a real number; 0 for not at all."""
    if bound <= 0:
        return x
    edge = int(min(np.float32(bound) / operand.scale, np.float32(most)))
    return tf.clip_by_value(x, tf.constant(-edge, tf.int64), tf.constant(edge, tf.int64))
