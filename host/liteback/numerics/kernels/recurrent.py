"""Recurrent operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.emit.lstm_inputs import AUXILIARY, LSTM_WEIGHTS, NORMS
from liteback.numerics.fixed_point import DOUBLE, HALF_UP, Multiplier, multiply
from liteback.numerics.kernels.common import Codes, accumulate, product32, saturate, sum32, sum_in_order
from liteback.numerics.kernels.hybrid_recurrent import VARIANTS, HybridLstm, HybridRnn, activate, add_product
from liteback.numerics.kernels.lstm import basic_lstm, integer_lstm
from liteback.numerics.kernels.sequence import Held, batch_of, held, initial, run
from liteback.numerics.operator import Operator, exact

COUNT = len(LSTM_WEIGHTS)
RNN_WEIGHTS = ("input", "recurrent", "bias")


@exact("UNIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", variants=(DOUBLE, HALF_UP), float32=VARIANTS)
def lstm(op: Operator, x: Codes, *rest: Codes | None) -> Any:
    """x (N,T,I), (T,N,I) time_major, or (N,I) -> the results in x's order, and the states.

    Source: tensorflow/lite/kernels/unidirectional_sequence_lstm.cc, lstm.cc (v2.14.0).
    """
    if op.options.get("kernel_type") == "BASIC":
        return basic_lstm(op, x, *rest)
    if op.input(0).dtype != "float32":
        return integer_lstm(op, x, rest)
    weights = {**held(op, LSTM_WEIGHTS, rest), **held(op, NORMS, rest[COUNT + 2 :], COUNT + 3)}
    return _run_lstm(op, [x], weights, rest[COUNT : COUNT + 2], one_by_one=not op.options.get("time_major", True))


def _run_lstm(
    op: Operator,
    inputs: list[Any],
    weights: dict[str, Held],
    states: tuple[Codes | None, ...],
    one_by_one: bool,
    backwards: bool = False,
) -> list[Any]:
    time_major = bool(op.options.get("time_major"))
    asymmetric = bool(op.options["asymmetric_quantize_inputs"])
    clips = (op.options["cell_clip"], op.options["proj_clip"])
    cell = HybridLstm(weights, op.activation, asymmetric, not one_by_one, op.variant, clips)
    units = weights["forget_bias"].values.shape[0]
    width = weights["projection"].values.shape[0] if "projection" in weights else units
    batch = batch_of(inputs[0], time_major)
    start = [initial(s, batch, n, tf.float32) for s, n in zip(states, (width, units), strict=True)]
    return list(run(cell.step, inputs, start, time_major, backwards))


@exact("BIDIRECTIONAL_SEQUENCE_LSTM", variants=(), float32=VARIANTS)
def bidirectional_lstm(op: Operator, x: Codes, *rest: Codes | None) -> Any:
    """Forward and backward results, side by side or as two, and the states.

    Source: tensorflow/lite/kernels/bidirectional_sequence_lstm.cc (v2.14.0).
    """
    one_by_one = not op.options["time_major"]
    aux = rest[38] if len(rest) > 38 else None
    runs = []
    for start, h_at, aux_at in ((0, 34, 39), (COUNT, 36, 43)):
        extra = held(op, AUXILIARY, rest[aux_at : aux_at + 4], aux_at + 1)
        weights = {**held(op, LSTM_WEIGHTS, rest[start : start + COUNT], start + 1), **extra}
        inputs = [x, aux] if extra else [aux if start and aux is not None else x]
        runs.append(_run_lstm(op, inputs, weights, rest[h_at : h_at + 2], one_by_one, backwards=start > 0))
    return _both(op, *runs)


def _both(op: Operator, forward: list[Any], backward: list[Any]) -> list[Any]:
    (y, *after), (z, *after_too) = forward, backward
    results = [tf.concat([y, z], -1)] if op.options["merge_outputs"] else [y, z]
    return [*results, *after, *after_too]


@exact("UNIDIRECTIONAL_SEQUENCE_RNN", "RNN", variants=(), float32=VARIANTS)
def rnn(op: Operator, x: Codes, *rest: Codes | None) -> Any:
    """x (N,T,I), (T,N,I) time_major, or (N,I) -> the results in x's order, and the state.

    Source: EvalHybrid (tensorflow/lite/kernels/unidirectional_sequence_rnn.cc, basic_rnn.cc, v2.14.0).
    """
    return _run_rnn(op, [x], held(op, RNN_WEIGHTS, rest), rest[3])


@exact("BIDIRECTIONAL_SEQUENCE_RNN", variants=(), float32=VARIANTS)
def bidirectional_rnn(op: Operator, x: Codes, *rest: Codes | None) -> Any:
    """Forward and backward results, side by side or as two, and the states.

    The kernel runs through a time-major sequence as often as it has steps, and a batch-major one's backward run always
    reads x. Source: EvalHybrid (tensorflow/lite/kernels/bidirectional_sequence_rnn.cc, v2.14.0).
    """
    time_major = bool(op.options["time_major"])
    aux = rest[8] if len(rest) > 8 else None
    rounds = int(x.shape[0]) if time_major else 1
    runs = []
    for start, aux_at in ((0, 9), (4, 10)):
        extra = held(op, ("aux",), rest[aux_at : aux_at + 1], aux_at + 1)
        weights = {**held(op, RNN_WEIGHTS, rest[start : start + 3], start + 1), **extra}
        inputs = [x, aux] if extra else [aux if start and time_major and aux is not None else x]
        runs.append(_run_rnn(op, inputs, weights, rest[start + 3], start > 0, rounds))
    return _both(op, *runs)


def _run_rnn(
    op: Operator,
    inputs: list[Any],
    weights: dict[str, Held],
    state: Codes | None,
    backwards: bool = False,
    rounds: int = 1,
) -> list[Any]:
    time_major = bool(op.options.get("time_major"))
    cell = HybridRnn(weights, op.activation, bool(op.options["asymmetric_quantize_inputs"]), op.variant)
    states = [initial(state, batch_of(inputs[0], time_major), weights["bias"].values.shape[0], tf.float32)]
    for _ in range(rounds):
        y, *states = run(cell.step, inputs, states, time_major, backwards)
    return [y, *states]


@exact("SVDF", variants=(DOUBLE, HALF_UP), float32=VARIANTS)
def svdf(
    op: Operator, x: Codes, feature: Codes, time: Codes, b: Codes | None = None, state: Codes | None = None
) -> Any:
    """x (N,I), feature (F,I), time (F,M), b (U,), state (N,F*M) -> (N,U), and the state after.

    Source: EvalIntegerSVDF, EvalHybridSVDF (tensorflow/lite/kernels/internal/reference/svdf.h), svdf.cc (v2.14.0).
    """
    filters, memory = time.shape
    hybrid = op.input(0).dtype == "float32"
    new = _svdf_feature_hybrid(op, x, feature) if hybrid else _svdf_feature(op, x, feature)
    before = initial(state, batch_of(x, False), filters * memory, new.dtype)
    after = tf.concat([tf.reshape(before, (-1, filters, memory))[:, :, 1:], new[:, :, None]], -1)
    y = _svdf_time_hybrid(op, after, time, b) if hybrid else _svdf_time(op, after, time, b)
    return [y, tf.reshape(tf.cast(after, tf.float32 if hybrid else tf.int16), (-1, filters * memory))]


def _svdf_feature_hybrid(op: Operator, x: Any, feature: Codes) -> Any:
    zeros = tf.zeros(feature.shape[0], tf.float32)
    return add_product(zeros, x, Held(feature, op.input(1)), bool(op.options["asymmetric_quantize_inputs"]), op.variant)


def _svdf_time_hybrid(op: Operator, after: Any, time: Codes, b: Codes | None) -> Any:
    real = time if op.input(2).dtype == "float32" else time.astype(np.float32) * op.input(2).scale
    each = sum_in_order(product32(after, real))[..., 0]
    rank = int(op.options["rank"])
    total = sum_in_order(tf.reshape(each, (-1, time.shape[0] // rank, rank)))[..., 0]
    return activate(op.activation, total if b is None else sum32(total, b), op.variant)


def _svdf_feature(op: Operator, x: Any, feature: Codes) -> Any:
    """Source: the feature matmul of EvalIntegerSVDF."""
    data, weights = op.input(0), op.input(1)
    acc = accumulate(lambda x, w: tf.matmul(x, w, transpose_b=True), x, feature, data, weights, taps=(1,))
    by = Multiplier.of(data.scale * weights.scale / op.input(4).scale)
    return tf.clip_by_value(multiply(acc, by, op.variant), tf.constant(-32768, tf.int64), tf.constant(32767, tf.int64))


def _svdf_time(op: Operator, after: Any, time: Codes, b: Codes | None) -> Any:
    each = tf.reduce_sum(after * time.astype(np.int64), -1)
    rank = int(op.options["rank"])
    total = tf.reduce_sum(tf.reshape(each, (-1, time.shape[0] // rank, rank)), -1)
    total = total if b is None else total + b.astype(np.int64)
    by = Multiplier.of(op.input(4).scale * op.input(2).scale / op.out.scale)
    return saturate(op, multiply(total, by, op.variant) + op.out.zero_point, *op.out.range)
