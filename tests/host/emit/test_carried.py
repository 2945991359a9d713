"""Operators of TensorFlow that a file carries as they are (SELECT_TF_OPS), against the function that was converted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from flatbuffers import flexbuffers
from numpy.typing import NDArray
from tensorflow.python.framework import op_def_registry

import tflite_build as build
from emit.case import rand
from liteback.emit.carried import known
from liteback.emit.op_layer import OpLayer
from liteback.errors import UnsupportedModel
from liteback.export.patch import patch
from liteback.inspection import inspect
from liteback.reconstruction import reconstruct, reconstruction
from liteback.saving import save

SQUARE = rand(1, 4, 4)
IMAGE = rand(1, 8, 6, 2)
BOXES = [[0.1, 0.2, 0.9, 0.7], [0.0, 0.0, 1.2, 1.0]]

FUNCTIONS: dict[str, tuple[Callable[..., Any], Sequence[NDArray[Any]], list[str]]] = {
    "one": (lambda x: tf.nn.relu(tf.math.erf(x)), [SQUARE], ["Erf"]),
    "attributes": (lambda x: tf.linalg.inv(x, adjoint=True), [SQUARE], ["MatrixInverse"]),
    "complex": (
        lambda x: tf.math.imag(tf.cast(x, tf.complex64) * tf.constant([1 + 2j, 3 - 4j], tf.complex64)),
        [rand(3, 2)],
        [],
    ),
    "constants": (lambda x: tf.image.crop_and_resize(x, BOXES, [0, 0], [3, 5]), [IMAGE], ["CropAndResize"]),
    "two-results": (lambda x: tf.nn.max_pool_with_argmax(x, 2, 2, "VALID"), [IMAGE], ["MaxPoolWithArgmax"]),
    "lists": (
        lambda x, y: tf.strings.join([tf.strings.as_string(x), tf.strings.as_string(y)], "|"),
        [rand(5), rand(5, seed=1)],
        ["AsString", "AsString", "StringJoin"],
    ),
    "texts": (lambda x: tf.strings.lower(tf.strings.as_string(x)), [rand(5)], ["AsString", "StringLower"]),
    "seeds": (
        lambda x: x + tf.random.stateless_uniform([4], [1, 2]),
        [rand(4)],
        ["StatelessRandomGetKeyCounter", "StatelessRandomUniformV2"],
    ),
}

STATEFUL = {  # by name alone: they draw numbers, check them, or copy
    *("Multinomial", "ParameterizedTruncatedNormal", "TruncatedNormal"),
    *("CheckNumerics", "CheckNumericsV2", "DeepCopy", "GuaranteeConst"),
}


def converted(fn: Callable[..., Any], inputs: Sequence[NDArray[Any]]) -> bytes:
    wrapped = tf.function(fn, input_signature=[tf.TensorSpec(x.shape, x.dtype) for x in inputs])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([wrapped.get_concrete_function()], wrapped)
    return selecting(converter)


def selecting(converter: Any) -> bytes:
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())


def run(model: Any, inputs: Sequence[Any]) -> list[NDArray[Any]]:
    results = model(inputs[0] if len(inputs) == 1 else list(inputs))
    return [np.asarray(r) for r in (results if isinstance(results, (list, tuple)) else [results])]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_computes_what_the_function_computes(name: str, tmp_path: Path) -> None:
    fn, inputs, carried = FUNCTIONS[name]
    file = tmp_path / "model.tflite"
    file.write_bytes(converted(fn, inputs))
    assert not inspect(file).unsupported
    emission = reconstruction(file)
    own = [layer.op for layer in emission.model.layers if isinstance(layer, OpLayer)]
    assert [op.removeprefix("CUSTOM:Flex") for op in own if "Flex" in op] == carried
    expected = fn(*map(tf.constant, inputs))
    expected = expected if isinstance(expected, (list, tuple)) else [expected]
    save(emission, tmp_path / "model.keras")
    for model in (emission.model, keras.saving.load_model(tmp_path / "model.keras")):
        for result, wanted in zip(run(model, inputs), expected, strict=True):
            np.testing.assert_array_equal(result, wanted)
    save(emission, tmp_path / "saved")
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    assert len(serve.structured_outputs) == len(expected)


def test_a_table_of_numbers_is_filled_and_found(tmp_path: Path) -> None:
    lookup = keras.layers.IntegerLookup(vocabulary=[5, 7, -9])
    network = keras.Sequential([keras.Input((3,), dtype="int64"), lookup])
    file = tmp_path / "model.tflite"
    file.write_bytes(selecting(tf.lite.TFLiteConverter.from_keras_model(network)))
    assert "CUSTOM:FlexHashTableV2" in inspect(file).ops
    assert not inspect(file).unsupported
    x = np.array([[5, 6, 7], [-9, 5, 0]])
    np.testing.assert_array_equal(reconstruct(file)(x), [[1, 0, 2], [3, 1, 0]])


def test_the_layers_around_it_train_and_go_back() -> None:
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, tf.math.erf), keras.layers.Dense(2)])
    data = selecting(tf.lite.TFLiteConverter.from_keras_model(network))
    emission = reconstruction(data)
    x = rand(16, 6)
    np.testing.assert_allclose(emission.model(x), network(x), atol=1e-6)
    emission.model.compile("sgd", "mse")
    emission.model.fit(x, rand(16, 2, seed=1), verbose=0)
    again = reconstruct(patch(emission.model, data).data)
    np.testing.assert_allclose(again(x), emission.model(x), atol=1e-6)
    assert np.abs(np.asarray(again(x)) - network(x)).max() > 1e-4


@pytest.mark.parametrize("kind", [keras.layers.MaxPooling3D, keras.layers.AveragePooling3D])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_pooling_in_three_dimensions_is_stock(kind: Any, padding: str) -> None:
    network = keras.Sequential([keras.Input((5, 6, 7, 2)), kind((2, 3, 2), (1, 2, 2), padding)])
    emission = reconstruction(selecting(tf.lite.TFLiteConverter.from_keras_model(network)))
    assert [type(layer) for layer in emission.model.layers[1:]] == [kind]
    x = rand(2, 5, 6, 7, 2)
    np.testing.assert_allclose(emission.model(x), network(x), atol=1e-6)


def test_random_numbers_are_drawn_in_every_run() -> None:
    data = converted(lambda x: x + tf.raw_ops.RandomGamma(shape=[8], alpha=2.0), [np.zeros(8, np.float32)])
    model = reconstruct(data)
    first, second = (np.asarray(model(np.zeros(8, np.float32))) for _ in range(2))
    assert np.all(first != second)


def carrying(op: str, name: str, definition: bytes, tmp_path: Path) -> Path:
    builder = flexbuffers.Builder()
    with builder.Vector():
        builder.String(name)
        builder.String(definition.decode("ascii"))
    tensors = [build.Tensor((4,)), build.Tensor((4,))]
    node = build.Op(f"CUSTOM:Flex{op}", [0], [1], bytes(builder.Finish()))
    file = tmp_path / "model.tflite"
    file.write_bytes(build.build_model(build.Subgraph(tensors, [node], [0], [1])))
    return file


def node(op: str) -> bytes:
    return bytes(tf.compat.v1.NodeDef(op=op, input=[""]).SerializeToString())


@pytest.mark.parametrize(
    ("op", "name", "definition", "said"),
    [
        ("Double", "Double", node("Double"), "no operator 'Double' that computes"),
        ("ReadFile", "ReadFile", node("ReadFile"), "no operator 'ReadFile' that computes"),
        ("Erf", "ReadFile", node("ReadFile"), "its options are those of 'ReadFile'"),
        ("Erf", "Erf", node("ReadFile"), "no operator 'ReadFile' that computes"),
        ("Erf", "Erf", b"nothing like it", "its options hold no NodeDef"),
        ("Betainc", "Betainc", node("Betainc"), "Betainc"),
    ],
)
def test_what_it_refuses(op: str, name: str, definition: bytes, said: str, tmp_path: Path) -> None:
    """Operators that TensorFlow lacks, that reach beyond the model's tensors, or are not what they are called."""
    file = carrying(op, name, definition, tmp_path)
    with pytest.raises(UnsupportedModel, match=f"CUSTOM:Flex{op}(.|\n)*{said}"):
        reconstruct(file)


def test_options_that_are_none() -> None:
    tensors = [build.Tensor((4,)), build.Tensor((4,))]
    nodes = [build.Op("CUSTOM:FlexErf", [0], [1], b"\x00\x01")]
    with pytest.raises(UnsupportedModel, match=r"FlexErf.*its options hold no NodeDef"):
        reconstruct(build.build_model(build.Subgraph(tensors, nodes, [0], [1])))


def test_the_list_holds_operators_on_tensors_alone() -> None:
    """No handles, no functions, no files, no state but that of random numbers; all of them TensorFlow's."""
    handles = {tf.resource.as_datatype_enum, tf.variant.as_datatype_enum}
    for name in known():
        op = op_def_registry.get(name)
        assert hasattr(tf.raw_ops, name)
        assert not any(a.is_ref or a.type in handles for a in (*op.input_arg, *op.output_arg))
        assert not any(a.type in ("func", "list(func)") for a in op.attr)
        assert not op.is_stateful or name in STATEFUL or "Random" in name
    assert not {"ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "Print", "VarHandleOp"} & known()
