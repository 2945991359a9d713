from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

import small_models
from liteback.errors import ModelRefused, NoCertificate, RunFailed, UsageError
from liteback.flatbuffer.tap import Patch, apply, tap
from liteback.inputs import Inputs, random_inputs
from liteback.ir import Model
from liteback.lift import lift
from liteback.recording import Recording
from liteback.session.board import Board, RunOptions, RunSession
from liteback.session.capture import _Evidence, capture
from liteback.session.local import LocalAgent
from liteback.tensorfile import digest
from liteback_deploy.target import LOCAL
from tflite_build import Op, Subgraph, Tensor, build_model, schema

CHAIN = small_models.chain(8)  # #0 -> neg -> #1 ... #8; 32 bytes each
BUDGET = 96  # three tensors of CHAIN a pass


def listed(*samples: Mapping[int, Any]) -> Inputs:
    return Inputs("by hand", len(samples), lambda i: {k: np.asarray(v) for k, v in samples[i].items()})


def chain_inputs(count: int = 3) -> Inputs:
    return random_inputs(lift(CHAIN).main, count)


def run(board: Board, data: bytes, inputs: Inputs, path: Path, **options: Any) -> Recording:
    return capture(board, lift(data), data, inputs, path, **options)


def files(path: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.glob("*.safetensors")}


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing_is_refused_and_nothing_else_said(
    board: Board, tmp_path: Path, caplog: pytest.LogCaptureFixture, budget: int
) -> None:
    with pytest.raises(UsageError, match="positive"):
        run(board, CHAIN, chain_inputs(), tmp_path / "rec", budget=budget)
    assert not caplog.records


def test_arrays_are_recorded_without_a_file(board: Board, tmp_path: Path) -> None:
    samples = np.ones((2, *lift(CHAIN).main.tensors[0].shape), np.float32)
    recording = board.capture(CHAIN, samples, tmp_path / "rec")
    assert recording.sample_count == 2


def test_every_tensor_of_every_sample_and_a_certificate(board: Board, tmp_path: Path) -> None:
    inputs = chain_inputs()
    said: list[tuple[int, int, str]] = []
    recording = run(board, CHAIN, inputs, tmp_path / "rec", budget=BUDGET, progress=lambda *s: said.append(s))
    assert recording.complete
    recording.verify()
    assert recording.manifest.passes == ((1, 2, 3, 8), (3, 4, 5, 8), (5, 6, 7, 8), (7, 8))
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good
    assert recording.manifest.certificate.samples == 3
    for sample in range(3):
        tensors = recording.tensors(sample)
        assert set(tensors) == set(range(9))
        for index, value in tensors.items():
            np.testing.assert_array_equal(value, inputs[sample][0] * (-1) ** index)
    assert [done for done, _, _ in said] == list(range(15))
    assert {total for _, total, _ in said} == {15}


def test_the_manifest_tells_what_ran_where(board: Board, tmp_path: Path) -> None:
    options = RunOptions(kernels="reference", threads=2)
    manifest = run(board, CHAIN, chain_inputs(1), tmp_path / "rec", options=options).manifest
    assert manifest.runtime == board.info.runtimes[0].name
    assert manifest.runtime_version == board.info.runtimes[0].version
    assert (manifest.kernels, manifest.threads) == ("reference", 2)
    assert manifest.inputs.startswith("RANDOM")
    assert manifest.board["ram_bytes"] == board.info.ram_bytes
    assert manifest.board["runtimes"][0]["name"] == manifest.runtime
    assert manifest.board["limits"]["chunk_bytes"] == board.info.limits.chunk_bytes


def test_a_selection_still_records_the_outputs(board: Board, tmp_path: Path) -> None:
    recording = run(board, CHAIN, chain_inputs(1), tmp_path / "rec", select=["#2", "!#7"])
    assert recording.manifest.passes == ((3, 8),)
    assert run(board, CHAIN, chain_inputs(1), tmp_path / "rec2", select=["!*"]).manifest.passes == ((8,),)


