"""What a file says, decoded; and what it must not say."""

from __future__ import annotations

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from liteback.errors import InvalidModel
from liteback.lift import lift
from tflite_build import Op, Subgraph, Tensor, build_model


def with_zero_points(zero_points: list[int] | None) -> bytes:
    """x -> ABS -> y; x is int8 with three scales along its last axis, and these zero points."""
    x = Tensor([1, 3], "int8", name="x", scale=[0.1, 0.2, 0.3], zero_point=[0, 0, 0], axis=1)
    data = build_model(Subgraph([x, Tensor([1, 3], "int8", name="y", scale=0.1)], [Op("ABS", [0], [1])], [0], [1]))
    root = schema.ModelT.InitFromPackedBuf(data, 0)
    root.subgraphs[0].tensors[0].quantization.zeroPoint = zero_points
    builder = flatbuffers.Builder(1024)
    builder.Finish(root.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize(
    ("given", "read"), [(None, [0, 0, 0]), ([], [0, 0, 0]), ([7], [7, 7, 7]), ([1, 2, 3], [1, 2, 3])], ids=str
)
def test_zero_points_are_one_for_each_scale_or_one_for_all(given: list[int] | None, read: list[int]) -> None:
    quantization = lift(with_zero_points(given)).main.tensors[0].quantization
    assert quantization is not None
    np.testing.assert_array_equal(quantization.zero_point, read)


def test_zero_points_of_another_number_are_no_zeros() -> None:
    """No runtime loads such a file: `ParseQuantization` of lite/core/interpreter_builder.cc, v2.14.0."""
    with pytest.raises(InvalidModel, match="tensor 0: 2 zero points for 3 scales"):
        lift(with_zero_points([1, 2]))
