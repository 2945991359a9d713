"""Can a float model be brought nearer to the board by its weights? Only what held-out samples prove is kept.

A well converted model's float twin differs from the board by the rounding of activations, which no weights can follow:
fitted all the same, they follow noise, and move away from the original. So a layer whose own error is about what
rounding leaves is not touched; any other climbs the ladder of `rungs.py`, and each rung has to gain on samples that it
has not seen, by more than chance would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from liteback.calibration.rungs import RUNGS, Floats, Rung, Weights
from liteback.emit.build import emit
from liteback.emit.emission import Emission
from liteback.errors import UsageError
from liteback.ir import CODE_RANGE, Model, Tensor
from liteback.numerics.operator import ACTIVATION_RANGES
from liteback.recording import Recording
from liteback.twin import KerasTwin, real
from liteback.words import counted

HELD_OUT_LEAST = 4  # samples; an interval from fewer would promise more than it knows
# Mean square error over s^2 / 12, the error of rounding alone. The layers of eight networks, soundly reconstructed, lie
# between 0.1 (most results are clipped by an activation) and 1.04; what is above 2 is more than rounding.
FLOOR_NFR = 2.0
FLOOR_FLOAT = 1e-5  # rms error over range, of tensors that are not quantized: the arithmetic's own
# Decibels a correction must gain at the low end of its interval. Corrections of well converted models were measured
# to be worth 0.1 dB and less, while they moved biases 30 dB away from the originals.
GAIN_LEAST = 0.5
BEYOND_LEAST = 1e-3  # share of elements beyond the other side's range from which on it is worth a word
RESAMPLES, CONFIDENCE = 2000, 95.0


@dataclass(frozen=True)
class Interval:
    """A gain in dB, and where it lies with 95 % confidence, by resampling the held-out samples."""

    gain: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.gain:+.1f} dB ({self.low:+.1f} to {self.high:+.1f})"


@dataclass(frozen=True)
class Step:
    """One rung that was tried on one layer. interval: what it gained on held-out samples."""

    rung: str
    interval: Interval
    kept: bool


@dataclass(frozen=True)
class Layer:
    """What the ladder found of a layer. nfr: its own error before; None for floats. steps: the rungs tried, in order.

    ranges: where the one side clips and the other does not.
    """

    node: str
    nfr: float | None
    at_floor: bool
    steps: tuple[Step, ...] = ()
    ranges: tuple[str, ...] = ()

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(s.rung for s in self.steps if s.kept)

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node,
            "nfr": self.nfr,
            "at_floor": self.at_floor,
            "tried": [
                {"rung": s.rung, "gain_db": s.interval.gain, "low": s.interval.low, "high": s.interval.high}
                | {"kept": s.kept}
                for s in self.steps
            ],
            "kept": list(self.kept),
            "ranges": list(self.ranges),
        }


@dataclass(frozen=True)
class Corrections:
    """layers: those the ladder can correct. outputs: what the kept corrections gained at the model's outputs.

    emission: the model with its new weights; None where nothing was kept. reason: why nothing was tried, or kept.
    """

    layers: tuple[Layer, ...] = ()
    outputs: Interval | None = None
    emission: Emission | None = None
    reason: str = ""

    @property
    def kept(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.kept) if self.emission is not None else ()


def correct(
    source: Model,
    recording: Recording,
    fit: Sequence[int],
    held_out: Sequence[int],
    model: Any = None,
    progress: Callable[[int, int], None] | None = None,
) -> Corrections:
    """Climb the ladder with every layer of a float model.

    model: a reconstruction in `float`, trained further or not; the file's own if None. It is not changed: what is kept
    goes into a copy. fit, held_out: samples of the recording.

    Raises:
        UsageError: the model is no float reconstruction of this file.
    """
    if len(held_out) < HELD_OUT_LEAST:
        return Corrections(reason=f"{counted(len(held_out), 'sample')} held out; a proof needs {HELD_OUT_LEAST}")
    ladder = _Ladder.of(source, recording, model)
    first = ladder.errors(held_out)
    layers = {name: _described(site, first[name]) for name, site in ladder.sites.items()}
    climbing = [name for name, layer in layers.items() if not layer.at_floor]
    outputs = ladder.output_errors(held_out) if climbing else {}
    current = {name: first[name].squares for name in climbing}
    for done, rung in enumerate(RUNGS if climbing else (), 1):
        steps = ladder.climb(rung, climbing, fit, held_out, current)
        layers = {n: _with_step(layer, steps.get(n)) for n, layer in layers.items()}
        if progress is not None:
            progress(done, len(RUNGS))
    found = tuple(layers.values())
    if not any(layer.kept for layer in found):
        return Corrections(found, reason=_nothing(found))
    gained = interval(_total(outputs), _total(ladder.output_errors(held_out)))
    if gained.high < 0:
        return Corrections(found, gained, reason=f"the layers gain, the outputs lose: {gained}")
    return Corrections(found, gained, ladder.emission)


def interval(before: Floats, after: Floats) -> Interval:
    """gain = 10 log10(sum before / sum after), and the middle 95 % of it over resampled samples.

    before, after: (samples,), sums of squared errors.
    """
    chosen = np.random.default_rng(0).integers(0, len(before), (RESAMPLES, len(before)))
    gains = _decibels(before[chosen].sum(1), after[chosen].sum(1))
    low, high = np.percentile(gains, [(100 - CONFIDENCE) / 2, (100 + CONFIDENCE) / 2])
    return Interval(float(_decibels(before.sum(), after.sum())), float(low), float(high))


def _decibels(before: Any, after: Any) -> Any:
    tiny = np.finfo(np.float64).tiny
    return 10 * np.log10(np.maximum(before, tiny) / np.maximum(after, tiny))


@dataclass
class _Errors:
    """A layer's own errors. squares: (samples,). beyond: elements that only one side's range allows."""

    squares: Floats
    elements: int = 0
    beyond: dict[str, int] = field(default_factory=lambda: {"device": 0, "model": 0})
    span: float = 0.0


@dataclass(frozen=True)
class _Site:
    """A layer of the model and the tensors of the file that it computes. low, high: the device's range, real values.

    bounds: what the layer's activation leaves, None for no bound.
    """

    layer: Any
    x: tuple[int, ...]
    y: tuple[Tensor, ...]
    bounds: tuple[float | None, float | None]

    @property
    def step(self) -> float:
        q = self.y[0].quantization
        return float(q.scale[0]) if q is not None and self.y[0].dtype in CODE_RANGE else 0.0

    @property
    def device_range(self) -> tuple[float, float]:
        """What the device's codes can say."""
        q, ends = self.y[0].quantization, CODE_RANGE.get(self.y[0].dtype)
        if q is None or ends is None:
            return -np.inf, np.inf
        low, high = ((end - int(q.zero_point[0])) * float(q.scale[0]) for end in ends)
        return low, high

    def inside(self, y: Floats) -> NDArray[np.bool_]:
        """The elements that neither the device's range nor the activation has clipped."""
        low, high = self.device_range
        bottom, top = self.bounds
        low = low if bottom is None else max(low, bottom)
        high = high if top is None else min(high, top)
        return np.asarray((y > low + self.step / 2) & (y < high - self.step / 2))


