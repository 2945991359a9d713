"""What the cells of Keras' recurrent layers compute in a step, as terms.

Source: keras/src/layers/rnn/{lstm,gru,simple_rnn}.py, 3.x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Any, NamedTuple

from liteback.terms import Terms

SIXTH = 0.1666666716337204  # in float32
ACTIVATIONS: Mapping[str, Callable[[Terms, int], int]] = {
    "tanh": lambda t, x: t("TANH", x),
    "sigmoid": lambda t, x: t("LOGISTIC", x),
    "relu": lambda t, x: t("RELU", x),
    "linear": lambda t, x: x,
    "elu": lambda t, x: t("ELU", x),
    "hard_sigmoid": lambda t, x: t.product(t("RELU6", t.sum(x, t.number(3))), t.number(SIXTH)),
}
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}  # of each layer: its weights' rows are these times its units

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Cell:
    """A step of a recurrent layer.

    layer: a class of keras.layers. kernel, recurrent: tensors of the body, whose rows one after the other are the
    layer's. biases: for each row of the layer's, its tensors. after: the terms of the states after the step, the first
    of which is its result. config: the layer's arguments.
    """

    layer: str
    kernel: tuple[int, ...]
    recurrent: tuple[int, ...]
    biases: Rows
    after: tuple[int, ...]
    config: Mapping[str, Any]


class Part(NamedTuple):
    """A product with a weight, and the bias that is added to it."""

    weight: int
    bias: tuple[int, ...]
    term: int


def _products(t: Terms, x: int) -> list[tuple[int, int]]:
    """The matrix products of x: (the tensor it is multiplied with, the term)."""
    return [(t.keys[k[2]][1], term) for term, k in enumerate(t.keys[: t.own]) if k[:2] == ("FULLY_CONNECTED", x)]


def _sums(t: Terms, *parts: int) -> list[tuple[tuple[int, ...], int]]:
    """The sum of some terms, without and with a bias: (the bias' tensor, the term)."""
    found: list[tuple[tuple[int, ...], int]] = [((), t.sum(*parts))]
    for term, key in enumerate(t.keys[: t.own]):
        rest = [p for p in key[1:] if p not in parts] if key[0] == "ADD" else []
        if len(rest) == 1 and len(key) == len(parts) + 2:
            name, index, *_ = t.keys[rest[0]]
            if name in ("tensor", "argument"):
                found.append(((t.graph.inputs[index] if name == "argument" else index,), term))
    return found


def _parts(t: Terms, whole: int, count: int, units: int) -> list[int]:
    return [t("part", k * units, (k + 1) * units, whole) for k in range(count)]


def _units(t: Terms, recurrent: int) -> int:
    return t.graph.tensors[recurrent].shape[-1]


def _simple_rnn(t: Terms, x: int, h: int) -> Iterator[Cell]:
    """h' = act(x W + h R + b)."""
    for (w, xw), (r, hr) in product(_products(t, x), _products(t, h)):
        for (bias, total), (name, act) in product(_sums(t, xw, hr), ACTIVATIONS.items()):
            config = {"units": _units(t, r), "activation": name}
            yield Cell("SimpleRNN", (w,), (r,), _row(bias), (act(t, total),), config)


def _lstm(t: Terms, x: int, h: int, c: int) -> Iterator[Cell]:
    """i, f, g, o = x W + h R + b;  c' = rec(f) c + rec(i) act(g);  h' = rec(o) act(c')."""
    for (w, xw), (r, hr) in product(_products(t, x), _products(t, h)):
        for (bias, total), (name, act), (gate, rec) in product(
            _sums(t, xw, hr), ACTIVATIONS.items(), ACTIVATIONS.items()
        ):
            i, f, g, o = _parts(t, total, 4, _units(t, r))
            after = t.sum(t.product(rec(t, f), c), t.product(rec(t, i), act(t, g)))
            result = t.product(rec(t, o), act(t, after))
            config = {"units": _units(t, r), "activation": name, "recurrent_activation": gate}
            yield Cell("LSTM", (w,), (r,), _row(bias), (result, after), config)


def _lstm_apart(t: Terms, x: int, h: int, c: int) -> Iterator[Cell]:
    """The same with weights of its own for each gate, as recurrent_dropout makes it."""
    gates = [
        (Part(w, bias, total), r)
        for (w, xw), (r, hr) in product(_products(t, x), _products(t, h))
        for bias, total in _sums(t, xw, hr)
        if t.is_read(total)
    ]
    for (name, act), (gate, rec) in product(ACTIVATIONS.items(), ACTIVATIONS.items()):
        opening, new = ([g for g in gates if t.is_read(fn(t, g[0].term))] for fn in (rec, act))
        for (i, f, o), g in product(permutations(opening, 3), new):
            after = t.sum(t.product(rec(t, f[0].term), c), t.product(rec(t, i[0].term), act(t, g[0].term)))
            result = t.product(rec(t, o[0].term), act(t, after))
            parts, recurrent = [p for p, _ in (i, f, g, o)], tuple(r for _, r in (i, f, g, o))
            config = {"units": _units(t, i[1]), "activation": name, "recurrent_activation": gate}
            if _alike(parts):
                yield Cell("LSTM", _weights(parts), recurrent, _rows(parts), (result, after), config)


def _gru(t: Terms, x: int, h: int) -> Iterator[Cell]:
    """z, r: rec(x W + b + h R + b');  h' = z h + (1 - z) act((x W + b)_h + r (h R + b')_h)."""
    for (w, xw), (r, hr) in product(_products(t, x), _products(t, h)):
        for (b, of_x), (b2, of_h) in product(_sums(t, xw), _sums(t, hr)):
            if len(b) != len(b2):
                continue
            xs, hs = (_parts(t, whole, 3, _units(t, r)) for whole in (of_x, of_h))
            for (name, act), (gate, rec) in product(ACTIVATIONS.items(), ACTIVATIONS.items()):
                z, reset = (rec(t, t.sum(xs[k], hs[k])) for k in (0, 1))
                new = act(t, t.sum(xs[2], t.product(reset, hs[2])))
                config = {"units": _units(t, r), "activation": name, "recurrent_activation": gate}
                rows = (*_row(b), *_row(b2))
                yield Cell("GRU", (w,), (r,), rows, (_mix(t, z, h, new),), {**config, "reset_after": True})


def _gru_reset_before(t: Terms, x: int, h: int) -> Iterator[Cell]:
    """z, r: rec(x W + b + h R);  h' = z h + (1 - z) act((x W + b)_h + (r h) R_h)."""
    for (w, xw), (r, hr), (gate, rec) in product(_products(t, x), _products(t, h), ACTIVATIONS.items()):
        for b, of_x in _sums(t, xw):
            xs, hs = _parts(t, of_x, 3, _units(t, r)), _parts(t, hr, 2, _units(t, r))
            z, reset = (rec(t, t.sum(xs[k], hs[k])) for k in (0, 1))
            for (last, hr_last), (name, act) in product(_products(t, t.product(reset, h)), ACTIVATIONS.items()):
                new = act(t, t.sum(xs[2], hr_last))
                config = {"units": _units(t, r), "activation": name, "recurrent_activation": gate}
                rows = _row(b)
                yield Cell("GRU", (w,), (r, last), rows, (_mix(t, z, h, new),), {**config, "reset_after": False})


def _gru_apart(t: Terms, x: int, h: int) -> Iterator[Cell]:
    """Both with weights of its own for each gate, as recurrent_dropout makes them."""
    of_x, of_h = (
        [Part(w, bias, total) for w, p in _products(t, v) for bias, total in _sums(t, p) if t.is_read(total)]
        for v in (x, h)
    )
    for (name, act), (gate, rec) in product(ACTIVATIONS.items(), ACTIVATIONS.items()):
        gates = [(a, b) for a, b in product(of_x, of_h) if t.is_read(rec(t, t.sum(a.term, b.term)))]
        for ((xz, hz), (xr, hr)), xn in product(permutations(gates, 2), of_x):
            z, reset = (rec(t, t.sum(a.term, b.term)) for a, b in ((xz, hz), (xr, hr)))
            before = [Part(w, (), term) for w, term in _products(t, t.product(reset, h))]
            for hn, term in [(n, t.product(reset, n.term)) for n in of_h] + [(n, n.term) for n in before]:
                after = _mix(t, z, h, act(t, t.sum(xn.term, term)))
                config = {"units": _units(t, hz.weight), "activation": name, "recurrent_activation": gate}
                kernel, recurrent, reset_after = (xz, xr, xn), (hz, hr, hn), hn not in before
                rows = (*_rows(kernel), *(_rows(recurrent) if reset_after else ()))
                config = {**config, "reset_after": reset_after}
                if _alike(kernel) and _alike(recurrent if not reset_after else (*kernel, *recurrent)):
                    yield Cell("GRU", _weights(kernel), _weights(recurrent), rows, (after,), config)


def _alike(parts: Sequence[Part]) -> bool:
    """Whether all gates have a bias, or none: the converter leaves out one that is zero, and none can be put back."""
    return len({len(part.bias) for part in parts}) == 1


def _row(bias: tuple[int, ...]) -> Rows:
    return (bias,) if bias else ()


def _weights(parts: Sequence[Part]) -> tuple[int, ...]:
    return tuple(part.weight for part in parts)


def _rows(parts: Sequence[Part]) -> Rows:
    """A row of the layer's biases; none where the gates have none."""
    row = tuple(b for part in parts for b in part.bias)
    return (row,) if row else ()


def _mix(t: Terms, z: int, h: int, new: int) -> int:
    return t.sum(t.product(z, h), t.product(t("SUB", t.number(1), z), new))


KINDS: Mapping[int, Sequence[Callable[..., Iterator[Cell]]]] = {
    1: (_simple_rnn, _gru, _gru_reset_before, _gru_apart),
    2: (_lstm, _lstm_apart),
}
