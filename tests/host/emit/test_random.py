"""Random operators: drawn anew in every run; with a seed, the first run draws what the device's first run draws."""

from __future__ import annotations

import numpy as np
import pytest

import tflite_build as build
from liteback.emit.build import emit
from liteback.lift import lift, options_class
from liteback.session.board import Board

LOGITS = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]], np.float32))


def model(op: str, seed: int) -> bytes:
    """y = x + random, x (4, 6); or for MULTINOMIAL y = 9 draws from x (2, 3)."""
    cls = options_class(op)
    assert cls is not None
    options = cls()
    options.seed, options.seed2 = seed, 7 * seed
    if op == "MULTINOMIAL":
        tensors = [
            build.Tensor((2, 3)),
            build.Tensor((), "int32", np.array(9, np.int32)),
            build.Tensor((2, 9), "int64"),
        ]
        return build.build_model(build.Subgraph(tensors, [build.Op(op, [0, 1], [2], options)], [0], [2]))
    tensors = [
        build.Tensor((4, 6)),
        build.Tensor((2,), "int32", np.array([4, 6], np.int32)),
        build.Tensor((4, 6)),
        build.Tensor((4, 6)),
    ]
    ops = [build.Op(op, [1], [2], options), build.Op("ADD", [0, 2], [3])]
    return build.build_model(build.Subgraph(tensors, ops, [0], [3]))


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL", "MULTINOMIAL"])
def test_a_seed_draws_what_the_device_draws(op: str, board: Board) -> None:
    data = model(op, seed=41)
    x = LOGITS if op == "MULTINOMIAL" else np.zeros((4, 6), np.float32)
    outputs = lift(data).main.outputs
    with board.open(board.put_model(data), tensors=list(outputs)) as session:
        wanted = session.invoke(0, {0: x}).tensors[outputs[0]]
    np.testing.assert_allclose(np.asarray(emit(lift(data)).model(x)), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("op", ["RANDOM_UNIFORM", "RANDOM_STANDARD_NORMAL"])
def test_without_a_seed_every_run_differs(op: str) -> None:
    twin = emit(lift(model(op, seed=0))).model
    x = np.zeros((4, 6), np.float32)
    first, second = np.asarray(twin(x)), np.asarray(twin(x))
    assert not np.array_equal(first, second)