class _Ladder:
    """The model while it is corrected, and a copy of it without activations, which shows what comes before them."""

    def __init__(self, recording: Recording, emission: Emission, linear: Emission) -> None:
        self.recording, self.emission = recording, emission
        self.twin, self.linear = KerasTwin.of(emission), KerasTwin.of(linear)
        self.sites = dict(_sites(emission))
        for name in self.sites:
            linear.model.get_layer(name).activation = keras.activations.linear

    @classmethod
    def of(cls, source: Model, recording: Recording, model: Any) -> _Ladder:
        emission, linear = emit(source, "float"), emit(source, "float")
        if model is not None:
            KerasTwin.match(model, source, getattr(model, "name", "model"))  # raises where it is of another file
            for copy in (emission.model, linear.model):
                _take_weights(copy, model)
            for name, _ in _sites(emission):
                emission.model.get_layer(name).activation = model.get_layer(name).activation
        return cls(recording, emission, linear)

    def climb(
        self,
        name: str,
        layers: Sequence[str],
        fit: Sequence[int],
        held_out: Sequence[int],
        current: dict[str, Floats],
    ) -> dict[str, Step]:
        """Try one rung on layers; what does not gain on held-out samples is taken back."""
        rungs: dict[str, Rung] = {layer: RUNGS[name](self.sites[layer].layer) for layer in layers}
        for sample in fit:
            device = self.recording.tensors(sample)
            before = self.linear.isolated(device)
            for layer, rung in rungs.items():
                for x, z, y in self._elements(self.sites[layer], device, before):
                    rung.add(x, z, y, self.sites[layer].inside(y))
        proposed = {layer: w for layer, rung in rungs.items() if (w := rung.weights()) is not None}
        old = {layer: self.sites[layer].layer.get_weights() for layer in proposed}
        for layer, weights in proposed.items():
            self._set(layer, weights)
        errors, steps = self.errors(held_out), dict[str, Step]()
        for layer in proposed:
            gain = interval(current[layer], errors[layer].squares)
            steps[layer] = Step(name, gain, kept=gain.low >= GAIN_LEAST)
            if steps[layer].kept:
                current[layer] = errors[layer].squares
            else:
                self._set(layer, old[layer])
        return steps

    def errors(self, samples: Sequence[int]) -> dict[str, _Errors]:
        """Each layer's errors when it is fed the device's own inputs."""
        found = {name: _Errors(np.zeros(len(samples))) for name in self.sites}
        for k, sample in enumerate(samples):
            device = self.recording.tensors(sample)
            shown = self.twin.isolated(device)
            for name, site in self.sites.items():
                for _, z, y in self._elements(site, device, shown):
                    _count(found[name], k, site, z, y)
        return found

    def output_errors(self, samples: Sequence[int]) -> dict[int, Floats]:
        """Tensor -> squared errors of each sample, cumulative, over its mean square: outputs weigh alike."""
        found = {t: np.zeros(len(samples)) for t in self.emission.graph.outputs}
        for k, sample in enumerate(samples):
            device, shown = self.recording.tensors(sample), self.twin.cumulative(self.recording.inputs(sample))
            for t in found:
                if t in shown and t in device and np.asarray(shown[t]).dtype.kind == "f":
                    y = real(self.emission.graph, t, device[t])
                    found[t][k] = np.square(shown[t] - y).sum() / max(float(np.square(y).mean()), 1e-30)
        return found

    def _elements(self, site: _Site, device: Any, shown: Any) -> Iterator[tuple[Floats, Floats, Floats]]:
        """What a layer was fed, what it computes of it and what the device computed: x, z, y; z, y by channel."""
        for x, y in zip(site.x, site.y, strict=True):
            if x in device and y.index in device and y.index in shown:
                wanted = real(self.emission.graph, y.index, device[y.index]).astype(np.float64)
                got, channels = np.asarray(shown[y.index], np.float64), wanted.shape[-1]
                fed = real(self.emission.graph, x, device[x])
                yield fed, got.reshape(-1, channels), wanted.reshape(-1, channels)

    def _set(self, name: str, weights: Weights) -> None:
        for model in (self.twin.model, self.linear.model):
            model.get_layer(name).set_weights(weights)


