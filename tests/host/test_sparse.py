"""Sparse constants: the schema's levels, block maps and traversal orders, and what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from liteback.sparse import positions

DENSE, CSR = schema.DimensionType.DENSE, schema.DimensionType.SPARSE_CSR


def dense(size: int) -> Any:
    return schema.DimensionMetadataT(format=DENSE, denseSize=size)


def csr(segments: list[int], indices: list[int]) -> Any:
    return schema.DimensionMetadataT(
        format=CSR,
        arraySegments=schema.Int32VectorT(values=segments),
        arrayIndices=schema.Uint8VectorT(values=np.array(indices, np.uint8)),
    )


def sparsity(order: list[int], levels: list[Any], blocks: list[int] | None = None) -> Any:
    return schema.SparsityParametersT(traversalOrder=order, blockMap=blocks, dimMetadata=levels)


def rebuilt(shape: tuple[int, ...], values: list[int], parameters: Any) -> NDArray[Any]:
    flat = np.zeros(int(np.prod(shape)), int)
    flat[positions(shape, parameters)] = values
    return flat.reshape(shape)


@pytest.mark.parametrize(
    ("parameters", "values", "expected"),
    [
        pytest.param(
            sparsity([0, 1], [dense(3), csr([0, 2, 2, 3], [0, 2, 1])]),
            [1, 2, 3],
            [[1, 0, 2, 0], [0, 0, 0, 0], [0, 3, 0, 0]],
            id="rows",
        ),
        pytest.param(
            sparsity([1, 0], [dense(4), csr([0, 1, 2, 2, 3], [0, 2, 1])]),
            [1, 2, 3],
            [[1, 0, 0, 0], [0, 0, 0, 3], [0, 2, 0, 0]],
            id="columns",
        ),
        pytest.param(sparsity([0, 1], [dense(3), csr([0, 0, 0, 0], [])]), [], [[0] * 4] * 3, id="nothing-stored"),
    ],
)
def test_levels_in_either_order(parameters: Any, values: list[int], expected: list[list[int]]) -> None:
    assert rebuilt((3, 4), values, parameters).tolist() == expected


def test_blocks_lie_whole_in_the_tensor() -> None:
    parameters = sparsity([0, 1, 2, 3], [dense(2), csr([0, 1, 2], [1, 0]), dense(2), dense(2)], [0, 1])
    expected = [[0, 0, 1, 2], [0, 0, 3, 4], [5, 6, 0, 0], [7, 8, 0, 0]]
    assert rebuilt((4, 4), list(range(1, 9)), parameters).tolist() == expected


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        pytest.param(sparsity([0], [dense(3)]), "levels in the order", id="a-level-missing"),
        pytest.param(sparsity([0, 0], [dense(3), dense(4)]), "levels in the order", id="an-axis-twice"),
        pytest.param(sparsity([0, 1, 2], [dense(3), dense(4), dense(1)], [2]), "blocked axes", id="a-block-of-no-axis"),
        pytest.param(sparsity([0, 1], [dense(3), dense(1 << 30)]), "children for 3 nodes", id="too-many-children"),
        pytest.param(sparsity([0, 1], [dense(3), csr([0, 1], [0])]), "segments and", id="segments-too-short"),
        pytest.param(sparsity([0, 1], [dense(3), csr([0, 2, 1, 1], [0])]), "segments and", id="segments-that-descend"),
        pytest.param(sparsity([0, 1], [dense(3), csr([0, 1, 1, 1], [4])]), "beyond the extent", id="an-index-beyond"),
        pytest.param(sparsity([0, 1], [dense(3), csr([0, 2, 2, 2], [1, 1])]), "two values", id="an-element-twice"),
        pytest.param(sparsity([0, 1], [dense(3), schema.DimensionMetadataT(format=CSR)]), "0 segments", id="no-arrays"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(parameters: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        positions((3, 4), parameters)
