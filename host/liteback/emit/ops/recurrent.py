"""Recurrent layers: Keras' own where they compute the same, else those of `emit/recurrent.py`."""

from dataclasses import dataclass, field
from typing import Any

from keras import layers, ops

from liteback.emit.lstm_inputs import AUXILIARY, GATES, LSTM_WEIGHTS, NORMS
from liteback.emit.recurrent import INT16, Lstm, Rnn, Svdf
from liteback.emit.registry import Layer, emits
from liteback.emit.verdict import ACTIVATIONS
from liteback.emit.weight import Weight, concatenate
from liteback.ir import CODE_RANGE

COUNT = len(LSTM_WEIGHTS)
MATRICES = {f"{what}_to_{gate}" for what in ("input", "recurrent") for gate in GATES}
BIASES = {f"{gate}_bias" for gate in GATES}
# The cell clip that the converter writes for every Keras LSTM, which has none. What it cuts off is not seen in the
# output, as tanh(10) is 1 in float32.
CONVERTERS_CLIP = 10.0


@dataclass(frozen=True)
class Direction:
    """One run over a sequence (batch, time, features). own: what only our layers do, among their arguments."""

    x: Any
    weights: dict[str, Weight]
    activation: str
    states: dict[str, Any] = field(default_factory=dict)
    aux: Any = None
    backwards: bool = False
    own: dict[str, Any] = field(default_factory=dict)

    @property
    def given(self):
        return [v for v in self.states.values() if v is not None]

    @property
    def keras_activation(self):
        return ACTIVATIONS.get(self.activation, "linear")

    @property
    def is_plain(self):
        """Whether it is but matrix products of the input and of the state."""
        matrices = all(len(w.shape) == 2 for name, w in self.weights.items() if name.startswith("recurrent"))
        return matrices and self.aux is None and not self.own.get("hybrid") and not self.own.get("grids")


def _run(direction, keras_layer, own_class, context, suffix):
    """-> the results of each step, and the states after the last where it is given states.

    keras_layer: class, weights and arguments of the stock layer that computes the same, or None.
    """
    d = direction
    if keras_layer is None:
        takes = {name: v for name, v in {"x": d.x, "aux": d.aux, **d.states}.items() if v is not None}
        shapes = {name: list(w.shape) for name, w in d.weights.items()}
        config = {"shapes": shapes, "takes": list(takes), "activation": d.keras_activation, **d.own}
        config["backwards"] = d.backwards
        recipe = Layer(own_class, list(takes.values()), list(d.weights.values()), config)
        y, *after = context.build(recipe, suffix)
        return [y, *after] if d.given else [y]
    cls, weights, config = keras_layer
    config = {**config, "return_sequences": True, "go_backwards": d.backwards}
    if not d.given:
        (y,) = context.build(Layer(cls, d.x, weights, config), suffix)
        return [ops.flip(y, axis=1) if d.backwards else y]
    start = {"initial_state": d.given if len(d.given) > 1 else d.given[0]}
    y, *after = context.build(Layer(cls, d.x, weights, {**config, "return_state": True}, given=start), suffix)
    return [ops.flip(y, axis=1) if d.backwards else y, *after]


def _both(forward, backward, keras_layers, own_class, context, *, time_major, merge_outputs):
    """A bidirectional operator: two runs, side by side or as two results."""
    alike = all(keras_layers) and keras_layers[0][2] == keras_layers[1][2]  # one may lack a bias
    if alike and not forward.given and forward.x is backward.x:
        (cls, w, config), (_, other, _) = keras_layers
        inner = cls(**config, return_sequences=True)
        merge = {"layer": inner, "merge_mode": "concat" if merge_outputs else None}
        results = context.build(Layer(layers.Bidirectional, forward.x, [*w, *other], merge), "")
        return [_order(y, time_major) for y in results]
    (y, *after), (z, *after_too) = (
        _run(direction, layer, own_class, context, suffix)
        for direction, layer, suffix in zip((forward, backward), keras_layers, ("_forward", "_backward"), strict=True)
    )
    results = [ops.concatenate([y, z], axis=-1)] if merge_outputs else [y, z]
    return [*(_order(r, time_major) for r in results), *after, *after_too]


