"""Faults put into a float model: each is found by the rung that is made for it, and a sound model is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from calibration.network import CONV, DEPTHWISE, POINTWISE, network

from liteback.calibration.corrections import Corrections, correct, interval
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.reconstruction import reconstruct
from liteback.recording import Recording
from liteback.session.board import Board

FIT, HELD_OUT = range(0, 16, 2), range(1, 16, 2)
Fault = Callable[[Any], None]


@pytest.fixture(scope="module")
def recording(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    data = network()
    inputs = random_inputs(lift(data).main, 16, seed=1)
    return board.capture(data, inputs, tmp_path_factory.mktemp("calibration") / "recording")


def corrected(recording: Recording, fault: Fault) -> Corrections:
    model = reconstruct(network())
    fault(model)
    before = [w.copy() for w in model.get_weights()]
    result = correct(lift(network()), recording, FIT, HELD_OUT, model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)), "the model was changed"
    return result


def weights_of(result: Corrections, layer: str) -> list[np.ndarray]:
    assert result.emission is not None
    weights: list[np.ndarray] = result.emission.model.get_layer(layer).get_weights()
    return weights


def original(layer: str) -> list[np.ndarray]:
    weights: list[np.ndarray] = reconstruct(network()).get_layer(layer).get_weights()
    return weights


def half_a_step(layer: str) -> float:
    graph = lift(network()).main
    (node,) = (n for n in graph.nodes if n.name == layer)
    quantization = graph.tensors[node.outputs[0]].quantization
    assert quantization is not None
    return float(quantization.scale[0]) / 2


def change(layer: str, kernel: Callable[..., Any] = lambda k: k, bias: Callable[..., Any] = lambda b: b) -> Fault:
    def fault(model: Any) -> None:
        k, b = model.get_layer(layer).get_weights()
        model.get_layer(layer).set_weights([kernel(k), bias(b)])

    return fault


def swap(a: np.ndarray) -> np.ndarray:
    return a[..., [0, 3, 2, 1, *range(4, a.shape[-1])]]


def test_a_sound_model_is_left_alone(recording: Recording) -> None:
    result = corrected(recording, lambda model: None)
    assert result.emission is None
    assert all(layer.at_floor and not layer.steps for layer in result.layers)
    assert "nothing to gain" in result.reason


@pytest.mark.parametrize(
    ("layer", "fault", "rung"),
    [
        (CONV, change(CONV, bias=lambda b: b + np.float32(0.4)), "bias"),
        (DEPTHWISE, change(DEPTHWISE, bias=lambda b: b - np.float32(0.4)), "bias"),
        (POINTWISE, change(POINTWISE, kernel=lambda k: k * np.float32(1.25)), "affine"),
        (DEPTHWISE, change(DEPTHWISE, kernel=lambda k: k * np.float32(0.8)), "affine"),
        (CONV, change(CONV, swap, swap), "channels"),
        (POINTWISE, change(POINTWISE, swap, swap), "channels"),
        (CONV, change(CONV, kernel=lambda k: k[::-1].copy()), "refit"),
    ],
    ids=["bias", "bias-depthwise", "scale", "scale-depthwise", "channels", "channels-1x1", "kernel"],
)
def test_a_rung_finds_its_fault(layer: str, fault: Fault, rung: str, recording: Recording) -> None:
    result = corrected(recording, fault)
    assert [found.node for found in result.kept] == [layer]
    (found,) = result.kept
    assert rung in found.kept
    assert not found.at_floor
    step = next(s for s in found.steps if s.rung == rung)
    assert step.interval.low > 0.5
    assert result.outputs is not None
    assert result.outputs.low > 0
    (kernel, bias), (true_kernel, true_bias) = weights_of(result, layer), original(layer)
    exact = found.kept == ("channels",)  # nothing is fitted; else the device's rounding leaves a little open
    np.testing.assert_allclose(kernel, true_kernel, rtol=0, atol=0 if exact else 0.02 * np.ptp(true_kernel))
    np.testing.assert_allclose(bias, true_bias, rtol=0, atol=0 if exact else half_a_step(layer))


def test_a_clipped_range_is_told_and_not_fitted(recording: Recording) -> None:
    def clip(model: Any) -> None:
        model.get_layer(CONV).activation = keras.activations.relu6

    result = corrected(recording, clip)
    (found,) = [layer for layer in result.layers if layer.ranges]
    assert found.node == CONV
    assert found.ranges[0].startswith("the model clips what the device lets pass")


def test_a_range_that_the_device_clips_is_told(board: Board, tmp_path: Path) -> None:
    """The file's own fault: a scale that is too small for the values."""
    data = network(scale_of_last=0.3)
    inputs = random_inputs(lift(data).main, 8, seed=1)
    recording = board.capture(data, inputs, tmp_path / "recording")
    result = correct(lift(data), recording, range(0, 8, 2), range(1, 8, 2))
    told = {layer.node: layer.ranges for layer in result.layers if layer.ranges}
    assert list(told) == [POINTWISE]
    assert told[POINTWISE][0].startswith("the device clips what the model lets pass")
    assert result.emission is None


def test_too_few_samples_prove_nothing(recording: Recording) -> None:
    result = correct(lift(network()), recording, range(4), range(4, 7))
    assert "a proof needs 4" in result.reason


def test_noise_gains_nothing_by_chance() -> None:
    """The interval of a gain that is not there holds zero, and of one that is there does not."""
    rng = np.random.default_rng(0)
    before = rng.chisquare(20, 40)
    noise = interval(before, before * rng.uniform(0.8, 1.2, 40))
    gain = interval(before, before * rng.uniform(0.4, 0.6, 40))
    assert noise.low < 0 < noise.high
    assert 2.5 < gain.low < gain.gain < gain.high < 3.5
