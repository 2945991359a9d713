"""The client against a real agent: what goes in comes out, on each runtime and kernel set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import small_models
import tflite_build as build
from absent import absent
from liteback.errors import AgentIncompatible, BoardUnreachable, ModelRefused, RunFailed, UsageError
from liteback.flatbuffer.tap import Patch, tap
from liteback.session.board import Board, RunOptions, connect
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL
from liteback_proto import agent_pb2
from liteback_proto.tensors import CHUNK_BYTES

ONES = np.ones((1, 4), np.float32)


@pytest.fixture(params=["tflite_runtime", "ai_edge_litert"])
def options(request: pytest.FixtureRequest, board: Board) -> RunOptions:
    if request.param not in {runtime.name for runtime in board.info.runtimes}:
        absent(f"{request.param} is not installed here")
    return RunOptions(runtime=request.param)


def run(board: Board, model: bytes, options: RunOptions, *steps: tuple[Any, bool]) -> list[Any]:
    """The output after each step of (input, reset_state)."""
    sha256 = board.put_model(model)
    with board.open(sha256) as session:
        outputs = list(session.ready.outputs)
    with board.open(sha256, options, tensors=outputs) as session:
        (source,) = session.ready.inputs
        return [
            session.invoke(i, {source: array}, reset_state=reset).tensors[outputs[0]]
            for i, (array, reset) in enumerate(steps)
        ]


@pytest.mark.parametrize("kernels", ["default", "builtin", "reference"])
def test_a_step(kernels: str, options: RunOptions, board: Board) -> None:
    sha256 = board.put_model(small_models.add())
    with board.open(sha256, RunOptions(options.runtime, kernels), tensors=[2, 0]) as session:
        assert session.ready.runtime.name == options.runtime
        assert (list(session.ready.inputs), list(session.ready.outputs)) == ([0, 1], [2])
        step = session.invoke(4, {0: ONES, 1: 2 * ONES})
        assert step.sample == 4
        assert step.invoke_ns > 0
        assert list(step.tensors) == [2, 0]
        np.testing.assert_array_equal(step.tensors[2], 3 * ONES)
        np.testing.assert_array_equal(step.tensors[0], ONES)
        # An input that is left out keeps its value.
        np.testing.assert_array_equal(session.invoke(5, {1: -ONES}).tensors[2], 0 * ONES)


def test_an_input_of_another_shape_resizes_the_model(options: RunOptions, board: Board) -> None:
    sha256 = board.put_model(small_models.add())
    with board.open(sha256, options, tensors=[2]) as session:
        for rows in (3, 1, 2):
            array = np.ones((rows, 4), np.float32)
            assert session.invoke(0, {0: array, 1: array}).tensors[2].shape == (rows, 4)


def test_a_model_that_cannot_be_prepared_before_its_extents_are_known(options: RunOptions, board: Board) -> None:
    """A 3x3 convolution of an image whose open height and width the file writes down as 1."""
    image = build.Tensor([1, 1, 1, 1], shape_signature=[1, -1, -1, 1])
    kernel = build.Tensor([1, 3, 3, 1], data=np.ones((1, 3, 3, 1), np.float32))
    window = schema.Conv2DOptionsT(padding=schema.Padding.VALID, strideH=1, strideW=1)
    bias, sums = build.Tensor([1], data=np.zeros(1, np.float32)), build.Tensor([1, 1, 1, 1])
    op = build.Op("CONV_2D", [0, 1, 2], [3], window)
    model = build.build_model(build.Subgraph([image, kernel, bias, sums], [op], [0], [3]))
    (result,) = run(board, model, options, (np.ones((1, 4, 5, 1), np.float32), True))
    assert (result == 9).all()
    assert result.shape == (1, 2, 3, 1)
    with pytest.raises(UsageError, match=r"does not take inputs of shapes \{0: \[1, 4, 5\]\}"):
        run(board, model, options, (np.ones((1, 4, 5), np.float32), True))


def test_many_tapped_tensors(options: RunOptions, board: Board) -> None:
    model, indices = small_models.chain(200), range(1, 201)
    array = np.arange(8, dtype=np.float32).reshape(1, 8)
    with board.open(board.put_model(model), options, tensors=indices, patches=[tap(model, indices)]) as session:
        tensors = session.invoke(0, {0: array}).tensors
    assert list(tensors) == list(indices)
    for index, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, array * (-1) ** index)


def test_a_tensor_larger_than_a_chunk_and_one_without_elements(options: RunOptions, board: Board) -> None:
    rows = CHUNK_BYTES // 1000 + 1
    big, empty = run(board, small_models.fill(), options, (np.array([rows, 1000]), True), (np.array([0, 5]), True))
    assert big.nbytes > 3 * CHUNK_BYTES
    assert big.shape == (rows, 1000)
    assert (big == 1).all()
    assert (empty.shape, empty.dtype) == ((0, 5), np.float32)


def test_strings(options: RunOptions, board: Board) -> None:
    words = np.empty((2, 2), object)
    words[:] = [[b"one", b""], [b"\0\xff", "zwölf".encode()]]
    (result,) = run(board, small_models.strings(), options, (words, True))
    assert result.tolist() == words.reshape(-1).tolist()


def test_the_state_of_variable_tensors(options: RunOptions, board: Board) -> None:
    one = np.ones((1, 1), np.float32)
    outputs = run(board, small_models.average(), options, (one, True), (2 * one, False), (3 * one, False), (one, True))
    assert [float(output[0, 0]) for output in outputs] == [1, 12, 23, 1]


def test_a_variable_tensor_that_an_operator_makes(options: RunOptions, board: Board) -> None:
    one = np.ones((1, 1), np.float32)
    outputs = run(board, small_models.begun_average(), options, (one, True), (2 * one, False), (one, True))
    assert [float(output[0, 0]) for output in outputs] == [31, 32, 31]


def test_the_state_of_resource_variables(options: RunOptions, board: Board) -> None:
    one = np.ones(1, np.float32)
    outputs = run(board, small_models.counter(), options, (one, True), (one, False), (one, True), (one, False))
    assert [float(output[0]) for output in outputs] == [1, 2, 1, 2]


def test_two_sessions_at_once(board: Board) -> None:
    sha256 = board.put_model(small_models.add())
    with board.open(sha256, tensors=[2]) as one, board.open(sha256, tensors=[2]) as other:
        assert one.ready.worker_pid != other.ready.worker_pid
        for sample in range(3):
            first = one.invoke(sample, {0: ONES, 1: ONES * sample})
            second = other.invoke(sample, {0: ONES, 1: -ONES * sample})
            np.testing.assert_array_equal(first.tensors[2] + second.tensors[2], 2 * ONES)


def test_a_benchmark_counts_its_runs(options: RunOptions, board: Board) -> None:
    sha256 = board.put_model(small_models.add())
    times = board.benchmark(sha256, {0: ONES, 1: ONES}, options, warmup=2, runs=7)
    assert len(times) == 7
    assert min(times) > 0


def test_real_networks_run(options: RunOptions, board: Board, shared_models: Path) -> None:
    data = (shared_models / "networks" / "pretrainedResnet_quant.tflite").read_bytes()
    sha256 = board.put_model(data)
    with board.open(sha256, options, tensors=[37]) as session:
        image = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 3), np.int8)
        first, again = (session.invoke(sample, {0: image}).tensors[37] for sample in range(2))
    assert first.shape == (1, 10)
    np.testing.assert_array_equal(first, again)


def test_an_operator_that_is_too_new_for_the_runtime_names_another(board: Board) -> None:
    tensors = [build.Tensor((1, 4), "float32"), build.Tensor((1, 4), "float32")]
    data = build.build_model(build.Subgraph(tensors, [build.Op("RELU", [0], [1], version=99)], [0], [1]))
    with pytest.raises(ModelRefused, match=r"Didn't find op .*\n?.*--runtime ai_edge_litert\."):
        board.open(board.put_model(data), RunOptions(runtime="tflite_runtime"))


def test_an_operator_that_the_runtime_s_schema_does_not_have_names_another(board: Board) -> None:
    tensors, options = [build.Tensor((1, 4), "float32")] * 3, schema.StablehloShiftLeftOptionsT()
    shift = build.Op("STABLEHLO_SHIFT_LEFT", [0, 1], [2], options)
    data = build.build_model(build.Subgraph(tensors, [shift], [0, 1], [2]))
    with pytest.raises(ModelRefused, match=r"(?s)out of range.*--runtime ai_edge_litert\.$"):
        board.open(board.put_model(data), RunOptions(runtime="tflite_runtime"))


def test_a_type_that_a_kernel_does_not_expect_names_another_runtime(board: Board) -> None:
    packed = build.Tensor((1, 4), "int4", bytes([0x11, 0x11]), scale=[0.5], zero_point=[0])
    tensors = [build.Tensor((1, 4)), packed, build.Tensor((1, 4)), build.Tensor((1, 4))]
    ops = [build.Op("DEQUANTIZE", [1], [2]), build.Op("MUL", [0, 2], [3], schema.MulOptionsT())]
    data = build.build_model(build.Subgraph(tensors, ops, [0], [3]))
    with pytest.raises(ModelRefused, match=r"(?s)was not true.*--runtime ai_edge_litert\.$"):
        board.open(board.put_model(data), RunOptions(runtime="tflite_runtime"))


def test_a_type_that_is_too_new_for_the_runtime_names_another(board: Board) -> None:
    """Of int2 the older runtime knows nothing when it loads a file, nor of a table of int4 before it looks it up."""
    for dtype, code, refusal in (
        ("int2", 0b01010101, r"Unsupported data type \d+ in tensor\. "),
        ("int4", 0x11, "Type not currently supported"),
    ):
        table = build.Tensor((2, 4), dtype, bytes([code] * (2 if dtype == "int2" else 4)), scale=[0.5], zero_point=[0])
        tensors = [build.Tensor((2,), "int32"), table, build.Tensor((2, 4)), table]
        lookup = build.Op("EMBEDDING_LOOKUP", [0, 1], [2])
        sha256 = board.put_model(build.build_model(build.Subgraph(tensors, [lookup], [0], [2])))
        ids = {0: np.array([0, 1], np.int32)}
        with (
            pytest.raises(ModelRefused, match=rf"(?s){refusal}.*--runtime ai_edge_litert\.$"),
            board.open(sha256, RunOptions(runtime="tflite_runtime"), tensors=[2]) as session,
        ):
            session.invoke(0, ids)
        with board.open(sha256, RunOptions(runtime="ai_edge_litert"), tensors=[2]) as session:
            assert session.invoke(0, ids).tensors[2].ravel().tolist() == [0.5] * 8


def test_what_the_runtime_does_not_know_is_not_laid_to_the_inputs(board: Board) -> None:
    tensors = [build.Tensor((1, 4), shape_signature=(-1, 4))] * 2
    data = build.build_model(build.Subgraph(tensors, [build.Op("CUSTOM:Unheard", [0], [1])], [0], [1]))
    with (
        pytest.raises(ModelRefused, match=r"refuses the model: .*Unheard"),
        board.open(board.put_model(data)) as session,
    ):
        session.invoke(0, {0: np.ones((1, 4), np.float32)})


def test_inputs_that_are_too_small_are_named_with_their_shape(board: Board) -> None:
    """As random ones are, where the file leaves extents open: a signal of one sample has no window of five."""
    free = [build.Tensor((1, 1, 1, 1), shape_signature=(-1, -1, 1, 1)), build.Tensor((1, 5, 1, 1), data=np.ones(5))]
    bias, result = build.Tensor((1,), data=np.zeros(1)), build.Tensor((1, 1, 1, 1), shape_signature=(-1, -1, 1, 1))
    conv = schema.Conv2DOptionsT(padding=schema.Padding.VALID, strideH=1, strideW=1)
    data = build.build_model(
        build.Subgraph([*free, bias, result], [build.Op("CONV_2D", [0, 1, 2], [3], conv)], [0], [3])
    )
    sha256 = board.put_model(data)
    with board.open(sha256, tensors=[3]) as session:
        assert session.invoke(0, {0: np.ones((1, 6, 1, 1), np.float32)}).tensors[3].ravel().tolist() == [5, 5]
    with (
        pytest.raises(ModelRefused, match=r"(?s)sample 7 \(1×1×1×1\) .*--inputs on what"),
        board.open(sha256, tensors=[3]) as session,
    ):
        session.invoke(7, {0: np.ones((1, 1, 1, 1), np.float32)})


@pytest.mark.parametrize("data", [b"", bytes(range(256)) * 20], ids=["empty", "no model"])
def test_a_file_that_is_no_model(data: bytes, options: RunOptions, board: Board) -> None:
    with pytest.raises(ModelRefused, match="TFL3"):
        board.open(board.put_model(data), options)


def test_wrong_use_is_told_apart(board: Board) -> None:
    sha256 = board.put_model(small_models.add())
    with pytest.raises(UsageError, match="Received: 'fast'"):
        board.open(sha256, RunOptions(kernels="fast"))
    with pytest.raises(UsageError, match="Received: nan"):
        board.open(sha256, RunOptions(invoke_seconds=float("nan")))
    with pytest.raises(UsageError, match=r"tap these tensors: \[3\]"):
        board.open(board.put_model(small_models.chain(5)), tensors=[3])
    with pytest.raises(AgentIncompatible, match="doctor"):
        board.open(sha256, RunOptions(runtime="onnxruntime"))
    with pytest.raises(UsageError, match="ends at byte"):
        board.open(sha256, patches=[Patch(1 << 30, b"four", b"")])
    with board.open(sha256) as session, pytest.raises(UsageError, match="Input #0 cannot be sent"):
        session.invoke(0, {0: np.zeros(4, "datetime64[s]")})


def test_targets(agent: LocalAgent) -> None:
    with pytest.raises(BoardUnreachable, match=r"No connection to pi@.*Connection refused"):
        connect("pi@127.0.0.1:1")
    with pytest.raises(UsageError, match="Received"):
        connect("-oProxyCommand=x")
    with pytest.raises(BoardUnreachable, match="token"):
        Board(LOCAL, agent.address, "another-token")


def test_another_protocol_is_refused(agent: LocalAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liteback.session.board.PROTOCOL", 2)
    with pytest.raises(AgentIncompatible, match=r"Received: 1 from agent .*, 2 here"):
        Board(LOCAL, agent.address, agent.token)


def test_models_are_listed_and_deleted(board: Board) -> None:
    data = small_models.chain(4)
    sha256 = board.put_model(data)
    assert board.models()[sha256] == len(data)
    assert board.delete_model(sha256)
    assert not board.delete_model(sha256)
    assert sha256 not in board.models()
    with pytest.raises(RunFailed, match="no-such-model"):
        board.open(sha256)


def test_the_info(board: Board) -> None:
    assert board.info.limits == agent_pb2.Limits(
        memory_bytes=board.info.ram_bytes,
        invoke_seconds=120,
        store_bytes=2 << 30,
        sessions=4,
        chunk_bytes=CHUNK_BYTES,
    )


def test_a_home_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with connect("local") as board:
        assert board.put_model(small_models.add())


def test_a_board_that_is_closed_says_so(agent: LocalAgent) -> None:
    with Board(LOCAL, agent.address, agent.token) as board:
        assert repr(board).startswith("<Board local: ")
    with pytest.raises(UsageError, match="before it is closed"):
        board.models()
