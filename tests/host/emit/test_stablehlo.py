"""StableHLO's operators beyond single cases: branches, the batch, what trains, and files that are not whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from emit.case import rand
from emit.cases.stablehlo import CASES
from emit.test_control import run
from liteback.errors import InvalidModel, LitebackError, UnsupportedModel
from liteback.export.patch import patch
from liteback.lift import lift
from liteback.reconstruction import reconstruct, reconstruction
from liteback.session.board import Board, RunOptions
from mutants import mutants
from tflite_build import Op, Subgraph, Tensor, build_model

BY_NAME = {str(case): case for case in CASES}
LITERT = RunOptions(runtime="ai_edge_litert", kernels="builtin")


def branches(*ops: str) -> bytes:
    """Each operator is a branch: of x with itself. A number says which."""
    x = Tensor([2, 3])
    options = schema.StablehloCaseOptionsT(branchSubgraphIndices=list(range(1, 1 + len(ops))))
    main = Subgraph([Tensor([], "int32"), x, x], [Op("STABLEHLO_CASE", [0, 1], [2], options)], [0, 1], [2])
    return build_model(main, *(Subgraph([x, x], [Op(op, [0, 0], [1])], [0], [1], op) for op in ops))


@pytest.mark.parametrize("number", [0, 1, 2, 7, -1])
def test_a_branch_is_picked_when_the_model_runs(number: int, board: Board) -> None:
    data, x = branches("ADD", "MUL", "SQUARED_DIFFERENCE"), rand(2, 3)
    model = reconstruct(data)
    with board.open(board.put_model(data), LITERT, tensors=[2]) as session:
        expected = session.invoke(0, {0: np.array(number, np.int32), 1: x}).tensors[2]
    result = np.asarray(model([np.array(number, np.int32), x]))
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-6)


def shaped(name: str, shape: tuple[int, ...]) -> bytes:
    return BY_NAME[name].model([shape])


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("STABLEHLO_GATHER-batch", (1, 3, 4)),
        ("STABLEHLO_SCATTER-batch", (1, 6, 4)),
        ("STABLEHLO_REDUCE_WINDOW-largest", (1, 3, 4, 2)),
        ("STABLEHLO_REDUCE_WINDOW-sum", (1, 3, 5, 2)),
        ("STABLEHLO_PAD-batch", (1, 7, 4)),
    ],
)
def test_the_batch_is_free(name: str, shape: tuple[int, ...]) -> None:
    model = reconstruct(shaped(name, shape))
    assert model.output_shape == (None, *shape[1:])
    xs = [rand(3, *x.shape[1:], seed=k) for k, x in enumerate(model.inputs)]
    together = run(model, *xs)[0]
    alone = [run(model, *(x[i : i + 1] for x in xs))[0] for i in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-6)


def test_a_table_that_is_gathered_from_trains_and_goes_back() -> None:
    data = shaped("STABLEHLO_GATHER-rows-of-a-table", (3, 3, 4))
    emission = reconstruction(data)
    (table,) = emission.model.trainable_weights
    assert patch(emission.model, data).data == data
    table.assign(table + 1)
    constant = next(t for t in lift(patch(emission.model, data).data).main.tensors if t.data is not None)
    before = next(t for t in lift(data).main.tensors if t.data is not None)
    np.testing.assert_allclose(constant.data, np.asarray(before.data) + 1, atol=1e-6)


def window(body: list[Op], index: int = 1) -> bytes:
    options = schema.StablehloReduceWindowOptionsT(
        [2], windowStrides=[1], baseDilations=[1], windowDilations=[1], padding=[0, 0], bodySubgraphIndex=index
    )
    tensors = [Tensor([4]), Tensor([], data=np.float32(0)), Tensor([3])]
    main = Subgraph(tensors, [Op("STABLEHLO_REDUCE_WINDOW", [0, 1], [2], options)], [0], [2])
    return build_model(main, Subgraph([Tensor([])] * 4, body, [0, 1], [3], "body"))


def test_a_region_that_is_not_there() -> None:
    with pytest.raises(InvalidModel, match=r"operator 0 \(STABLEHLO_REDUCE_WINDOW\): subgraph 7 does not exist"):
        reconstruct(window([Op("ADD", [0, 1], [3])], 7))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ([], "reduced by nothing"),
        ([Op("ADD", [0, 1], [2]), Op("MUL", [2, 1], [3])], "reduced by ADD and MUL"),
        ([Op("SUB", [0, 1], [3])], "reduced by SUB"),
    ],
)
def test_a_region_that_no_kernel_knows(body: list[Op], told: str) -> None:
    with pytest.raises(UnsupportedModel, match=told):
        reconstruct(window(body))


def test_updates_that_no_kernel_combines() -> None:
    case = replace(BY_NAME["STABLEHLO_SCATTER-rows"], regions=["SUB"])
    with pytest.raises(UnsupportedModel, match="its updates are combined by SUB, for which runtimes have no kernel"):
        reconstruct(case.model([(5, 3, 4)]))


def test_damaged_files_of_these_operators_are_refused_or_work() -> None:
    whole = {str(case): case.model([o.shape for o in case.outputs]) for case in CASES}
    ends = {"emitted": 0, "refused": 0}
    for _, data in mutants(whole, 300):
        try:
            reconstruct(data)
            ends["emitted"] += 1
        except LitebackError:
            ends["refused"] += 1
    assert min(ends.values()) > 10, ends


def test_a_case_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(CASES)
