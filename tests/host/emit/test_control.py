"""Several subgraphs, state from call to call, and signatures: against the interpreter, saved, trained, put back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

import liteback
from emit.case import rand
from emit.cases.recurrent import BATCH, STEP, UNITS, lstm, svdf
from liteback.emit.emission import Emission, layer_at
from liteback.errors import UsageError
from liteback.export.patch import patch
from liteback.ir import CODE_RANGE
from liteback.lift import lift
from liteback.numerics.affine import dequantize, quantize
from liteback.reconstruction import reconstruct, reconstruction, signature_reconstructions
from liteback.saving import save
from liteback.session.board import Board
from tflite_build import Op, Signature, Subgraph, Tensor, build_model

F4, SCALAR, MATRIX = Tensor([1, 4]), Tensor([], "int32"), Tensor([4, 4])
ONE = Tensor([], "int32", np.int32(1))


def run(model: Any, *feeds: Any) -> list[NDArray[Any]]:
    results = model(feeds[0] if len(feeds) == 1 else list(feeds))
    return [np.asarray(r) for r in (results if isinstance(results, (list, tuple)) else [results])]


def on_board(board: Board, data: bytes, steps: Sequence[Sequence[Any]]) -> list[list[NDArray[Any]]]:
    """The interpreter's outputs for each step, its state reset before the first."""
    graph = lift(data).main
    with board.open(board.put_model(data), tensors=list(graph.outputs)) as session:
        runs = [
            session.invoke(0, dict(zip(graph.inputs, step, strict=True)), reset_state=k == 0)
            for k, step in enumerate(steps)
        ]
    return [[invocation.tensors[t] for t in graph.outputs] for invocation in runs]


def agree(model: Any, board: Board, data: bytes, steps: Sequence[Sequence[Any]], atol: float = 1e-5) -> None:
    for step, expected in zip(steps, on_board(board, data, steps), strict=True):
        for result, wanted in zip(run(model, *step), expected, strict=True):
            assert result.dtype == wanted.dtype
            np.testing.assert_allclose(result, wanted, atol=atol, rtol=0)


def while_options(cond: int, body: int) -> Any:
    return schema.WhileOptionsT(condSubgraphIndex=cond, bodySubgraphIndex=body)


def counting(limit: int, *more: Tensor) -> Subgraph:
    """cond(i, ...) = i < limit."""
    tensors = [SCALAR, *more, Tensor([], "int32", np.int32(limit)), Tensor([], "bool")]
    last = len(tensors) - 1
    op = Op("LESS", [0, last - 1], [last], schema.LessOptionsT())
    return Subgraph(tensors, [op], list(range(1 + len(more))), [last], "cond")


def loop() -> bytes:
    """Three times x = x W + b, W and b constants of the loop's body."""
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), SCALAR, F4],
        [Op("WHILE", [1, 0], [2, 3], while_options(1, 2))],
        [0],
        [3],
    )
    tensors = [
        SCALAR,
        F4,
        ONE,
        SCALAR,
        Tensor([4, 4], data=rand(4, 4, low=-0.7, high=0.7)),
        Tensor([4], data=rand(4)),
        F4,
    ]
    body = Subgraph(
        tensors,
        [
            Op("ADD", [0, 2], [3], schema.AddOptionsT()),
            Op("FULLY_CONNECTED", [1, 4, 5], [6], schema.FullyConnectedOptionsT()),
        ],
        [0, 1],
        [3, 6],
        "body",
    )
    return build_model(main, counting(3, F4), body)


def handed_loop() -> bytes:
    """The same, W handed to the loop, which hands it on from round to round; it starts from what changes, too."""
    kernel = Tensor([4, 4], data=rand(4, 4, low=-0.7, high=0.7))
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), kernel, Tensor([1, 4], data=rand(1, 4)), SCALAR, F4, MATRIX, F4],
        [Op("WHILE", [1, 0, 2, 3], [4, 5, 6, 7], while_options(1, 2))],
        [0],
        [5, 7],
    )
    body = Subgraph(
        [SCALAR, F4, MATRIX, F4, ONE, SCALAR, F4, F4],
        [
            Op("ADD", [0, 4], [5], schema.AddOptionsT()),
            Op("FULLY_CONNECTED", [1, 2, -1], [6], schema.FullyConnectedOptionsT()),
            Op("ADD", [6, 3], [7], schema.AddOptionsT()),
        ],
        [0, 1, 2, 3],
        [5, 6, 2, 7],
        "body",
    )
    return build_model(main, counting(3, F4, MATRIX, F4), body)


