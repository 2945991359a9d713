"""Recovered weights against the originals, where the originals are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
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