def _order(x, time_major):
    """(time, batch, features) <-> (batch, time, features)."""
    return ops.swapaxes(x, 0, 1) if time_major and x is not None else x


def _named(names, values):
    """The weights that are given, by name."""
    named = {name: value for name, value in zip(names, values, strict=False) if value is not None}
    if not all(isinstance(value, Weight) for value in named.values()):
        raise NotImplementedError("its weights are computed at run time")
    return named


def _hybrid(context, position, asymmetric):
    """How a hybrid kernel quantizes activations: float ones that meet weights that are codes."""
    x, weights = context.sources[0], context.sources[position]
    if context.numerics != "fakequant" or x.dtype != "float32" or not weights.is_quantized:
        return None
    return "asymmetric" if asymmetric else "symmetric"


# ---- LSTM


def _keras_lstm(d):
    """Keras' LSTM where it computes the same: its weights are those of the gates i, f, c, o side by side."""
    clip, _ = d.own["clips"]
    # A cell state starts at zero and grows by less than 1 a step: some clips never act.
    unclipped = clip in (0.0, CONVERTERS_CLIP) or (not d.given and d.x.shape[1] is not None and d.x.shape[1] <= clip)
    plain = d.is_plain and set(d.weights) in (MATRICES, MATRICES | BIASES)
    if not (plain and d.activation == "TANH" and unclipped):
        return None
    kernels = [
        concatenate([d.weights[f"{what}_to_{gate}"].transpose(1, 0) for gate in GATES], axis=1)
        for what in ("input", "recurrent")
    ]
    biases = [d.weights[f"{gate}_bias"] for gate in GATES if f"{gate}_bias" in d.weights]
    config = {"units": kernels[1].shape[0]}
    if not biases:
        return layers.LSTM, kernels, {**config, "use_bias": False}
    return layers.LSTM, [*kernels, concatenate(biases, axis=0)], config


def _grids(context, h_at, c_at, projected):
    """Where the integer kernel rounds (8x8->16: lite/kernels/lstm_eval.cc v2.14.0, LstmStepInteger8x8_16)."""
    sources, inner = context.sources, context.intermediates
    if context.numerics != "fakequant" or not sources[0].is_quantized:
        return {}
    grids = {"unit": [2.0**-15, 0, *INT16], "state": _grid(sources[c_at]), "hidden": _grid(sources[h_at])}
    if projected:
        grids["result"] = _grid(sources[h_at])
    if len(inner) != 5:
        return grids
    if inner[4].quantization is not None:
        grids["hidden"] = _grid(inner[4])
    for gate, tensor in zip(GATES, inner[:4], strict=True):
        scale = 2.0**-12 if tensor.quantization is None else float(tensor.quantization.scale[0])
        grids[gate] = [scale, 0, *INT16]
    return {**grids, "normed": [2.0**-12, 0, *INT16]}


def _grid(tensor):
    scale, zero_point = tensor.quantization.scale[0], tensor.quantization.zero_point[0]
    return [float(scale), int(zero_point), *CODE_RANGE[tensor.dtype]]


