"""The demo: a network with a known truth is lost, brought back, taught more, and put back on the board.

A small convolutional network learns scikit-learn's handwritten digits from a few of them, is converted to int8 and
thrown away. From the .tflite file alone it comes back, is compared layer by layer with the device, is fine-tuned with
plain `model.fit` on more digits, and goes back into the same file, which is proven on the device. Then the demo says
how far the recovered weights are from the lost ones.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from liteback.cli import tables
from liteback.cli.shared import progress, quiet
from liteback.cli.terminal import Terminal
from liteback.export.patch import patch
from liteback.files import write_atomic
from liteback.inputs import Inputs, read_inputs
from liteback.lift import lift
from liteback.numerics.affine import dequantize, quantize
from liteback.proof import prove
from liteback.roundtrip import roundtrip
from liteback.session.board import Board, connect

KNOWN, TEST = 200, 500  # digits that the lost network learned from; digits that none learns from; the rest is new
SAMPLES = 16  # of the capture
HALF_A_STEP = 0.5 + 1e-3  # what rounding may move a weight, and float32's share in dividing by the step
LOST, TUNED = "the lost network", "the fine-tuned file on the device"
Images = NDArray[np.float32]


@dataclass(frozen=True)
class Digits:
    """8×8 images in [0, 1] and their labels. known: what the lost network saw. new: what fine-tuning adds."""

    known: tuple[Images, NDArray[Any]]
    new: tuple[Images, NDArray[Any]]
    test: tuple[Images, NDArray[Any]]


def main(folder: Path) -> None:
    """Run the demo and leave everything in `folder`."""
    console = Terminal()
    keras.utils.set_random_seed(7)
    digits = read_digits()
    console.rule("1. a network is trained, converted to int8, and lost")
    data, truth, accuracy = lost_network(digits)
    name = "digits_int8.tflite"
    write_atomic(folder / name, data)
    np.savez(folder / "inputs.npz", in_0=digits.test[0][:SAMPLES])
    console.say(f"{folder / name}: {len(data):,} bytes; the Keras model is gone")

    console.rule("2. round trip on the local agent")
    with connect("local") as board:
        with progress() as bar:
            inputs = read_inputs(folder / "inputs.npz", lift(data).main)
            trip = roundtrip(board, name, data, inputs, folder, progress=bar)
        tables.trip(console, trip)
        accuracy["the int8 file on the device"] = on_device(board, data, digits.test)

        console.rule("3. fine-tuned with plain model.fit, and put back by patch")
        model = keras.models.load_model(folder / "model.keras")
        accuracy["the reconstruction"] = score(model, digits.test)
        distances = list(weight_distances(trip.emission, truth))
        fine_tune(model, digits)
        model.save(folder / "tuned.keras")
        accuracy["the reconstruction, fine-tuned"] = score(model, digits.test)
        patched = patch(model, data)
        write_atomic(folder / "digits_tuned.tflite", patched.data)
        tables.export(console, folder / "digits_tuned.tflite", patched, patched.data == data)
        proof = _prove(board, {name: data, "digits_tuned.tflite": patched.data}, inputs)
        tables.proof(console, proof)
        accuracy[TUNED] = on_device(board, patched.data, digits.test)

    console.rule("4. the known truth")
    show(console, trip, accuracy, distances)
    if max(d for _, d in distances) > HALF_A_STEP or accuracy[TUNED] <= accuracy[LOST]:
        raise SystemExit("The demo did not show what it promises: see the numbers above.")


def _prove(board: Board, files: dict[str, bytes], inputs: Inputs) -> Any:
    with tempfile.TemporaryDirectory(prefix="liteback-demo-") as folder:
        return prove(board, files, inputs, Path(folder))


def read_digits() -> Digits:
    """scikit-learn's copy of the UCI handwritten digits, in a fixed random order."""
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.images))
    images = (bunch.images[order, :, :, np.newaxis] / 16).astype(np.float32)
    labels = bunch.target[order]
    known, rest = slice(TEST, TEST + KNOWN), slice(TEST + KNOWN, None)
    return Digits((images[known], labels[known]), (images[rest], labels[rest]), (images[:TEST], labels[:TEST]))