def _sites(emission: Emission) -> Iterator[tuple[str, _Site]]:
    """The layers with a kernel and a bias whose results are tensors of the file."""
    producers = emission.graph.producers()
    computed: dict[str, list[int]] = {}
    for t, place in emission.values.items():
        computed.setdefault(place.operation, []).append(t)
    for layer in emission.model.layers:
        tensors = [t for t in computed.get(layer.name, ()) if t in producers]
        if hasattr(layer, "kernel") and hasattr(layer, "activation") and len(layer.weights) == 2 and tensors:
            nodes = [producers[t] for t in tensors]
            if nodes[0].activation not in ACTIVATION_RANGES:
                continue  # no piece of it is linear
            data = 2 if nodes[0].op == "TRANSPOSE_CONV" else 0
            x = tuple(n.inputs[data] for n in nodes)
            y = tuple(emission.graph.tensors[t] for t in tensors)
            yield layer.name, _Site(layer, x, y, ACTIVATION_RANGES[nodes[0].activation])


def _count(errors: _Errors, sample: int, site: _Site, z: Floats, y: Floats) -> None:
    (low, high), step = site.device_range, max(site.step, 1e-6)
    errors.squares[sample] += np.square(np.clip(z, low, high) - y).sum()  # what the range clips is told as `beyond`
    errors.elements += y.size
    errors.span = max(errors.span, float(np.ptp(y)))
    at_end = ((y >= high - step / 2) & (z > y + step)) | ((y <= low + step / 2) & (z < y - step))
    errors.beyond["device"] += int(at_end.sum())
    top, bottom = float(z.max(initial=-np.inf)), float(z.min(initial=np.inf))
    clipped = ((z == top) & (y > z + step)) | ((z == bottom) & (y < z - step))
    # One element always is the largest; a range that clips has many there.
    errors.beyond["model"] += int(clipped.sum()) if int(clipped.sum()) > 1 else 0


def _described(site: _Site, errors: _Errors) -> Layer:
    square = errors.squares.sum() / max(errors.elements, 1)
    nfr = float(12 * square / site.step**2) if site.step else None
    at_floor = nfr <= FLOOR_NFR if nfr is not None else square**0.5 <= FLOOR_FLOAT * errors.span
    words = {
        "device": "the device clips what the model lets pass",
        "model": "the model clips what the device lets pass",
    }
    shares = {side: count / max(errors.elements, 1) for side, count in errors.beyond.items()}
    ranges = tuple(f"{words[s]}: {100 * v:.2f} % of elements" for s, v in shares.items() if v >= BEYOND_LEAST)
    return Layer(site.layer.name, nfr, bool(at_floor), ranges=ranges)


def _with_step(layer: Layer, step: Step | None) -> Layer:
    if step is None:
        return layer
    return Layer(layer.node, layer.nfr, layer.at_floor, (*layer.steps, step), layer.ranges)


def _nothing(layers: Sequence[Layer]) -> str:
    if all(layer.at_floor for layer in layers):
        return "every layer's own error is what rounding leaves: there is nothing to gain"
    return f"no correction gains {GAIN_LEAST} dB on held-out samples"


def _total(errors: Mapping[int, Floats]) -> Floats:
    return np.asarray(np.sum(list(errors.values()), axis=0))


def _take_weights(model: Any, other: Any) -> None:
    names = {layer.name for layer in other.layers}
    for layer in model.layers:
        if layer.name not in names or len(layer.weights) != len(other.get_layer(layer.name).weights):
            raise UsageError(f"The corrections are for float reconstructions. Received: {other.name}: no {layer.name}.")
        layer.set_weights(other.get_layer(layer.name).get_weights())
