"""The Signal library against its reference kernels, whose results `record_signal.py` recorded; and by definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from emit.signal_cases import STREAMS, Stream, audio_frames, noise, recorded, stream
from liteback.emit.build import emit
from liteback.emit.kiss_fft import irfft, rfft
from liteback.emit.state import reset_state
from liteback.errors import UnsupportedModel
from liteback.lift import lift
from liteback.saving import save

RECORDED = recorded()


def run(model: Any, inputs: Any) -> list[NDArray[Any]]:
    results = model(inputs[0] if len(inputs) == 1 else list(inputs))
    return [np.asarray(r) for r in (results if isinstance(results, (list, tuple)) else [results])]


@pytest.mark.parametrize("each", STREAMS, ids=str)
def test_an_operator_computes_what_its_kernel_computes(each: Stream) -> None:
    model = emit(lift(each.model)).model
    for inputs, expected in zip(each.calls, RECORDED[str(each)], strict=True):
        results = run(model, inputs)
        for result, wanted in zip(results, expected, strict=True):
            if results[-1].dtype == bool and not expected[-1] and wanted.dtype != bool:
                continue  # frames that are not whole: the kernel leaves there what was in memory
            if wanted.dtype.kind == "f":
                np.testing.assert_allclose(result, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
            else:
                np.testing.assert_array_equal(result, wanted, strict=True)


@pytest.mark.parametrize("dtype", ["int16", "int32"])
@pytest.mark.parametrize("length", [16, 60, 512])
def test_the_fixed_point_transform_is_a_transform(dtype: str, length: int) -> None:
    """The spectrum is 1 / length times the usual one, within a few roundings; the inverse gives the signal / length."""
    x = noise(length, high=np.iinfo(dtype).max // 2, dtype=dtype)
    spectrum = np.asarray(rfft(tf.constant(x), length)).astype(np.float64)
    usual = np.fft.rfft(x.astype(np.float64)) / length
    np.testing.assert_allclose(spectrum[:, 0] + 1j * spectrum[:, 1], usual, rtol=0, atol=6)
    pairs = np.stack([usual.real, usual.imag], -1).round().astype(dtype)
    np.testing.assert_allclose(irfft(tf.constant(pairs), length), x / length, rtol=0, atol=6)


def test_state_is_reset_and_begins_anew() -> None:
    delay = next(s for s in STREAMS if str(s) == "SignalDelay-3")
    model = emit(lift(delay.model)).model
    first = run(model, delay.calls[0])
    assert not np.array_equal(run(model, delay.calls[0])[0], first[0])
    reset_state(model)
    np.testing.assert_array_equal(run(model, delay.calls[0])[0], first[0])


@pytest.mark.parametrize(
    "broken",
    [
        stream("Delay", [noise(1, 8)], [(1, 8)], delay_length=-1),
        stream("Delay", [noise(1, 8)], [(1, 8)], delay_length=1 << 30),
        stream("Delay", [noise(1, 8)], [(1, 8)]),
        stream("Framer", [noise(8)], [(2, 4), ()], out=("int16", "bool"), frame_size=4, frame_step=0, prefill=False),
        stream("Framer", [noise(8)], [(2, 2), ()], out=("int16", "bool"), frame_size=2, frame_step=4, prefill=True),
        stream("Rfft", [noise(8)], [(16,)], fft_length=14),
        stream("Rfft", [noise(8)], [(10,)], fft_length=9),
        stream("Rfft", [noise(8)], [(10,)], fft_length=1 << 40),
        stream("Rfft", [noise(8)], [(6,)], fft_length=4),
    ],
    ids=str,
)
def test_options_that_no_kernel_runs_with_are_refused(broken: Stream) -> None:
    with pytest.raises(UnsupportedModel, match="CUSTOM:Signal"):
        emit(lift(broken.model))


@pytest.fixture(scope="session")
def preprocessor(shared_models: Path) -> bytes:
    return (shared_models / "networks" / "audio_preprocessor_int8.tflite").read_bytes()


@pytest.mark.parametrize("numerics", ["float", "fakequant"])
def test_the_audio_front_end_gives_the_features_of_the_device(preprocessor: bytes, numerics: Any) -> None:
    model = emit(lift(preprocessor), numerics).model
    for frame, expected in zip(audio_frames(), RECORDED["audio"][0], strict=True):
        np.testing.assert_array_equal(np.asarray(model(frame)), expected, strict=True)


def test_the_audio_front_end_is_saved_with_its_state(preprocessor: bytes, tmp_path: Path) -> None:
    emission = emit(lift(preprocessor))
    save(emission, tmp_path / "m.keras")
    save(emission, tmp_path / "saved")
    keras_model = keras.models.load_model(tmp_path / "m.keras")
    served = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    for frame, expected in zip(audio_frames(), RECORDED["audio"][0], strict=True):
        np.testing.assert_array_equal(np.asarray(keras_model(frame)), expected)
        np.testing.assert_array_equal(next(iter(served(tf.constant(frame)).values())), expected)