def lost_network(digits: Digits) -> tuple[bytes, list[NDArray[np.float32]], dict[str, float]]:
    """Train, convert, and keep only the file, and for the last chapter the kernels with their BatchNorm folded."""
    layers = [keras.Input((8, 8, 1), name="image")]
    for filters in (12, 16):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(6.0),
        ]
    layers += [keras.layers.MaxPooling2D(), keras.layers.Flatten(), keras.layers.Dense(10), keras.layers.Softmax()]
    model = keras.Sequential(layers)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*digits.known, epochs=30, batch_size=16, verbose=0)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in digits.known[0])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with quiet(), redirect_stdout(io.StringIO()), warnings.catch_warnings():  # the converter talks in all three ways
        warnings.simplefilter("ignore")
        data = converter.convert()
    return data, folded_kernels(model), {LOST: score(model, digits.test)}


def folded_kernels(model: Any) -> list[NDArray[np.float32]]:
    """Kernels as the converter sees them: a convolution's times gamma / sqrt(variance + epsilon) of its BatchNorm."""
    kernels: list[NDArray[np.float32]] = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, _, _, variance = layer.get_weights()
            kernels[-1] = kernels[-1] * gamma / np.sqrt(variance + layer.epsilon)
        elif layer.weights:
            kernels.append(layer.get_weights()[0])
    return kernels


def weight_distances(emission: Any, truth: list[NDArray[np.float32]]) -> Iterator[tuple[str, float]]:
    """(layer, the largest distance of a recovered kernel from the lost one, in quantization steps)."""
    kernels = [b for b in emission.bindings if b.position == 0]
    for binding, lost in zip(kernels, truth, strict=True):
        step = emission.graph.tensors[binding.weight.tensor].quantization.scale  # per output channel, the last axis
        yield binding.layer, float(np.abs((np.asarray(binding.weight.value) - lost) / step).max())


def fine_tune(model: Any, digits: Digits) -> None:
    """A few epochs of ordinary Keras training on the digits the lost network never saw."""
    images = np.concatenate([digits.known[0], digits.new[0]])
    labels = np.concatenate([digits.known[1], digits.new[1]])
    model.compile(keras.optimizers.Adam(5e-4), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, epochs=6, batch_size=32, verbose=0)


def score(model: Any, test: tuple[Images, NDArray[Any]]) -> float:
    return float(np.mean(model.predict(test[0], verbose=0).argmax(-1) == test[1]))


def on_device(board: Board, data: bytes, test: tuple[Images, NDArray[Any]]) -> float:
    """The accuracy of a .tflite file as the agent's runtime computes it."""
    graph = lift(data).main
    (x,), (y,) = graph.inputs, graph.outputs
    grids = graph.tensors[x].quantization, graph.tensors[y].quantization
    if grids[0] is None or grids[1] is None:
        raise ValueError("the demo's file takes and gives int8")
    right = 0
    with board.open(board.put_model(data), tensors=[y]) as session:
        for k, (image, label) in enumerate(zip(*test, strict=True)):
            codes = quantize(image[np.newaxis], grids[0], graph.tensors[x].dtype)
            right += int(dequantize(session.invoke(k, {x: codes}).tensors[y], grids[1]).argmax() == label)
    return right / len(test[1])


def show(console: Terminal, trip: Any, accuracy: dict[str, float], distances: list[tuple[str, float]]) -> None:
    """What the demo set out to show, in numbers."""
    certificate = trip.recording.manifest.certificate
    console.say(tables.certificate_line(certificate.to_json()))
    for mode in ("isolated", "cumulative"):
        worst = trip.primary.worst(mode, "lsb_max")[0]
        console.say(f"worst layer, {mode}: {worst.layer}, {worst.value(mode, 'lsb_max'):g} LSB")
    rows = tables.table("", f">accuracy on {TEST} test digits")
    for what, value in accuracy.items():
        rows.add_row(what, f"{100 * value:.1f} %")
    console.print(rows)
    rows = tables.table("recovered kernel", ">farthest from the lost one")
    for layer, distance in distances:
        rows.add_row(layer, f"{distance:.3f} quantization steps")
    console.print(rows)
    console.say(f"Open {trip.report} in a browser.")