def nested_loops() -> bytes:
    """Twice: (three times x = x + 1), x = 2 x."""
    inner = Subgraph(
        [SCALAR, F4, ONE, SCALAR, Tensor([1, 4], data=np.ones((1, 4))), F4],
        [Op("ADD", [0, 2], [3], schema.AddOptionsT()), Op("ADD", [1, 4], [5], schema.AddOptionsT())],
        [0, 1],
        [3, 5],
    )
    outer = Subgraph(
        [SCALAR, F4, Tensor([], "int32", np.int32(0)), SCALAR, F4, F4, ONE, SCALAR],
        [
            Op("WHILE", [2, 1], [3, 4], while_options(3, 4)),
            Op("ADD", [4, 4], [5], schema.AddOptionsT()),
            Op("ADD", [0, 6], [7], schema.AddOptionsT()),
        ],
        [0, 1],
        [7, 5],
    )
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), SCALAR, F4],
        [Op("WHILE", [1, 0], [2, 3], while_options(1, 2))],
        [0],
        [3],
    )
    return build_model(main, counting(2, F4), outer, counting(3, F4), inner)


def growing_loop() -> bytes:
    """x = [x, x] along the last axis, three times: its shape changes from round to round."""
    grown = Tensor([1, 4], shape_signature=[1, -1])
    body = Subgraph(
        [SCALAR, grown, ONE, SCALAR, grown],
        [
            Op("ADD", [0, 2], [3], schema.AddOptionsT()),
            Op("CONCATENATION", [1, 1], [4], schema.ConcatenationOptionsT(axis=1)),
        ],
        [0, 1],
        [3, 4],
    )
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), SCALAR, grown],
        [Op("WHILE", [1, 0], [2, 3], while_options(1, 2))],
        [0],
        [3],
    )
    return build_model(main, counting(3, grown), body)


def rotating_loop() -> bytes:
    """Three times x = [x[i:], x[:i]], then x W: the file knows that x keeps its four elements, arithmetic does not."""
    parts = [Tensor([1, 1], shape_signature=[1, -1]) for _ in range(2)]
    vectors = [Tensor([2], "int32", np.int32(v)) for v in ([0, 0], [1, -1])]
    pair = schema.PackOptionsT(valuesCount=2, axis=0)
    body = Subgraph(
        [SCALAR, F4, ONE, SCALAR, F4, *parts, *vectors, Tensor([], "int32", np.int32(0)), *[Tensor([2], "int32")] * 2],
        [
            Op("ADD", [0, 2], [3], schema.AddOptionsT()),
            Op("PACK", [9, 0], [10], pair),
            Op("SLICE", [1, 10, 8], [5], schema.SliceOptionsT()),
            Op("PACK", [2, 0], [11], pair),
            Op("SLICE", [1, 7, 11], [6], schema.SliceOptionsT()),
            Op("CONCATENATION", [5, 6], [4], schema.ConcatenationOptionsT(axis=1)),
        ],
        [0, 1],
        [3, 4],
    )
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), SCALAR, F4, Tensor([2, 4], data=rand(2, 4)), Tensor([1, 2])],
        [
            Op("WHILE", [1, 0], [2, 3], while_options(1, 2)),
            Op("FULLY_CONNECTED", [3, 4], [5], schema.FullyConnectedOptionsT(keepNumDims=True)),
        ],
        [0],
        [5],
    )
    return build_model(main, counting(3, F4), body)


def scaled_loop() -> bytes:
    """Three times x = x + x from x / 2 on: Keras takes a product with a constant for sparse."""
    body = Subgraph(
        [SCALAR, F4, ONE, SCALAR, F4],
        [Op("ADD", [0, 2], [3], schema.AddOptionsT()), Op("ADD", [1, 1], [4], schema.AddOptionsT())],
        [0, 1],
        [3, 4],
    )
    half = Tensor([], data=np.float32(0.5))
    main = Subgraph(
        [F4, Tensor([], "int32", np.int32(0)), SCALAR, F4, half, F4],
        [Op("MUL", [0, 4], [5], schema.MulOptionsT()), Op("WHILE", [1, 5], [2, 3], while_options(1, 2))],
        [0],
        [3],
    )
    return build_model(main, counting(3, F4), body)


