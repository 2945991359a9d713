"""Files of one sample whose first axis is not the batch all the way: the model takes any batch, sample by sample.

Converters of PyTorch's networks drop the batch of one, join it to attention heads, or put other axes before it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from emit.case import rand
from liteback.emit.emission import Numerics
from liteback.reconstruction import reconstruct, reconstruction
from liteback.twin import KerasTwin
from tflite_build import Op, Subgraph, Tensor, build_model

Array = NDArray[Any]
Step = tuple[str, tuple[Array, ...], Any, tuple[int, ...]]  # the operator, its constants, options, its result's shape
BIAS, TOKEN = rand(4, 3, 1, seed=2), rand(1, 1, 5, seed=3)


def build(
    x: tuple[int, ...], *steps: tuple[str, tuple[Array, ...], Any, tuple[int, ...]], first: bool = False
) -> bytes:
    """x -> operators, each (name, its constants, options, the result's shape). first: constants stand before x."""
    tensors, ops = [Tensor(x, name="x")], []
    for op, constants, options, shape in steps:
        last, at = ops[-1].outputs[0] if ops else 0, len(tensors)
        tensors += [Tensor(c.shape, c.dtype.name, c) for c in constants]
        known = list(range(at, at + len(constants)))
        ops.append(Op(op, [*known, last] if first else [last, *known], [len(tensors)], options))
        tensors.append(Tensor(shape))
    return build_model(Subgraph(tensors, ops, [0], [len(tensors) - 1]))


def to(*shape: int) -> Step:
    return "RESHAPE", (np.int32(shape),), schema.ReshapeOptionsT(), shape


def over(*axes: int, keep: bool = False) -> tuple[tuple[Array, ...], Any]:
    return (np.int32(axes),), schema.ReducerOptionsT(keepDims=keep)


def order(*perm: int) -> tuple[tuple[Array, ...], Any]:
    return (np.int32(perm),), schema.TransposeOptionsT()


def part(begin: list[int], size: list[int]) -> tuple[tuple[Array, ...], Any]:
    return (np.int32(begin), np.int32(size)), schema.SliceOptionsT()


def every_other_sum(x: Array) -> Array:
    """The sums of the rows so far, of the even ones and of the odd ones, where a row of zeros is before them."""
    rows = np.pad(x, [(1, 0), (0, 0), (0, 0)])
    for k in range(2):
        rows[k::2] = rows[k::2].cumsum(0)
    return rows[1:]


HEADS = (1, 4, 3, 5)
BLOCKS = (np.int32([2, 3]), np.int32([[1, 0], [0, 1]]))  # and what is added around, or cut off
# The file, and what it computes of one sample x, without the batch.
FILES: dict[str, tuple[bytes, Callable[[Array], Array]]] = {
    "a batch that is dropped": (
        build((1, 6), to(2, 3), ("SOFTMAX", (), schema.SoftmaxOptionsT(beta=1), (2, 3)), to(1, 6)),
        lambda x: (np.exp(x.reshape(2, 3)) / np.exp(x.reshape(2, 3)).sum(-1, keepdims=True)).reshape(6),
    ),
    "heads that join it, with a number for each": (
        build(HEADS, to(4, 3, 5), ("ADD", (BIAS,), schema.AddOptionsT(), (4, 3, 5)), to(*HEADS)),
        lambda x: x + BIAS,
    ),
    "a mean over it": (
        build((1, 3, 5), ("MEAN", *over(0, 2), (3,)), to(1, 3)),
        lambda x: x.mean(-1),
    ),
    "another axis before it": (
        build((1, 3, 5), ("TRANSPOSE", *order(1, 0, 2), (3, 1, 5)), ("SLICE", *part([1, 0, 0], [1, 1, 5]), (1, 1, 5))),
        lambda x: x[1:2],
    ),
    "one of the parts before it": (
        build(
            (1, 2, 3, 5),
            ("TRANSPOSE", *order(1, 0, 2, 3), (2, 1, 3, 5)),
            ("GATHER", (np.int32(1),), schema.GatherOptionsT(axis=0), (1, 3, 5)),
        ),
        lambda x: x[1],
    ),
    "elements by indices that name the one sample too, as of a mask of PyTorch": (
        build(
            (1, 3, 5, 2),
            ("GATHER_ND", (np.int32([[[0, 2, 1], [0, 0, 4]]]),), schema.GatherNdOptionsT(), (1, 2, 2)),
        ),
        lambda x: x[[2, 0], [1, 4]],
    ),
    "rows that join it, by their indices": (
        build((1, 3, 5), ("GATHER_ND", (np.int32([[0, 2], [0, 0]]),), schema.GatherNdOptionsT(), (2, 5)), to(1, 2, 5)),
        lambda x: x[[2, 0]],
    ),
    "all samples of a slice": (build((1, 6), ("SLICE", *part([0, 1], [1, 3]), (1, 3))), lambda x: x[1:4]),
    "all samples of a strided slice": (
        build(
            (1, 6),
            (
                "STRIDED_SLICE",
                (np.int32([0, 1]), np.int32([1, 6]), np.int32([1, 2])),
                schema.StridedSliceOptionsT(),
                (1, 3),
            ),
        ),
        lambda x: x[1:6:2],
    ),
    "a token before the others": (
        build((1, 3, 5), ("CONCATENATION", (TOKEN,), schema.ConcatenationOptionsT(axis=1), (1, 4, 5)), first=True),
        lambda x: np.concatenate([TOKEN[0], x]),
    ),
    "repeated to a shape": (
        build((1, 2, 1, 5), ("BROADCAST_TO", (np.int32([1, 2, 3, 5]),), schema.BroadcastToOptionsT(), (1, 2, 3, 5))),
        lambda x: np.broadcast_to(x, (2, 3, 5)),
    ),
    "space that is taken apart, as for a dilated convolution": (
        build(
            (1, 3, 5, 2),
            ("SPACE_TO_BATCH_ND", BLOCKS, schema.SpaceToBatchNDOptionsT(), (6, 2, 2, 2)),
            ("CUMSUM", (np.int32(1),), schema.CumsumOptionsT(), (6, 2, 2, 2)),
            ("BATCH_TO_SPACE_ND", BLOCKS, schema.BatchToSpaceNDOptionsT(), (1, 3, 5, 2)),
        ),
        every_other_sum,
    ),
    "blocks that come before the batch": (
        build(
            (1, 4, 4, 2),
            (
                "SPACE_TO_BATCH_ND",
                (np.int32([2, 2]), np.int32([[0, 0], [0, 0]])),
                schema.SpaceToBatchNDOptionsT(),
                (4, 2, 2, 2),
            ),
            to(1, 4, 8),
        ),
        lambda x: x.reshape(2, 2, 2, 2, 2).transpose(1, 3, 0, 2, 4).reshape(4, 8),
    ),
    "a sum over steps that stand first": (
        build((1, 3, 5), to(3, 5), ("CUMSUM", (np.int32(0),), schema.CumsumOptionsT(), (3, 5)), to(1, 3, 5)),
        lambda x: x.cumsum(0),
    ),
}


@pytest.mark.parametrize(("data", "function"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("numerics", ["float", "fakequant"])
def test_every_sample_is_computed_by_itself(
    data: bytes, function: Callable[[Array], Array], numerics: Numerics
) -> None:
    emission = reconstruction(data, numerics)
    assert emission.model.inputs[0].shape[0] is None
    x = rand(3, *emission.model.inputs[0].shape[1:], seed=4)
    np.testing.assert_allclose(emission.model(x), np.stack([function(v) for v in x]), atol=1e-6)
    shown = KerasTwin.of(emission).cumulative({emission.graph.inputs[0]: x[:1]})
    assert {t: v.shape for t, v in shown.items()} == {t: emission.graph.tensors[t].shape for t in shown}
    assert {t for n in emission.graph.nodes for t in n.outputs} <= shown.keys()


@pytest.mark.parametrize("shape", [(4, 1), (4, 5, 1)], ids=str)
def test_as_many_samples_as_an_axis_is_long(shape: tuple[int, ...]) -> None:
    """Each sample's own mean is added to it: Keras' addition would take the four of them for biases of that axis."""
    axes = Tensor([len(shape) - 1], "int32", np.int32(range(1, len(shape))))
    tensors = [Tensor([1, *shape]), axes, Tensor([1] * (len(shape) + 1)), Tensor([1, *shape])]
    mean = Op("MEAN", [0, 1], [2], schema.ReducerOptionsT(keepDims=True))
    model = reconstruct(build_model(Subgraph(tensors, [mean, Op("ADD", [0, 2], [3], schema.AddOptionsT())], [0], [3])))
    x = rand(4, *shape)
    means = x.mean(axis=tuple(range(1, len(shape))), keepdims=True)
    np.testing.assert_allclose(model(x), x + means, atol=1e-6)


def test_what_no_output_needs_is_not_in_the_model() -> None:
    tensors = [Tensor([1, 6]), Tensor([1, 6]), Tensor([1, 6])]
    data = build_model(Subgraph(tensors, [Op("RELU", [0], [1]), Op("ABS", [0], [2])], [0], [1]))
    emission = reconstruction(data)
    assert emission.values.keys() == {0, 1}
    assert KerasTwin.of(emission).cumulative({0: rand(1, 6)}).keys() == {0, 1}


def gathered() -> bytes:
    """The two rows of the first sample with the largest numbers."""
    tensors = [Tensor([1, 6, 3]), Tensor([1], "int32", np.int32([2])), Tensor([1, 6]), Tensor([], "int32", np.int32(2))]
    tensors += [Tensor([1, 2]), Tensor([1, 2], "int32"), Tensor([3], "int32", np.int32([1, 2, 1]))]
    tensors += [Tensor([1, 2, 1], "int32"), Tensor([1, 2, 1], "int32", np.int32([[[0], [0]]]))]
    tensors += [Tensor([1, 2, 2], "int32"), Tensor([1, 2, 3])]
    ops = [
        Op("REDUCE_MAX", [0, 1], [2], schema.ReducerOptionsT()),
        Op("TOPK_V2", [2, 3], [4, 5], schema.TopKV2OptionsT()),
        Op("RESHAPE", [5, 6], [7], schema.ReshapeOptionsT()),
        Op("CONCATENATION", [8, 7], [9], schema.ConcatenationOptionsT(axis=2)),
        Op("GATHER_ND", [0, 9], [10], schema.GatherNdOptionsT()),
    ]
    return build_model(Subgraph(tensors, ops, [0], [10]))


def filtered() -> bytes:
    """An image, by filters that are computed of another."""
    options = schema.DepthwiseConv2DOptionsT(strideH=1, strideW=1, padding=1, depthMultiplier=1)
    tensors = [Tensor([1, 3, 3, 2]), Tensor([1, 8, 8, 2]), Tensor([1, 3, 3, 2]), Tensor([2], data=rand(2))]
    ops = [Op("TANH", [0], [2]), Op("DEPTHWISE_CONV_2D", [1, 2, 3], [4], options)]
    return build_model(Subgraph([*tensors, Tensor([1, 6, 6, 2])], ops, [0, 1], [4]))


def behind_a_composite(op: str, constants: list[Tensor], options: Any, columns: int) -> bytes:
    """An operator that works on the first axis, behind another that a graph of its own says."""
    row = Tensor([1, 6])
    composite = Op(
        "STABLEHLO_COMPOSITE", [0], [1], schema.StableHLOCompositeOptionsT("c", decompositionSubgraphIndex=1)
    )
    last = Op(op, [1, *range(2, 2 + len(constants))], [2 + len(constants)], options)
    main = Subgraph([row, row, *constants, Tensor([1, columns])], [composite, last], [0], last.outputs)
    return build_model(main, Subgraph([row, row], [Op("RELU", [0], [1])], [0], [1], name="c"))


def where() -> bytes:
    """Where a sample is larger than zero: which one it is is a coordinate."""
    tensors = [Tensor([1, 4]), Tensor([1, 4], data=np.zeros((1, 4), np.float32)), Tensor([1, 4], "bool")]
    tensors.append(Tensor([1, 2], "int64", shape_signature=[-1, 2]))
    ops = [Op("GREATER", [0, 1], [2], schema.GreaterOptionsT()), Op("WHERE", [2], [3], schema.WhereOptionsT())]
    return build_model(Subgraph(tensors, ops, [0], [3]))


def with_constant() -> bytes:
    tensors = [Tensor([1, 4]), Tensor([1, 4]), Tensor([1, 4], data=rand(1, 4))]
    return build_model(Subgraph(tensors, [Op("RELU", [0], [1])], [0], [1, 2]))


FIRST = [Tensor([2], "int32", np.int32([0, 0])), Tensor([2], "int32", np.int32([1, 3]))]
MIXED = {
    "rows of the first sample": gathered(),
    "filters that are computed": filtered(),
    "a sum along the first axis, behind a composite": behind_a_composite(
        "CUMSUM", [Tensor([], "int32", np.int32(0))], schema.CumsumOptionsT(), 6
    ),
    "the first sample, behind a composite": behind_a_composite("SLICE", FIRST, schema.SliceOptionsT(), 3),
    "places": where(),
    "an output that is a constant": with_constant(),
    "the length of a vector": build((1,), ("L2_NORMALIZATION", (), schema.L2NormOptionsT(), (1,))),
    "a reversed first axis": build(
        (1, 3, 5),
        to(3, 5),
        (
            "REVERSE_SEQUENCE",
            (np.int32([2, 1, 3, 1, 2]),),
            schema.ReverseSequenceOptionsT(seqDim=0, batchDim=1),
            (3, 5),
        ),
        to(1, 15),
    ),
}


@pytest.mark.parametrize("data", MIXED.values(), ids=MIXED)
def test_a_file_whose_samples_would_mix_keeps_its_batch(data: bytes) -> None:
    model = reconstruct(data)
    assert {x.shape[0] for x in model.inputs} == {1}
    x = [rand(*x.shape) for x in model.inputs]
    model(x if len(x) > 1 else x[0])
