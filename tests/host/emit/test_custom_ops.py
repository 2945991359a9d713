"""Custom operators that no runtime here has: against loops that say what they do. And one's own operator."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import tflite_build as build
from emit.case import rand
from liteback import custom_options
from liteback.emit.build import emit
from liteback.emit.emission import Emission
from liteback.emit.registry import EMITTERS, KERNELS, register_custom_op
from liteback.errors import UnsupportedModel, UsageError
from liteback.lift import lift

SAME, VALID = 1, 2
REGION = {
    **{"subset_idxs": [0, 3, 5, 7], "left_rotation_idx": 1, "right_rotation_idx": 2},
    **{"output_height": 5, "output_width": 5, "scale_x": 1.0, "scale_y": 1.0},
}


def one_op(op: str, inputs: list[build.Tensor], outputs: list[build.Tensor], options: bytes) -> bytes:
    tensors, count = [*inputs, *outputs], len(inputs)
    fed = [i for i, t in enumerate(inputs) if t.data is None]
    results = list(range(count, len(tensors)))
    node = build.Op(op, list(range(count)), results, options)
    return build.build_model(build.Subgraph(tensors, [node], fed, results))


def reconstruct(data: bytes) -> Emission:
    return emit(lift(data))


@pytest.mark.parametrize("padding", [SAME, VALID])
@pytest.mark.parametrize("extent", [4, 5])
def test_transposed_convolution_with_bias(padding: int, extent: int) -> None:
    x, w, b = rand(1, extent, extent, 2), rand(3, 3, 2, 2, seed=1), rand(3, seed=2)
    expected = transposed(x[0], w, b, 2, padding == SAME)
    inputs = [build.Tensor(x.shape), build.Tensor(w.shape, data=w), build.Tensor(b.shape, data=b)]
    outputs = [build.Tensor((1, *expected.shape))]
    options = struct.pack("<3i", padding, 2, 2)
    emission = reconstruct(one_op("CUSTOM:Convolution2DTransposeBias", inputs, outputs, options))
    np.testing.assert_allclose(emission.model(x)[0], expected, atol=1e-5)
    assert len(emission.model.trainable_variables) == 2


def transposed(x: NDArray[Any], w: NDArray[Any], b: NDArray[Any], stride: int, same: bool) -> NDArray[Any]:
    height, width, _ = x.shape
    less = [max(0, k - (n - 1) % stride - 1) if same else 0 for n, k in ((height, w.shape[1]), (width, w.shape[2]))]
    whole = np.zeros(((height - 1) * stride + w.shape[1], (width - 1) * stride + w.shape[2], w.shape[0]))
    for i, j in np.ndindex(height, width):
        box = (slice(i * stride, i * stride + w.shape[1]), slice(j * stride, j * stride + w.shape[2]))
        whole[box] += np.einsum("oyxi,i->yxo", w, x[i, j])
    rows, columns = (slice(c // 2, n - (c - c // 2)) for c, n in zip(less, whole.shape, strict=False))
    return whole[rows, columns] + b


@pytest.mark.parametrize(("padding", "shape"), [(VALID, (3, 2)), (SAME, (3, 3))])
def test_max_pooling_tells_the_place_and_unpooling_puts_it_back(padding: int, shape: tuple[int, int]) -> None:
    x = rand(1, 6, 5, 2)
    options = struct.pack("<10i", padding, 2, 2, 2, 2, 0, 0, 0, 0, 0)
    pooled = [build.Tensor((1, *shape, 2)), build.Tensor((1, *shape, 2))]
    emission = reconstruct(one_op("CUSTOM:MaxPoolingWithArgmax2D", [build.Tensor(x.shape)], pooled, options))
    values, places = (np.asarray(v) for v in emission.model(x))
    for i, j, c in np.ndindex(*shape, 2):
        window = x[0, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        row, column = np.unravel_index(window.argmax(), window.shape)
        assert values[0, i, j, c] == window.max()
        assert places[0, i, j, c] == np.float32(row * 2 + column + 0.1)

    whole = [build.Tensor((1, 2 * shape[0], 2 * shape[1], 2))]
    emission = reconstruct(one_op("CUSTOM:MaxUnpooling2D", pooled, whole, options))
    result = np.asarray(emission.model([values, places]))
    assert np.count_nonzero(result) == values.size
    rows, columns = (min(a, b) for a, b in zip(result.shape[1:3], x.shape[1:3], strict=True))
    inside, source = result[:, :rows, :columns], x[:, :rows, :columns]
    np.testing.assert_array_equal(inside[inside != 0], source[inside != 0])


def test_landmarks_come_with_any_batch_and_train() -> None:
    """A region found by points, cut out of a map: each sample its own, and a gradient to map and points."""
    points, whole = rand(3, 12, 3, low=0, high=9), rand(3, 9, 8, 2)
    tensors = [build.Tensor((1, *t)) for t in ((12, 3), (9, 8, 2), (4, 4), (5, 5, 2))]
    find = build.Op("CUSTOM:Landmarks2TransformMatrix", [0], [2], bytes(flexbuffers.Dumps(REGION)), 2)
    size = bytes(flexbuffers.Dumps({"output_height": 5, "output_width": 5}))
    cut = build.Op("CUSTOM:TransformTensorBilinear", [1, 2], [3], size, 2)
    model = reconstruct(build.build_model(build.Subgraph(tensors, [find, cut], [0, 1], [3]))).model
    together = np.asarray(model([points, whole]))
    alone = [np.asarray(model([points[k : k + 1], whole[k : k + 1]]))[0] for k in range(3)]
    np.testing.assert_allclose(together, alone, atol=1e-6)
    with tf.GradientTape() as tape:
        watched = [tf.Variable(points), tf.Variable(whole)]
        result = tf.reduce_sum(model(watched) ** 2)
    assert all(np.any(np.asarray(g)) for g in tape.gradient(result, watched))


@pytest.fixture
def own_op() -> Iterator[str]:
    name = "TestScaleBy"
    register_custom_op(name, scale_by, weights=["gain"])
    yield name
    KERNELS.pop(f"CUSTOM:{name}")


def scale_by(x: Any, gain: Any, *, factor: float, custom_options: bytes = b"") -> Any:
    return x * gain * factor


def test_ones_own_operator_is_reconstructed_trained_and_loaded_again(own_op: str, tmp_path: Path) -> None:
    x, gain = rand(2, 3), rand(3, seed=1)
    inputs = [build.Tensor(x.shape), build.Tensor(gain.shape, data=gain)]
    data = one_op(f"CUSTOM:{own_op}", inputs, [build.Tensor(x.shape)], bytes(flexbuffers.Dumps({"factor": 2.0})))
    emission = reconstruct(data)
    np.testing.assert_allclose(emission.model(x), x * gain * 2, rtol=1e-6)
    assert [v.shape for v in emission.model.trainable_variables] == [(3,)]
    emission.model.save(tmp_path / "m.keras")
    np.testing.assert_allclose(keras.models.load_model(tmp_path / "m.keras")(x), x * gain * 2, rtol=1e-6)


def test_an_operator_is_registered_once(own_op: str) -> None:
    with pytest.raises(UsageError, match="one function"):
        register_custom_op(own_op, lambda x, gain: x)
    with pytest.raises(UsageError, match="one function"):
        register_custom_op("TFLite_Detection_PostProcess", scale_by)
    assert f"CUSTOM:{own_op}" not in EMITTERS


def test_a_cell_of_a_notebook_may_run_again(own_op: str) -> None:
    def anew(x: Any, gain: Any, *, factor: float) -> Any:
        return x - gain * factor

    anew.__qualname__ = scale_by.__qualname__
    register_custom_op(own_op, anew)
    assert KERNELS[f"CUSTOM:{own_op}"].fn is anew
    assert not KERNELS[f"CUSTOM:{own_op}"].weights


def test_an_unknown_custom_operator_is_refused_by_name() -> None:
    data = one_op("CUSTOM:NobodyKnows", [build.Tensor((1, 2))], [build.Tensor((1, 2))], b"")
    with pytest.raises(UnsupportedModel, match="CUSTOM:NobodyKnows"):
        reconstruct(data)


def test_options_of_a_flexbuffer_map() -> None:
    options = {"a": 1, "b": 2.5, "c": True, "s": "x", "v": [1, 2, 3]}
    assert custom_options.decode("X", bytes(flexbuffers.Dumps(options))) == {**options, "v": (1, 2, 3)}


@given(st.binary(max_size=64))
def test_any_bytes_may_be_custom_options(payload: bytes) -> None:
    assert isinstance(custom_options.decode("X", payload), dict)
    assert isinstance(custom_options.decode("MaxUnpooling2D", payload), dict)
