"""Damaged models on a real agent: a worker may die over one, the agent answers plainly and goes on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import small_models
from conftest import SHARED_MODELS
from liteback.errors import InvalidModel, ModelRefused, RunFailed, UsageError
from liteback.inputs import random_inputs
from liteback.lift import lift
from liteback.session.board import Board
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL
from mutants import mutants, whole_models

pytestmark = pytest.mark.slow

COUNT = int(os.environ.get("LITEBACK_FUZZ", 0)) // 30 or 60
LIMITS = ["--memory-limit", str(2 << 30), "--invoke-limit", "20"]


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    agent = LocalAgent(LIMITS, tmp_path_factory.mktemp("fuzz"))
    with Board(LOCAL, agent.address, agent.token) as board:
        yield board
    agent.stop()


def attempt(board: Board, data: bytes) -> str:
    """Run a model once on random inputs; how it ended."""
    try:
        graph = lift(data).main
        inputs = random_inputs(graph, 1)[0]
        outputs = graph.outputs
    except (InvalidModel, UsageError):
        inputs, outputs = {}, ()  # the host would refuse it; the agent must bear it all the same
    try:
        with board.open(board.put_model(data), tensors=outputs) as session:
            session.invoke(0, inputs)
    except (ModelRefused, RunFailed, UsageError) as error:
        return type(error).__name__
    return "ran"


def test_damaged_models(limited: Board) -> None:
    models = whole_models(SHARED_MODELS)
    ends = {name: attempt(limited, data) for name, data in mutants(models, COUNT)}
    # A mutator that hit nothing, or left nothing whole, would make this test an empty one.
    assert {"ran", "ModelRefused"} <= set(ends.values())
    ones = np.ones((1, 4), np.float32)
    with limited.open(limited.put_model(small_models.add()), tensors=[2]) as session:
        np.testing.assert_array_equal(session.invoke(0, {0: ones, 1: ones}).tensors[2], 2 * ones)


def test_malformed_files_of_others(shared_models: Path, limited: Board) -> None:
    files = sorted(shared_models.glob("malformed/*.tflite"))
    assert files
    ends = {f.stem: attempt(limited, f.read_bytes()) for f in files}
    assert set(ends.values()) <= {"ran", "ModelRefused", "RunFailed"}
    assert ends["conv_huge_im2col"] != "ran"  # it asks for 10 GiB


def test_a_model_that_crashes_the_runtime_while_it_loads(limited: Board) -> None:
    data = small_models.chain(30)
    # Half a file: 2.14 reads on behind its end, and mostly crashes; now and then it finds something to refuse there.
    with pytest.raises(ModelRefused, match="loading the model"):
        limited.open(limited.put_model(data[: len(data) // 2]))