@pytest.mark.parametrize(
    "name",
    ["pretrainedResnet_quant", "keyword_spotting_pacman.float32", "trained_lstm_int8", "multi_subgraphs_while"],
)
@pytest.mark.parametrize("kernels", ["default", "builtin"])
def test_taps_leave_the_outputs_of_real_networks_alone(
    board: Board, shared_models: Path, tmp_path: Path, name: str, kernels: str
) -> None:
    data = (shared_models / "networks" / f"{name}.tflite").read_bytes()
    inputs = random_inputs(lift(data).main, 2)
    recording = run(board, data, inputs, tmp_path / "rec", budget=60_000, options=RunOptions(kernels=kernels))
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good


@pytest.mark.parametrize("data", [small_models.average(), small_models.counter()], ids=["svdf", "resource"])
def test_state_is_reset_before_each_sample(board: Board, tmp_path: Path, data: bytes) -> None:
    graph = lift(data).main
    one = np.full(graph.tensors[0].shape, 2, np.float32)
    recording = run(board, data, listed({0: one}, {0: one}), tmp_path / "rec", budget=4)
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good
    (output,) = graph.outputs
    assert recording.tensors(0)[output] == recording.tensors(1)[output] == 2


def test_strings_are_captured(board: Board, tmp_path: Path) -> None:
    words = np.array([[b"a", b""], [b"\xff\x00", b"word"]], dtype=object)
    recording = run(board, small_models.strings(), listed({0: words}), tmp_path / "rec")
    assert recording.tensors(0)[2].tolist() == words.reshape(-1).tolist()


def test_a_model_that_does_not_repeat_itself_gets_no_good_certificate(board: Board, tmp_path: Path) -> None:
    data = build_model(
        Subgraph(
            [Tensor([4]), Tensor([1], "int32", np.array([4], np.int32)), Tensor([4]), Tensor([4])],
            [
                Op("RANDOM_UNIFORM", [1], [2], schema.RandomOptionsT(seed=1, seed2=2)),
                Op("ADD", [0, 2], [3], schema.AddOptionsT()),
            ],
            inputs=[0],
            outputs=[3],
        )
    )
    certificate = run(board, data, listed({0: np.zeros(4, np.float32)}), tmp_path / "rec").manifest.certificate
    assert certificate is not None
    assert not certificate.deterministic
    assert not certificate.good


class Otherwise(Board):
    """A board on which a tapped model computes with another number."""

    number, other = np.float32(1.25).tobytes(), np.float32(1.5).tobytes()

    def open(self, sha256: str, *options: Any, patches: Sequence[Patch] = (), **settings: Any) -> RunSession:
        change = Patch(SHIFTED.index(self.number), self.other, b"")
        return super().open(sha256, *options, patches=[*patches, change] if patches else [], **settings)


SHIFTED = build_model(  # #2 = #0 + 1.25, #3 = -#2
    Subgraph(
        [Tensor([4], name="x"), Tensor([4], "float32", np.full(4, 1.25, np.float32)), Tensor([4]), Tensor([4])],
        [Op("ADD", [0, 1], [2], schema.AddOptionsT()), Op("NEG", [2], [3], schema.NegOptionsT())],
        inputs=[0],
        outputs=[3],
    )
)


def test_taps_that_change_what_is_computed_get_no_good_certificate(agent: LocalAgent, tmp_path: Path) -> None:
    with Otherwise(LOCAL, agent.address, agent.token) as board:
        recording = run(board, SHIFTED, listed({0: np.zeros(4, np.float32)}), tmp_path / "rec")
    certificate = recording.manifest.certificate
    assert certificate is not None
    assert (certificate.outputs_equal, certificate.deterministic, certificate.good) == (False, True, False)
    assert certificate.differing == ("#3",)
    with pytest.raises(NoCertificate):
        recording.check_counts()


def test_the_evidence_names_outputs_that_differ_and_shared_tensors_that_disagree() -> None:
    graph = lift(CHAIN).main
    evidence = _Evidence(graph, ((1, 2, 8), (2, 3, 8)))
    one, two = np.float32([1]), np.float32([2])
    evidence.untouched(0, {8: one})
    evidence.untouched_again(0, {8: one})
    evidence.tapped(0, {1: one, 2: one, 8: one})
    assert evidence.certificate(1).good
    evidence.tapped(0, {2: two, 3: one, 8: one})
    assert not evidence.certificate(1).shared_equal
    assert evidence.certificate(1).outputs_equal
    evidence.tapped(0, {1: one, 2: one, 8: two})
    assert evidence.certificate(1).differing == ("#8",)


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (np.float32([np.nan]), np.float32([np.nan]), True),
        (np.float32([0.0]), np.float32([-0.0]), False),
        (np.zeros((2, 3)), np.zeros((3, 2)), False),
        (np.zeros(4, np.int8), np.zeros(4, np.uint8), False),
        (np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T.copy(), True),
        (np.array([b"a", b"bc"], object), np.array([b"ab", b"c"], object), False),
        (np.array(True), np.array(True), True),
    ],
)
def test_digests(a: NDArray[Any], b: NDArray[Any], equal: bool) -> None:
    assert (digest(a) == digest(b)) == equal