def handle(index: int, name: str = "total") -> Op:
    return Op("VAR_HANDLE", [], [index], schema.VarHandleOptionsT(container="", sharedName=name))


def running_total(inside: str) -> bytes:
    """total += x, and total is the result; the variable starts at 10 and is used in the main graph or in a loop."""
    resource = Tensor([], "resource")
    start = Subgraph(
        [resource, Tensor([1, 4], data=np.full((1, 4), 10))],
        [handle(0), Op("ASSIGN_VARIABLE", [0, 1], [], schema.AssignVariableOptionsT())],
        [],
        [],
        "init",
    )
    add = [
        Op("READ_VARIABLE", [0], [2], schema.ReadVariableOptionsT()),
        Op("ADD", [1, 2], [3], schema.AddOptionsT()),
        Op("ASSIGN_VARIABLE", [0, 3], [], schema.AssignVariableOptionsT()),
    ]
    once = Op("CALL_ONCE", [], [], schema.CallOnceOptionsT(initSubgraphIndex=1))
    if inside == "main":
        main = Subgraph([resource, F4, F4, F4], [once, handle(0), *add], [1], [3])
        return build_model(main, start)
    body = Subgraph(
        [resource, F4, F4, F4, SCALAR, ONE, SCALAR],
        [handle(0), *add, Op("ADD", [4, 5], [6], schema.AddOptionsT())],
        [4, 1],
        [6, 1],
    )
    main = Subgraph(
        [resource, F4, F4, F4, Tensor([], "int32", np.int32(0)), SCALAR],
        [
            once,
            Op("WHILE", [4, 1], [5, 3], while_options(2, 3)),
            handle(0),
            Op("READ_VARIABLE", [0], [2], schema.ReadVariableOptionsT()),
        ],
        [1],
        [2],
    )
    return build_model(main, start, counting(2, F4), body)


def branches() -> bytes:
    """x + 1 if the condition holds, else the constant 5: a branch that reads none of its arguments."""
    then = Subgraph(
        [F4, Tensor([1, 4], data=np.ones((1, 4))), F4], [Op("ADD", [0, 1], [2], schema.AddOptionsT())], [0], [2]
    )
    other = Subgraph([F4, Tensor([1, 4], data=np.full((1, 4), 5))], [], [0], [1])
    options = schema.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2)
    main = Subgraph([Tensor([], "bool"), F4, F4], [Op("IF", [0, 1], [2], options)], [0, 1], [2])
    return build_model(main, then, other)


X = [(rand(1, 4, seed=k),) for k in range(3)]


LOOPS = {
    "loop": loop(),
    "nested": nested_loops(),
    "growing": growing_loop(),
    "rotating": rotating_loop(),
    "scaled": scaled_loop(),
    "handed": handed_loop(),
}


@pytest.mark.parametrize("data", LOOPS.values(), ids=LOOPS)
def test_a_loop_computes_what_the_interpreter_computes(data: bytes, board: Board) -> None:
    agree(reconstruct(data), board, data, X)


def test_a_branch_is_chosen_when_the_model_runs(board: Board) -> None:
    steps = [(np.array(True), X[0][0]), (np.array(False), X[1][0])]
    agree(reconstruct(branches()), board, branches(), steps)


@pytest.mark.parametrize("inside", ["main", "loop"])
def test_a_variable_lasts_from_call_to_call_and_is_reset(inside: str, board: Board) -> None:
    data = running_total(inside)
    model = reconstruct(data)
    agree(model, board, data, X)
    liteback.reset_state(model)
    agree(model, board, data, X)
    assert not [w for w in model.trainable_weights if "total" in w.path]


@pytest.mark.parametrize(
    "case", [svdf("steps", rank=2), lstm("steps", STEP), lstm("own", STEP, peephole=True)], ids=str
)
def test_a_variable_tensor_lasts_from_step_to_step(case: Any, board: Board) -> None:
    data = case.model([(BATCH, UNITS)])
    model = reconstruct(data)
    agree(model, board, data, [(rand(*STEP.shape, seed=k),) for k in range(8)])


