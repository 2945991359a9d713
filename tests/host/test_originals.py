"""Recovered weights against the originals, where the originals are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from liteback.reconstruction import reconstruction


@pytest.fixture(scope="module")
def folded(shared_models: Path) -> list[NDArray[np.float32]]:
    """ResNet-8's convolution kernels with their BatchNorm folded in: w * gamma / sqrt(variance + epsilon)."""
    model = keras.models.load_model(shared_models / "originals/mlperf/pretrainedResnet.h5", compile=False)
    kernels = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, (consumer,) = layer.get_weights()[0], consumers(layer)
            if isinstance(consumer, keras.layers.BatchNormalization):
                gamma, _, _, variance = consumer.get_weights()
                kernel = kernel * gamma / np.sqrt(variance + consumer.epsilon)
            kernels.append(kernel)
    return kernels


def consumers(layer: Any) -> list[Any]:
    return [node.operation for node in layer._outbound_nodes]


def matched(kernels: list[NDArray[Any]], recovered: NDArray[Any]) -> NDArray[Any]:
    """The original a recovered kernel stands for: the nearest of its shape."""
    return min((k for k in kernels if k.shape == recovered.shape), key=lambda k: float(np.abs(k - recovered).max()))


def test_float_kernels_are_the_originals(shared_models: Path, folded: list[NDArray[np.float32]]) -> None:
    model = reconstruction(shared_models / "networks/pretrainedResnet.tflite").model
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == len(folded) == 9
    for layer in convolutions:
        kernel = layer.get_weights()[0]
        np.testing.assert_allclose(kernel, matched(folded, kernel), rtol=0, atol=1e-6)


def test_int8_kernels_are_within_half_a_step(shared_models: Path, folded: list[NDArray[np.float32]]) -> None:
    emission = reconstruction(shared_models / "networks/pretrainedResnet_quant.tflite")
    kernels = [b for b in emission.bindings if b.position == 0 and b.weight.value.ndim == 4]
    assert len(kernels) == 9
    for binding in kernels:
        quantization = emission.graph.tensors[binding.weight.tensor].quantization
        assert quantization is not None
        steps = np.abs(binding.weight.value - matched(folded, np.asarray(binding.weight.value))) / quantization.scale
        # Half a step, and what float32 leaves of it after the division.
        assert steps.max() <= 0.5 + 1e-3


# File -> the original it was converted from. `model_ToyCar` is none: 9 of its 10 biases differ from ad01.h5's.
PAIRS = {
    "pretrainedResnet": "mlperf/pretrainedResnet.h5",
    "keyword_spotting_pacman.float32": "mltk/keyword_spotting_pacman.h5",
    "rock_paper_scissors.float32": "mltk/rock_paper_scissors.h5",
}


class DepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """Keras 2 wrote an argument that Keras 3 does not take."""

    def __init__(self, *args: Any, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


@pytest.mark.filterwarnings("ignore:Do not pass an `input_shape`", "ignore:The structure of `inputs`")  # Keras 2 files
@pytest.mark.parametrize("name", PAIRS)
def test_the_float_file_computes_what_its_original_does(name: str, shared_models: Path) -> None:
    original = keras.models.load_model(
        shared_models / "originals" / PAIRS[name], compile=False, custom_objects={"DepthwiseConv2D": DepthwiseConv2D}
    )
    back = reconstruction(shared_models / "networks" / f"{name}.tflite").model
    x = np.random.default_rng(0).normal(size=(4, *original.inputs[0].shape[1:])).astype(np.float32)
    wanted = original(x, training=False).numpy()
    # Folding BatchNorm rounds the weights once: float32's 1e-7 grows over the layers.
    np.testing.assert_allclose(back(x).numpy(), wanted, rtol=0, atol=1e-5 * np.ptp(wanted))


def test_the_saved_model_of_a_pitch_tracker_computes_the_same(shared_models: Path) -> None:
    """Its optimizer keeps `tf.saved_model.load` from reading it; as a graph it runs."""
    back = reconstruction(shared_models / "networks/nmp.tflite").model
    x = np.random.default_rng(0).normal(0, 0.1, (1, *back.inputs[0].shape[1:])).astype(np.float32)
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        folder = str(shared_models / "originals/basic_pitch/nmp")
        signature = tf.compat.v1.saved_model.loader.load(session, ["serve"], folder).signature_def["serving_default"]
        (given,) = signature.inputs.values()
        names = {key: tensor.name for key, tensor in signature.outputs.items()}
        wanted = session.run(names, {given.name: x})
    results = [np.asarray(v) for v in back(x)]
    assert len(wanted) == len(results) == 3
    for value in wanted.values():
        error = min(np.abs(value - r).max() for r in results if r.shape == value.shape)
        assert error <= 1e-5 * np.ptp(value)


@pytest.mark.parametrize(("name", "count"), [("model_1", 5), ("model_2", 7)])
def test_the_weights_of_a_noise_suppressor_are_the_originals(name: str, count: int, shared_models: Path) -> None:
    """Its original is weights alone: LSTMs, which the file holds unrolled, and dense layers."""
    originals: list[NDArray[Any]] = []
    with h5py.File(shared_models / "originals/dtln/model.h5") as file:
        file.visititems(lambda _, item: originals.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    kernels = [
        layer.kernel
        for layer in reconstruction(shared_models / f"networks/{name}.tflite").model.layers
        if hasattr(layer, "kernel")
    ]
    assert len(kernels) == count
    for kernel in map(np.asarray, kernels):
        flat = kernel.reshape(kernel.shape[-2:])  # a convolution over one step
        assert any(np.array_equal(flat, o.reshape(o.shape[-2:])) for o in originals if o.ndim > 1)
