"""Hybrid recurrent kernels: float states, weights in codes; each product quantizes its activations anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.kernels import eigen
from liteback.numerics.kernels.common import fused32, product32, quotient32, separate32, sum32, sum_in_order
from liteback.numerics.kernels.hybrid import quantize_rows, signed
from liteback.numerics.kernels.neon import NEON
from liteback.numerics.kernels.sequence import Held

PLAIN = "plain"
VARIANTS = (PLAIN, NEON)
MADD = {PLAIN: separate32, NEON: fused32}


def activate(name: str, x: Any, variant: str) -> Any:
    """The activation of real values, as the kernel set computes it."""
    return eigen.tanh(x, MADD[variant]) if name == "TANH" else FUNCTIONS[name](x)


def sign_bit(x: Any) -> Any:
    """1 where the sign bit of a float32 is set, which that of -0 is, else 0: std::signbit. No gradient comes back."""
    return tf.cast(tf.bitcast(x, tf.int32) < 0, tf.float32)


FUNCTIONS = {
    "NONE": tf.identity,
    "RELU": tf.nn.relu,
    "RELU6": tf.nn.relu6,
    "RELU_N1_TO_1": lambda x: tf.clip_by_value(x, -1.0, 1.0),
    "SIGN_BIT": sign_bit,
}


def add_product(total: Any, rows: Any, w: Held, asymmetric: bool, variant: str) -> Any:
    """total + rows w: the rows are quantized, each at its own scale.

    Source: PortableMatrixBatchVectorMultiplyAccumulate (reference/portable_tensor_utils.cc),
    NeonMatrixBatchVectorMultiplyAccumulate (optimized/neon_tensor_utils.cc) (v2.14.0).
    """
    codes, scale, zero = quantize_rows(rows, asymmetric, [1], variant)
    kernel = tf.constant(np.transpose(signed(w.values)).astype(np.float64))
    acc = tf.matmul(tf.cast(codes - zero, tf.float64), kernel)
    return MADD[variant](tf.cast(acc, tf.float32), scale * w.scale, total)


@dataclass(frozen=True)
class HybridRnn:
    """h = activation(b + W x + A aux + R h).

    Source: RnnBatchStep (tensorflow/lite/kernels/internal/kernel_utils.cc, v2.14.0).
    """

    weights: Mapping[str, Held]
    activation: str
    asymmetric: bool
    variant: str

    def step(self, inputs: list[Any], states: list[Any]) -> list[Any]:
        total = tf.constant(self.weights["bias"].values)
        for name, rows in (*zip(("input", "aux"), inputs, strict=False), ("recurrent", states[0])):
            total = add_product(total, rows, self.weights[name], self.asymmetric, self.variant)
        return [activate(self.activation, total, self.variant)]


@dataclass(frozen=True)
class HybridLstm:
    """The LSTM of `emit.recurrent.Lstm`, each operation rounded as the kernel does.

    weights: by the names of LSTM_WEIGHTS, AUXILIARY and NORMS. together: the kernel computes the rows of a batch at
    once, not one after the other; it matters for which elements of a gate are computed in packets.

    Source: LstmStepHybrid, CalculateLstmGateHybrid, UpdateLstmCellFloat, CalculateLstmOutputHybrid
    (tensorflow/lite/kernels/lstm_eval.cc, v2.14.0).
    """

    weights: Mapping[str, Held]
    activation: str
    asymmetric: bool
    together: bool
    variant: str
    clips: tuple[float, float] = (0.0, 0.0)

    def step(self, inputs: list[Any], states: list[Any]) -> list[Any]:
        h, c = states
        madd = MADD[self.variant]
        forget = self._sigmoid("forget", self._gate("forget", inputs, h, c))
        coupled = "input_to_input" not in self.weights
        let_in = np.float32(1) - forget if coupled else self._sigmoid("input", self._gate("input", inputs, h, c))
        candidate = activate(self.activation, self._gate("cell", inputs, h, c), self.variant)
        c = _clipped(madd(candidate, let_in, product32(forget, c)), self.clips[0])
        output = self._sigmoid("output", self._gate("output", inputs, h, c))
        # Of NONE the kernel writes nothing where activation(c) goes, and the candidate is still there.
        left = candidate if self.activation == "NONE" else activate(self.activation, c, self.variant)
        h = product32(output, left)
        if "projection" in self.weights:
            w = self.weights["projection"]
            bias = self.weights.get("projection_bias")
            start = np.zeros(w.values.shape[0], np.float32) if bias is None else bias.values
            h = _clipped(add_product(tf.constant(start), h, w, self.asymmetric, self.variant), self.clips[1])
        return [h, c]

    def _gate(self, gate: str, inputs: list[Any], h: Any, c: Any) -> Any:
        norm, bias = self.weights.get(f"{gate}_norm"), self.weights[f"{gate}_bias"].values
        total = tf.constant(bias if norm is None else np.zeros_like(bias))
        for name, rows in (*zip(("input", "aux"), inputs, strict=False), ("recurrent", h)):
            total = add_product(total, rows, self.weights[f"{name}_to_{gate}"], self.asymmetric, self.variant)
        peephole = self.weights.get(f"peephole_to_{gate}")
        if peephole is not None:
            total = MADD[self.variant](signed(peephole.values).astype(np.float32) * peephole.scale, c, total)
        return total if norm is None else sum32(product32(normalized(total, self.variant), norm.values), bias)

    def _sigmoid(self, gate: str, x: Any) -> Any:
        """The gates' vectors lie one behind the other, (batch, units) each, from an aligned address on."""
        units = int(x.shape[-1])
        if units % eigen.PACKET == 0:
            return eigen.sigmoid(x, madd=MADD[self.variant])
        batch = tf.shape(x)[0]
        coupled = "input_to_input" not in self.weights
        start = (COUPLED_PLACES if coupled else PLACES)[gate] * units * batch
        if self.together:
            return eigen.sigmoid(x, tf.reshape(eigen.packets(start, units * batch), tf.shape(x)), MADD[self.variant])
        return eigen.sigmoid(x, eigen.packets(start + units * tf.range(batch), units), MADD[self.variant])