# --- interruptions -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uninterrupted(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return run(board, CHAIN, chain_inputs(), tmp_path_factory.mktemp("whole") / "rec", budget=BUDGET)


class Interrupt:
    """A progress callback that does something before run number `at`."""

    def __init__(self, at: int, act: Any) -> None:
        self.at, self.act = at, act

    def __call__(self, done: int, total: int, text: str) -> None:
        if done == self.at:
            self.act()


def control_c() -> None:
    raise KeyboardInterrupt


def kill_worker(agent: LocalAgent) -> None:
    for child in psutil.Process(agent.pid).children(recursive=True):
        if "liteback_agent.worker" in child.cmdline():
            child.kill()


@pytest.mark.parametrize("at", [0, 1, 7])
def test_an_interrupted_capture_goes_on_where_it_stopped(
    board: Board, uninterrupted: Recording, tmp_path: Path, at: int
) -> None:
    path, inputs = tmp_path / "rec", chain_inputs()
    with pytest.raises(KeyboardInterrupt):
        run(board, CHAIN, inputs, path, budget=BUDGET, progress=Interrupt(at, control_c))
    assert not [p for p in path.iterdir() if p.name.startswith(".")]
    assert not Recording.open(path).complete
    before = {p: p.stat().st_mtime_ns for p in path.glob("*.safetensors")}
    recording = run(board, CHAIN, inputs, path)  # the default budget would make one pass
    assert len(recording.manifest.passes) == 4
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good
    recording.verify()
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert files(path) == files(uninterrupted.path)


@pytest.mark.parametrize("at", [1, 7])
def test_a_worker_that_is_killed_costs_one_session(agent: LocalAgent, board: Board, tmp_path: Path, at: int) -> None:
    path, inputs = tmp_path / "rec", chain_inputs()
    with pytest.raises(RunFailed, match=r"kept in .*rec: run the same command again to resume"):
        run(board, CHAIN, inputs, path, budget=BUDGET, progress=Interrupt(at, lambda: kill_worker(agent)))
    recording = run(board, CHAIN, inputs, path, budget=BUDGET)
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good


CAPTURE = """
import sys
from pathlib import Path
import small_models
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.session.board import connect
from liteback.session.capture import capture

data = small_models.chain(8)
model = lift(data)
with connect("local") as board:
    capture(board, model, data, random_inputs(model.main, 40), sys.argv[1], budget=96,
            progress=lambda done, total, text: print(done, flush=True))
"""


def test_a_real_interrupt_leaves_a_recording_that_goes_on(board: Board, tmp_path: Path) -> None:
    path, script = tmp_path / "rec", tmp_path / "run.py"
    script.write_text(CAPTURE)
    cache = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    folders = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": folders, **cache},
    )
    with process:
        assert process.stdout is not None
        assert any(line.strip() == "50" for line in process.stdout)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    assert children
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert not [p for p in path.iterdir() if p.name.startswith(".")]
    recording = run(board, CHAIN, chain_inputs(40), path, budget=BUDGET)
    recording.verify()
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good


def test_a_finished_recording_is_given_back_as_it_is(board: Board, tmp_path: Path) -> None:
    path, inputs = tmp_path / "rec", chain_inputs(1)
    before = run(board, CHAIN, inputs, path).manifest
    assert run(board, CHAIN, inputs, path, progress=Interrupt(0, control_c)).manifest == before


def test_a_recording_does_not_go_on_with_other_inputs_or_settings(board: Board, tmp_path: Path) -> None:
    path, inputs = tmp_path / "rec", listed({0: np.ones((1, 8), np.float32)})
    with pytest.raises(KeyboardInterrupt):
        run(board, CHAIN, inputs, path, progress=Interrupt(1, control_c))
    with pytest.raises(UsageError, match="other values for sample 0"):
        run(board, CHAIN, listed({0: np.zeros((1, 8), np.float32)}), path)
    with pytest.raises(UsageError, match="passes"):
        run(board, CHAIN, inputs, path, select=["#2"])
    with pytest.raises(UsageError, match="threads"):
        run(board, CHAIN, inputs, path, options=RunOptions(threads=2))
    assert run(board, CHAIN, inputs, path).complete