@emits("UNIDIRECTIONAL_SEQUENCE_LSTM", weights=["*"])
def unidirectional_sequence_lstm(
    x, *rest, cell_clip, proj_clip, time_major, asymmetric_quantize_inputs, activation, context
):
    """x (batch, time, features), or (time, batch, features) with time_major -> the results in the same order."""
    weights = {**_named(LSTM_WEIGHTS, rest[:COUNT]), **_named(NORMS, rest[COUNT + 2 :])}
    own = {
        "clips": (cell_clip, proj_clip),
        "hybrid": _hybrid(context, 2, asymmetric_quantize_inputs),
        "grids": _grids(context, COUNT + 1, COUNT + 2, "projection" in weights),
    }
    states = dict(zip("hc", rest[COUNT:], strict=False))
    # The integer kernel has no other one (LstmStepInteger8x8_16 in lite/kernels/lstm_eval.cc, v2.14.0).
    activation = "TANH" if context.sources[0].is_quantized else activation
    direction = Direction(_order(x, time_major), weights, activation, states, own=own)
    y, *after = _run(direction, _keras_lstm(direction), Lstm, context, "_lstm" if time_major else "")
    return [_order(y, time_major), *after]


@emits("BIDIRECTIONAL_SEQUENCE_LSTM", weights=["*"])
def bidirectional_sequence_lstm(
    x, *rest, cell_clip, proj_clip, time_major, merge_outputs, asymmetric_quantize_inputs, activation, context
):
    """Forward and backward results, side by side or as two. Without weights, the auxiliary input is backward's x."""
    x, aux = _order(x, time_major), _order(rest[38] if len(rest) > 38 else None, time_major)
    own = {"clips": (cell_clip, proj_clip), "hybrid": _hybrid(context, 2, asymmetric_quantize_inputs)}
    parts = []
    for start, h_at, aux_at in ((0, 34, 39), (COUNT, 36, 43)):
        weights = _named(LSTM_WEIGHTS, rest[start : start + COUNT])
        extra = _named(AUXILIARY, rest[aux_at : aux_at + 4])
        states = dict(zip("hc", rest[h_at : h_at + 2], strict=True))
        source = aux if start and aux is not None and not extra else x
        given = aux if extra else None
        parts.append(Direction(source, {**weights, **extra}, activation, states, given, bool(start), own))
    stock = [_keras_lstm(d) for d in parts]
    return _both(*parts, stock, Lstm, context, time_major=time_major, merge_outputs=merge_outputs)


@emits("LSTM", weights=["*"])
def lstm(x, *rest, cell_clip, proj_clip, kernel_type, asymmetric_quantize_inputs, activation, context):
    """One step: x (batch, features) -> (batch, units). The basic kernel has four results."""
    if kernel_type == "BASIC":
        return _basic_lstm(x, *rest, context=context)
    y, *after = unidirectional_sequence_lstm(
        ops.expand_dims(x, 1),
        *rest,
        cell_clip=cell_clip,
        proj_clip=proj_clip,
        time_major=False,
        asymmetric_quantize_inputs=asymmetric_quantize_inputs,
        activation=activation,
        context=context,
    )
    return [ops.squeeze(y, 1), *after]


def _basic_lstm(x, h, w, b, c, *, context):
    """w (4 units, features + units), gates i, g, f, o -> h', c', [x, h], the sums at the gates.

    Source: lite/kernels/internal/reference/reference_ops.h, LstmCell (v2.14.0). The uint8 kernel also rounds the sums
    and the cell state to 16 bits, which is not repeated here: `fakequant` rounds the results alone.
    """
    units = w.shape[0] // 4
    h, c = (ops.zeros((ops.shape(x)[0], units)) if state is None else state for state in (h, c))
    joined = ops.concatenate([x, h], axis=-1)
    (sums,) = context.build(Layer(layers.Dense, joined, [w.transpose(1, 0), b], {"units": w.shape[0]}), "_dense")
    i, g, f, o = ops.split(sums, 4, axis=-1)
    after = ops.sigmoid(i) * ops.tanh(g) + ops.sigmoid(f) * c
    result = ops.sigmoid(o) * ops.tanh(after)
    return [result, after, joined, sums, result, after]


# ---- RNN


def _keras_rnn(d):
    """Keras' SimpleRNN where it computes the same."""
    if not d.is_plain or d.activation == "SIGN_BIT":
        return None
    kernels = [d.weights["input"].transpose(1, 0), d.weights["recurrent"].transpose(1, 0)]
    config = {"units": kernels[0].shape[1], "activation": d.keras_activation}
    if "bias" not in d.weights:
        return layers.SimpleRNN, kernels, {**config, "use_bias": False}
    return layers.SimpleRNN, [*kernels, d.weights["bias"]], config