def test_what_remembers_runs_where_keras_does_not_say_how_many_samples_there_are() -> None:
    """In `predict` and `fit`, whatever the batch is."""
    model, x = reconstruct(running_total("main")), rand(5, 4)
    np.testing.assert_allclose(model.predict(x, batch_size=1, verbose=0), 10 + np.cumsum(x, 0), rtol=1e-6)


@pytest.mark.parametrize(
    "data",
    [
        loop(),
        branches(),
        running_total("loop"),
        lstm("x", peephole=True, projection=True).model([(BATCH, 3, 3)]),
        svdf("x").model([(BATCH, UNITS)]),
    ],
    ids=["loop", "branches", "variable", "lstm", "svdf"],
)
@pytest.mark.parametrize("ending", [".keras", ""])
def test_it_is_the_same_model_when_loaded_again(data: bytes, ending: str, tmp_path: Path) -> None:
    emission = reconstruction(data)
    inputs = [
        np.asarray(np.ones(x.shape) if x.dtype == "bool" else rand(*x.shape), x.dtype) for x in emission.model.inputs
    ]
    path = tmp_path / f"model{ending}"
    save(emission, path)
    loaded = keras.models.load_model(path) if ending else _served(emission, path)
    for _ in range(2):  # a second step, with the state that the first one left
        for result, wanted in zip(run(loaded, *inputs), run(emission.model, *inputs), strict=True):
            np.testing.assert_allclose(result, wanted, atol=1e-6)


def _served(emission: Emission, path: Path) -> Any:
    from liteback.saving import interface_names

    loaded = tf.saved_model.load(path)
    serve = loaded.signatures["serving_default"]
    takes, gives = interface_names(emission.graph)

    def call(inputs: Any) -> list[Any]:
        feeds = inputs if isinstance(inputs, list) else [inputs]
        results = serve(**{name: tf.constant(v) for name, v in zip(takes, feeds, strict=True)})
        return [results[name] for name in gives]

    call.keeps = loaded  # type: ignore[attr-defined]  # TensorFlow holds its variables weakly
    return call


@pytest.mark.parametrize(("data", "weights"), [(loop(), 2), (handed_loop(), 1)], ids=["own", "handed"])
def test_weights_of_a_loop_train_and_go_back_into_the_file(data: bytes, weights: int) -> None:
    """A value that the rounds change is no weight, whatever it starts as."""
    emission = reconstruction(data)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(keras.tree.flatten(emission.model(X[0][0]))[0] ** 2)
    gradients = tape.gradient(loss, emission.model.trainable_variables)
    assert len(gradients) == weights
    assert all(np.any(np.asarray(g)) for g in gradients)
    assert patch(emission.model, data).data == data
    layer = layer_at(emission.model, emission.bindings[0].layer)
    layer.set_weights([w * 0.5 for w in layer.get_weights()])
    changed = reconstruct(patch(emission.model, data).data)
    np.testing.assert_allclose(run(changed, X[0][0])[0], run(emission.model, X[0][0])[0], rtol=1e-6)


def test_a_keras_lstm_goes_back_into_the_files_twelve_tensors() -> None:
    data = lstm("x").model([(BATCH, 3, UNITS)])
    emission = reconstruction(data)
    (layer,) = (op for op in emission.model.layers if isinstance(op, keras.layers.LSTM))
    assert not emission.own_layers
    assert patch(emission.model, data).data == data
    layer.set_weights([w + rand(*w.shape, seed=7) for w in layer.get_weights()])
    patched = patch(emission.model, data)
    assert len(patched.changes) == 12
    x = rand(BATCH, 3, 5, seed=3)
    np.testing.assert_allclose(run(reconstruct(patched.data), x)[0], run(emission.model, x)[0], atol=1e-6)


def test_a_signature_says_graph_order_and_names() -> None:
    graphs = [
        Subgraph([F4, F4, F4], [Op(op, [0, 1], [2], options())], [0, 1], [2, 0])
        for op, options in (("SUB", schema.SubOptionsT), ("DIV", schema.DivOptionsT))
    ]
    data = build_model(
        *graphs,
        signatures=[
            Signature("minus", {"b": 1, "a": 0}, {"result": 2}),
            Signature("over", {"a": 0, "b": 1}, {"same": 0, "result": 2}, subgraph=1),
        ],
    )
    a, b = rand(1, 4, seed=1), rand(1, 4, seed=2)
    minus = reconstruct(data, signature="minus")
    assert [x.name for x in minus.inputs] == ["b", "a"]
    np.testing.assert_allclose(run(minus, b, a)[0], a - b)
    same, quotient = run(reconstruct(data, signature="over"), a, b)
    np.testing.assert_array_equal(same, a)
    np.testing.assert_allclose(quotient, a / b, rtol=1e-6)
    with pytest.raises(UsageError, match=r"no signature 'times'. It has: 'minus', 'over'"):
        reconstruct(data, signature="times")