@pytest.mark.parametrize("complete", [False, True])
def test_a_recording_is_of_one_set_of_inputs(board: Board, tmp_path: Path, complete: bool) -> None:
    """The inputs' file may have been written anew under its old name, with as many samples."""
    path, ones, zeros = tmp_path / "rec", np.ones((1, 8), np.float32), np.zeros((1, 8), np.float32)
    with contextlib.nullcontext() if complete else pytest.raises(KeyboardInterrupt):
        run(board, CHAIN, listed({0: ones}, {0: ones}), path, progress=None if complete else Interrupt(3, control_c))
    assert Recording.is_complete_at(path) == complete
    with pytest.raises(UsageError, match=r"other values for sample 1\. Use the old inputs, or record into a new"):
        run(board, CHAIN, listed({0: ones}, {0: zeros}), path)
    with pytest.raises(UsageError, match="samples: 2 then, 3 now"):
        run(board, CHAIN, listed({0: ones}, {0: ones}, {0: ones}), path)
    with pytest.raises(UsageError, match="of one model"):
        run(board, small_models.chain(7), listed({0: ones}, {0: ones}), path)


def test_a_folder_that_is_not_a_recording(board: Board, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("chapter 1")
    with pytest.raises(UsageError, match="new folder"):
        run(board, CHAIN, chain_inputs(1), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_no_samples(board: Board, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one sample"):
        run(board, CHAIN, listed(), tmp_path / "rec")


def test_a_model_the_runtime_refuses_leaves_no_recording(board: Board, tmp_path: Path) -> None:
    data = build_model(Subgraph([Tensor([1]), Tensor([1])], [Op("CUSTOM:nobody_has_it", [0], [1])], [0], [1]))
    with pytest.raises(ModelRefused):
        run(board, data, listed({0: np.zeros(1, np.float32)}), tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


def test_a_model_that_loads_and_does_not_run_leaves_no_recording(board: Board, tmp_path: Path) -> None:
    """It could never go on."""
    handle = schema.VarHandleOptionsT(container="", sharedName="never assigned")
    nodes = [
        Op("VAR_HANDLE", [], [1], handle),
        Op("READ_VARIABLE", [1], [2], schema.ReadVariableOptionsT()),
        Op("ADD", [0, 2], [3], schema.AddOptionsT()),
    ]
    data = build_model(Subgraph([Tensor([1]), Tensor([], "resource"), Tensor([1]), Tensor([1])], nodes, [0], [3]))
    with pytest.raises(ModelRefused, match="refuses to invoke"):
        run(board, data, listed({0: np.zeros(1, np.float32)}), tmp_path / "rec")
    assert not (tmp_path / "rec").exists()


def test_final_outputs_are_bit_equal_when_every_tensor_is_tapped(board: Board, shared_models: Path) -> None:
    data = (shared_models / "networks" / "pretrainedResnet_quant.tflite").read_bytes()
    model: Model = lift(data)
    outputs = model.main.outputs
    tensors = tuple(t for node in model.main.nodes for t in node.outputs)
    sample = random_inputs(model.main, 1)[0]
    with board.open(board.put_model(data), tensors=outputs) as session:
        untouched = session.invoke(0, sample).tensors
    with board.open(board.put_model(apply(data, tap(data, tensors))), tensors=outputs) as session:
        stored = session.invoke(0, sample).tensors
    with board.open(board.put_model(data), tensors=outputs, patches=[tap(data, tensors)]) as session:
        patched = session.invoke(0, sample).tensors
    for index in outputs:
        assert untouched[index].tobytes() == stored[index].tobytes() == patched[index].tobytes()


def test_tensors_that_fit_no_pass_are_told_of_once(
    board: Board, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = run(board, CHAIN, chain_inputs(1), tmp_path / "rec", budget=31)
    assert len(recording.manifest.passes) == 8
    (record,) = caplog.records
    assert "8 tensors, each with a pass of its own" in record.getMessage()