RNN_WEIGHTS = ("input", "recurrent", "bias")


@emits("UNIDIRECTIONAL_SEQUENCE_RNN", weights=["w", "r", "b"])
def unidirectional_sequence_rnn(x, w, r, b, h, *, time_major, asymmetric_quantize_inputs, activation, context):
    """x (batch, time, features), or (time, batch, features) with time_major -> the results in the same order."""
    own = {"hybrid": _hybrid(context, 1, asymmetric_quantize_inputs)}
    direction = Direction(_order(x, time_major), _named(RNN_WEIGHTS, (w, r, b)), activation, {"h": h}, own=own)
    y, *after = _run(direction, _keras_rnn(direction), Rnn, context, "_rnn" if time_major else "")
    return [_order(y, time_major), *after]


@emits("RNN", weights=["w", "r", "b"])
def rnn(x, w, r, b, h, *, asymmetric_quantize_inputs, activation, context):
    """One step: x (batch, features) -> (batch, units)."""
    y, *after = unidirectional_sequence_rnn(
        ops.expand_dims(x, 1),
        w,
        r,
        b,
        h,
        time_major=False,
        asymmetric_quantize_inputs=asymmetric_quantize_inputs,
        activation=activation,
        context=context,
    )
    return [ops.squeeze(y, 1), *after]


@emits("BIDIRECTIONAL_SEQUENCE_RNN", weights=["*"])
def bidirectional_sequence_rnn(x, *rest, time_major, merge_outputs, asymmetric_quantize_inputs, activation, context):
    """Forward and backward results, side by side or as two. Without weights, the auxiliary input is backward's x.

    The hybrid kernel runs through a time-major sequence as often as it has steps, and a batch-major one's backward
    run always reads x (lite/kernels/bidirectional_sequence_rnn.cc v2.14.0, EvalHybrid and EvalFloat).
    """
    x, aux = _order(x, time_major), _order(rest[8] if len(rest) > 8 else None, time_major)
    hybrid = _hybrid(context, 1, asymmetric_quantize_inputs)
    own = {"hybrid": hybrid, "rounds": x.shape[1] if hybrid and time_major else 1}
    parts = []
    for start, aux_at in ((0, 9), (4, 10)):
        weights = _named(RNN_WEIGHTS, rest[start : start + 3])
        extra = _named(("aux",), rest[aux_at : aux_at + 1])
        source = aux if start and time_major and aux is not None and not extra else x
        states = {"h": rest[start + 3]}
        given = aux if extra else None
        parts.append(Direction(source, {**weights, **extra}, activation, states, given, bool(start), own))
    stock = [_keras_rnn(d) for d in parts]
    return _both(*parts, stock, Rnn, context, time_major=time_major, merge_outputs=merge_outputs)


# ---- SVDF


@emits("SVDF", weights=["feature", "time", "b"])
def svdf(x, feature, time, b=None, state=None, *, rank, asymmetric_quantize_inputs, activation, context):
    """x (batch, features) -> (batch, filters / rank)."""
    weights = _named(("feature", "time", "bias"), (feature, time, b))
    quantized = context.numerics == "fakequant" and context.sources[0].is_quantized
    config = {
        "shapes": {name: list(w.shape) for name, w in weights.items()},
        "rank": rank,
        # The integer kernel has RELU as its activation and does not apply it (svdf.cc v2.14.0, Eval).
        "activation": "linear" if quantized else ACTIVATIONS.get(activation, "linear"),
        "hybrid": _hybrid(context, 1, asymmetric_quantize_inputs),
        "grid": _grid(context.sources[4]) if quantized else None,
    }
    return Layer(Svdf, x if state is None else [x, state], list(weights.values()), config)