def test_a_signatures_weights_go_back_into_its_own_graph() -> None:
    options = schema.FullyConnectedOptionsT()
    graphs = [
        Subgraph(
            [F4, Tensor([4, 4], data=rand(4, 4, seed=k)), F4], [Op("FULLY_CONNECTED", [0, 1], [2], options)], [0], [2]
        )
        for k in (1, 2)
    ]
    signatures = [Signature(key, {"x": 0}, {"y": 2}, subgraph=k) for k, key in enumerate(("encode", "decode"))]
    data = build_model(*graphs, signatures=signatures)
    decode = reconstruct(data, signature="decode")
    assert patch(decode, data).data == data
    decode.set_weights([w * 2 for w in decode.get_weights()])
    patched = patch(decode, data).data
    for key, factor in (("encode", 1), ("decode", 2)):
        before, after = (run(reconstruct(d, signature=key), X[0][0])[0] for d in (data, patched))
        np.testing.assert_allclose(after, before * factor, rtol=1e-6)


def test_a_tensor_has_every_name_that_a_signature_gives_it(tmp_path: Path) -> None:
    outputs = {"first": 1, "second": 1, "input": 0}
    graph = Subgraph([F4, F4], [Op("NEG", [0], [1], schema.NegOptionsT())], [0], [1])
    emission = reconstruction(build_model(graph, signatures=[Signature("f", {"x": 0}, outputs)]), signature="f")
    save(emission, tmp_path / "model")
    serve = tf.saved_model.load(tmp_path / "model").signatures["serving_default"]
    assert serve.structured_outputs.keys() == outputs.keys()


def test_what_one_signature_stores_another_one_finds(tmp_path: Path) -> None:
    resource = Tensor([], "resource")
    keep = Subgraph(
        [resource, F4, F4],
        [
            handle(0),
            Op("ASSIGN_VARIABLE", [0, 1], [], schema.AssignVariableOptionsT()),
            Op("NEG", [1], [2], schema.NegOptionsT()),
        ],
        [1],
        [2],
    )
    read = [Op("READ_VARIABLE", [0], [2], schema.ReadVariableOptionsT()), Op("ADD", [1, 2], [3], schema.AddOptionsT())]
    add = Subgraph([resource, F4, F4, F4], [handle(0), *read], [1], [3])
    data = build_model(
        keep, add, signatures=[Signature("keep", {"x": 1}, {"y": 2}), Signature("add", {"x": 1}, {"y": 3}, subgraph=1)]
    )
    found, _ = signature_reconstructions(data)
    save(found["serving_default"], tmp_path / "model", found)
    loaded = tf.saved_model.load(tmp_path / "model")
    x, y = tf.constant(rand(1, 4)), tf.constant(rand(1, 4, seed=1))
    loaded.signatures["keep"](x=x)
    np.testing.assert_allclose(loaded.signatures["add"](x=y)["y"], x + y)


@pytest.mark.parametrize("name", ["okay_nabu", "trained_lstm_int8"])
def test_a_quantized_network_follows_the_board_step_by_step(name: str, shared_models: Path, board: Board) -> None:
    data = (shared_models / "networks" / f"{name}.tflite").read_bytes()
    graph = lift(data).main
    x, y = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    low, high = CODE_RANGE[x.dtype]
    steps = [np.random.default_rng(k).integers(low, high + 1, x.shape).astype(x.dtype) for k in range(4)]
    steps = steps if name == "okay_nabu" else steps[:1]  # a layer over whole sequences begins each one anew
    model = reconstruct(data, "fakequant")
    for codes, (wanted,) in zip(steps, on_board(board, data, [(s,) for s in steps]), strict=True):
        (result,) = run(model, dequantize(codes, x.quantization))
        lsb = quantize(result, y.quantization, y.dtype).astype(int) - wanted.astype(int)
        assert np.abs(lsb).max() <= 2