PLACES = {"input": 0, "cell": 1, "forget": 2, "output": 3}  # of the gates' vectors in the kernel's memory
COUPLED_PLACES = {"forget": 1, "output": 2}  # without an input gate


def normalized(x: Any, variant: str) -> Any:
    """(x - mean) / deviation over the last axis.

    Source: PortableMeanStddevNormalization (reference/portable_tensor_utils.cc, v2.14.0).
    """
    count = np.float32(x.shape[-1])
    total = sum_by_lanes if variant == NEON else lambda v, square=False: sum_in_order(product32(v, v) if square else v)
    difference = x - quotient32(total(x), count)
    variance = quotient32(total(difference, square=True), count)
    deviation = tf.cast(tf.sqrt(tf.cast(variance + np.float32(1e-8), tf.float64)), tf.float32)
    return product32(difference, quotient32(np.float32(1), deviation))


def sum_by_lanes(x: Any, square: bool = False) -> Any:
    """The float32 sum over the last axis, which stays, of x or its squares, as NEON's code makes it: four vectors side
    by side, then one, then the four lanes in pairs, then what is left.
    """
    add = (lambda total, v: fused32(v, v, total)) if square else sum32
    size, blocks = int(x.shape[-1]), int(x.shape[-1]) // 16 * 4
    vectors = [x[..., i : i + 4] for i in range(0, size - 3, 4)]
    sums = [tf.zeros_like(x[..., :1])] * 4
    for place, vector in enumerate(vectors[:blocks]):
        sums[place % 4] = add(sums[place % 4], vector)
    total = reduce(add, vectors[blocks:], sum32(sum32(sums[0], sums[2]), sum32(sums[1], sums[3])))
    lanes = tf.split(total, 4, -1) if vectors else [total] * 4
    total = sum32(sum32(lanes[0], lanes[1]), sum32(lanes[2], lanes[3]))
    return reduce(add, tf.split(x[..., size // 4 * 4 :], size % 4, -1) if size % 4 else [], total)


def _clipped(x: Any, bound: float) -> Any:
    return tf.clip_by_value(x, np.float32(-bound), np.float32(bound)) if bound > 0 else x
