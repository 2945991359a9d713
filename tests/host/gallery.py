"""Operators on codes in the shapes and types that kernel sets treat apart, all in one file for one run.

The sums are small, so that they are shifted by few bits and many of them are halves: there two ways of rounding differ.
In a network clamped activations hide what happens to negative halves; nothing is clamped here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from emit.case import Arg, Case, Out, codes, const, fixed, rand
from numpy.typing import NDArray

import tflite_build as build
from liteback.lift import lift
from liteback.numerics.operator import Operator, compute, variants_of
from liteback.numerics.profile import KernelProfile
from liteback.session.board import Board, RunOptions

Shape = Sequence[int]

SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
VALID = {**SAME, "padding": "VALID"}
BY_TWO = {**SAME, "stride_h": 2, "stride_w": 2}
DILATED = {**SAME, "dilation_h_factor": 2, "dilation_w_factor": 2}
POOL = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "filter_height": 3, "filter_width": 3}
TYPES = ("int8", "uint8", "int16")
EIGHT_BITS = ("int8", "uint8")
ZERO = {"int8": -9, "uint8": 117, "int16": 0}
REACH = {"int8": 16, "uint8": 16, "int16": 2000}  # of the codes, from the zero point
SPREAD = {"int8": 40.0, "uint8": 40.0, "int16": 9000.0}  # of a result's codes, one standard deviation
SCALE = 0.0231


def near(*shape: int, dtype: str, seed: int = 0, scale: float = SCALE) -> Arg:
    """Codes near the zero point."""
    array = np.random.default_rng(seed).integers(-REACH[dtype], REACH[dtype] + 1, shape) + ZERO[dtype]
    return Arg(array.astype(dtype), scale=scale, zero_point=ZERO[dtype])


def anywhere(*shape: int, dtype: str, seed: int = 0, scale: float = SCALE, zero: int | None = None) -> Arg:
    """Codes of the whole range."""
    return codes(*shape, dtype=dtype, scale=scale, zero_point=ZERO[dtype] if zero is None else zero, seed=seed)


def weights(*shape: int, dtype: str, axis: int | None) -> Arg:
    """Small ones; a scale for each index of `axis`, or one. dtype: of the data."""
    rng = np.random.default_rng(7)
    unsigned = dtype == "uint8"
    array = (rng.integers(-9, 10, shape) + 5 * unsigned).astype("uint8" if unsigned else "int8")
    count = 1 if axis is None or unsigned else shape[axis]
    scale = 0.01 * rng.uniform(0.7, 1.4, count)
    return fixed(Arg(array, scale=scale.tolist(), zero_point=[5 * unsigned] * count, axis=axis or 0))


def weighted(op: str, x: Arg, w: Arg, taps: int, channels: int, options: dict[str, Any], **kw: Any) -> Case:
    """A sum of `taps` products for each element. narrow: a bias of 32 bits beside 16-bit data. extents: of the result,
    for TRANSPOSE_CONV.
    """
    assert x.array is not None
    dtype = str(x.array.dtype)
    wide = dtype == "int16" and not kw.get("narrow")
    values = np.random.default_rng(3).integers(-300, 300, channels).astype("int64" if wide else "int32")
    scales = (np.asarray(x.scale) * np.asarray(w.scale)).tolist()
    b = fixed(Arg(values, scale=scales, zero_point=[0] * len(scales)))
    spread = REACH[dtype] / math.sqrt(3) * 5.5 * math.sqrt(taps)
    out = Out(dtype, float(np.mean(scales)) * spread / SPREAD[dtype], ZERO[dtype])
    inputs = [const(kw["extents"], "int32"), w, x, b] if "extents" in kw else [x, w, b]
    return Case(op, inputs, options, [out])


def conv(dtype: str, c: int, n: int, size: int, at: int, options: dict[str, Any] = SAME, **kw: Any) -> Case:
    depth = c // kw.pop("groups", 1)
    w = weights(n, size, size, depth, dtype=dtype, axis=0)
    return weighted("CONV_2D", near(1, at, at, c, dtype=dtype), w, size * size * depth, n, options, **kw)


def depthwise(dtype: str, c: int, size: int, at: int, options: dict[str, Any] = SAME, multiplier: int = 1) -> Case:
    n = c * multiplier
    w, o = weights(1, size, size, n, dtype=dtype, axis=3), {**options, "depth_multiplier": multiplier}
    return weighted("DEPTHWISE_CONV_2D", near(1, at, at, c, dtype=dtype), w, size * size, n, o)


def dense(dtype: str, rows: int, depth: int, n: int, axis: int | None = None, **kw: Any) -> Case:
    w = weights(n, depth, dtype=dtype, axis=axis)
    return weighted("FULLY_CONNECTED", near(rows, depth, dtype=dtype), w, depth, n, {"keep_num_dims": False}, **kw)


def transposed(dtype: str, n: int, stride: int = 2) -> Case:
    size = 5 * stride
    o = {"padding": "SAME", "stride_h": stride, "stride_w": stride}
    x, w = near(1, 5, 5, 8, dtype=dtype), weights(n, 3, 3, 8, dtype=dtype, axis=0)
    return weighted("TRANSPOSE_CONV", x, w, 24, n, o, extents=[1, size, size, n])


def matrices(dtype: str, x: Shape, y: Shape, **options: bool) -> Case:
    spread = REACH[dtype] ** 2 / 3 * math.sqrt(x[-2] if options.get("adj_x") else x[-1])
    out = Out(dtype, SCALE * 0.017 * spread / SPREAD[dtype], ZERO[dtype])
    return Case("BATCH_MATMUL", [near(*x, dtype=dtype), near(*y, dtype=dtype, seed=1, scale=0.017)], options, [out])


def pair(op: str, dtype: str, scale: float, second: float, y: Shape = (3, 7, 23)) -> Case:
    """Of (3, 7, 23) and y. second: the scale of y."""
    inputs = [anywhere(3, 7, 23, dtype=dtype), anywhere(*y, dtype=dtype, seed=1, scale=second)]
    return Case(op, inputs, {}, [Out(dtype, scale, ZERO[dtype])])


def one(op: str, x: Arg, scale: float, *more: Any, out: str = "", zero: int | None = None, **options: Any) -> Case:
    assert x.array is not None
    out = out or str(x.array.dtype)
    return Case(op, [x, *more], options, [Out(out, scale, ZERO[out] if zero is None else zero)])


def sums_of_products() -> Iterator[Case]:
    for d in TYPES:
        yield from (
            conv(d, 8, 24, 3, 9),
            conv(d, 3, 5, 3, 9),
            conv(d, 8, 6, 3, 2, BY_TWO),
            conv(d, 8, 6, 3, 9, DILATED),
        )
        # A product with one vector: deep and high enough for a kernel of its own; not deep; not high.
        yield from (conv(d, 16, 301, 1, 1), conv(d, 3, 301, 1, 1), conv(d, 16, 3, 1, 1), conv(d, 16, 33, 5, 1))
        yield from (depthwise(d, c, 3, 9) for c in (8, 24, 13, 1))
        yield from (depthwise(d, 8, 3, at, BY_TWO) for at in (9, 10))
        yield from (depthwise(d, 8, 5, 9), depthwise(d, 12, 5, 9), depthwise(d, 8, 3, 9, VALID))
        yield from (depthwise(d, 8, 3, 9, DILATED), depthwise(d, 8, 3, 1), depthwise(d, 5, 3, 9, multiplier=3))
        yield from (dense(d, *shape) for shape in ((1, 30, 50), (3, 30, 50), (1, 5, 50), (1, 30, 3)))
        yield from (transposed(d, 16), transposed(d, 13), transposed(d, 7, stride=1))
    yield from (dense("int8", rows, 30, 50, axis=0) for rows in (1, 3))
    yield from (conv(d, 8, 6, 3, 9, groups=2) for d in ("int8", "int16"))
    yield from (conv("int16", 8, 24, 3, 9, narrow=True), dense("int16", 3, 30, 50, narrow=True))
    for d in ("int8", "int16"):
        for m, n, k in ((9, 17, 30), (1, 17, 30), (1, 17, 5), (1, 3, 30), (17, 1, 30)):
            yield matrices(d, (2, m, k), (2, k, n))
            yield matrices(d, (2, m, k), (2, n, k), adj_y=True)
    yield matrices("int8", (2, 30, 9), (2, 17, 30), adj_x=True, adj_y=True)


def sums_and_products() -> Iterator[Case]:
    for d in TYPES:
        for y in ((3, 7, 23), (1, 7, 23), (23,), (1,)):
            yield from (
                pair(op, d, scale, 0.0142, y) for op, scale in (("ADD", 0.031), ("SUB", 0.033), ("MUL", 0.0037))
            )
            yield from (pair(op, d, 2 * SCALE, SCALE, y) for op in ("ADD", "SUB"))  # halves of odd sums
        yield from (pair(op, d, 0.02, 0.0142) for op in ("MAXIMUM", "MINIMUM"))
    yield pair("SQUARED_DIFFERENCE", "int8", 0.02, 0.0142)


def reductions() -> Iterator[Case]:
    for d in TYPES:
        for shape, axes in (
            ((1, 6, 7, 24), [1, 2]),
            ((1, 4, 4, 203), [2, 1]),
            ((2, 5, 5, 40), [1, 2]),
            ((3, 4, 50), [1]),
        ):
            for keep in (True, False):
                x, axis = near(*shape, dtype=d), const(axes, "int32")
                yield one("MEAN", x, 0.012, axis, keep_dims=keep)
                if d != "int16":
                    yield one("SUM", x, 0.19, axis, keep_dims=keep)
        for op in ("REDUCE_MAX", "REDUCE_MIN"):
            yield one(op, anywhere(3, 4, 50, dtype=d), SCALE, const([1], "int32"), keep_dims=True)
        for c in (8, 21):
            yield from (one(f"{op}_POOL_2D", anywhere(1, 7, 7, c, dtype=d), SCALE, **POOL) for op in ("AVERAGE", "MAX"))


def functions() -> Iterator[Case]:
    for d in TYPES:
        x = anywhere(3, 7, 23, dtype=d)
        yield one("LEAKY_RELU", x, 0.017, alpha=0.3)
        yield from (one(op, x, 4.03 * SCALE) for op in ("RELU", "RELU6"))
    for d in EIGHT_BITS:
        low = np.iinfo(d).min
        for shape in ((4, 11), (1, 1001), (1, 5, 6, 16)):
            yield one("SOFTMAX", anywhere(*shape, dtype=d, scale=0.0731), 1 / 256, zero=low, beta=1.0)
        yield one("LOGISTIC", anywhere(3, 7, 23, dtype=d, scale=0.04), 1 / 256, zero=low)
        yield one("TANH", anywhere(3, 7, 23, dtype=d, scale=0.03), 1 / 128, zero=low + 128)
        yield one("HARD_SWISH", anywhere(3, 7, 23, dtype=d, scale=0.061), 0.049)
        yield one("L2_NORMALIZATION", anywhere(3, 20, dtype=d), 1 / 128, zero=low + 128)
        alpha = fixed(codes(1, 1, 24, dtype=d, scale=0.004, zero_point=ZERO[d], seed=4))
        yield one("PRELU", anywhere(1, 5, 5, 24, dtype=d), 0.0171, alpha)
        yield from _resized(d)
    yield one("ABS", anywhere(3, 7, 23, dtype="int8"), 4.03 * SCALE)
    yield one("SOFTMAX", anywhere(4, 11, dtype="int16", scale=0.0004), 1 / 32768, beta=1.0)


def _resized(dtype: str) -> Iterator[Case]:
    for corners, half in ((False, False), (True, False), (False, True)):
        for shape, size in (((1, 15, 16, 8), (29, 37)), ((2, 7, 5, 60), (13, 11)), ((1, 8, 8, 8), (64, 64))):
            x, o = anywhere(*shape, dtype=dtype), {"align_corners": corners, "half_pixel_centers": half}
            yield one("RESIZE_BILINEAR", x, SCALE, const(size, "int32"), **o)


def conversions() -> Iterator[Case]:
    halves = np.random.default_rng(0).permutation(np.arange(-301, 304)).astype(np.float32) * np.float32(SCALE / 2)
    for d in TYPES:
        yield Case("QUANTIZE", [halves], {}, [Out(d, SCALE, ZERO[d])])
        for count in (15, 483):
            yield one("DEQUANTIZE", anywhere(count, dtype=d), 0.0, out="float32", zero=0)
            yield from (one("QUANTIZE", anywhere(count, dtype=d), 4.1 * SCALE, out=o) for o in _converted(d))
    parts = [anywhere(2, 3, n, dtype="uint8", scale=s) for n, s in ((9, SCALE), (20, 0.0171))]
    yield Case("CONCATENATION", parts, {"axis": 2}, [Out("uint8", 0.0171, ZERO["uint8"])])


def _converted(dtype: str) -> tuple[str, ...]:
    return ("int8", "int16") if dtype == "int16" else EIGHT_BITS


def hybrids() -> Iterator[Case]:
    """Real activations, each row at a scale of its own; the bias is real too."""

    def hybrid(op: str, x: NDArray[Any], w: Arg, n: int, options: dict[str, Any]) -> Case:
        return Case(op, [x, w, const(rand(n, seed=5))], options)

    for rows, depth, n in ((1, 30, 50), (9, 37, 50), (4, 64, 3)):
        for asymmetric in (False, True):
            o = {"keep_num_dims": False, "asymmetric_quantize_inputs": asymmetric}
            w = weights(n, depth, dtype="float32", axis=None)
            yield hybrid("FULLY_CONNECTED", rand(rows, depth, low=-1, high=5), w, n, o)
    for axis in (None, 0):  # enough weights for a kernel of 4 bits
        w = weights(8, 64, dtype="float32", axis=axis)
        w = replace(w, array=np.clip(np.asarray(w.array), -7, 7), dtype="int4")
        o = {"keep_num_dims": False, "asymmetric_quantize_inputs": True}
        yield hybrid("FULLY_CONNECTED", rand(5, 64, low=-1, high=5), w, 8, o)
    for batch in (1, 9):
        for axis in (None, 0):
            w = weights(24, 3, 3, 8, dtype="float32", axis=axis)
            yield hybrid("CONV_2D", rand(batch, 9, 9, 8, low=-1, high=5), w, 24, SAME)
        for c, size, o in ((8, 3, SAME), (8, 5, SAME), (13, 3, SAME), (8, 3, BY_TWO), (16, 3, VALID)):
            w = weights(1, size, size, c, dtype="float32", axis=3)
            yield hybrid("DEPTHWISE_CONV_2D", rand(batch, 10, 10, c), w, c, {**o, "depth_multiplier": 1})


def hybrid_transposed() -> Iterator[Case]:
    """Real activations again, which tflite-runtime 2.14 refuses here."""
    for n, size, at, axis in ((13, 10, BY_TWO, None), (6, 11, {**BY_TWO, "padding": "VALID"}, 0), (7, 5, SAME, 0)):
        w, x = weights(n, 3, 3, 8, dtype="float32", axis=axis), rand(2, 5, 5, 8, low=-1, high=5)
        o = {key: at[key] for key in ("padding", "stride_h", "stride_w")} | {"fused_activation_function": "RELU"}
        shape = (2, size, size, n)
        yield Case("TRANSPOSE_CONV", [const(shape, "int32"), w, x, const(rand(n, seed=5))], o, [Out(shape=shape)])


GALLERY = [*sums_of_products(), *sums_and_products(), *reductions(), *functions(), *conversions(), *hybrids()]


def together(
    cases: Sequence[Case] = GALLERY, shapes: Sequence[Shape] | None = None
) -> tuple[bytes, dict[int, NDArray[Any]]]:
    """The file of all the operators, and what it is fed. shapes: of the results; else a case, or the runtime."""
    tensors: list[build.Tensor] = []
    ops, fed, results = [], {}, []
    for number, case in enumerate(cases):
        first = len(tensors)
        for arg in case.args:
            assert arg.array is not None
            if not arg.constant:
                fed[len(tensors)] = arg.array
            dtype, data = arg.stored()
            tensors.append(build.Tensor(arg.array.shape, dtype, data, "", arg.scale, arg.zero_point, arg.axis))
        out, results = case.outputs[0], [*results, len(tensors)]
        ops.append(build.Op(case.op, range(first, len(tensors)), [len(tensors)], case.schema_options()))
        quantization = (out.scale, out.zero_point) if out.dtype != "float32" else ((), ())
        tensors.append(build.Tensor(shapes[number] if shapes else out.shape, out.dtype, None, "", *quantization))
    return build.build_model(build.Subgraph(tensors, ops, list(fed), results)), fed


@dataclass(frozen=True)
class Trial:
    """An operator of the gallery on a board. variant: what a profile names for its class. differing: of each variant
    that is known, how many of the board's elements it does not give; the reference's first.
    """

    kind: str
    variant: str
    differing: dict[str, int]


def trials(board: Board, options: RunOptions, profile: KernelProfile, cases: Sequence[Case] = GALLERY) -> list[Trial]:
    """Each operator of the gallery, run by the board's kernels and computed in every variant."""
    data, feeds = together(cases)
    outputs = lift(data).main.outputs
    with board.open(board.put_model(data), options, tensors=outputs) as session:
        device = session.invoke(0, feeds).tensors
    graph = lift(together(cases, [device[t].shape for t in outputs])[0]).main
    found = []
    for node in graph.nodes:
        operator, expected = Operator.of(node, graph), device[node.outputs[0]]
        inputs = [feeds.get(t, graph.tensors[t].data) for t in node.inputs]
        differing = {v: _differing(operator.in_variant(v), inputs, expected) for v in variants_of(operator.kind)}
        variant = profile.variant(operator.kind, node.index) or next(iter(differing))
        found.append(Trial(operator.kind, variant, differing))
    return found


def _differing(operator: Operator, inputs: Sequence[Any], expected: NDArray[Any]) -> int:
    """How many elements a variant does not give; all, where it knows of no such operator."""
    try:
        return int((np.reshape(compute(operator, inputs), expected.shape) != expected).sum())
    except NotImplementedError:
        return expected.size


def wrong(found: Sequence[Trial]) -> list[Trial]:
    """Where the profile's variant is not what the board computes."""
    return [trial for trial in found if trial.differing[trial.variant]]


def undecided(found: Sequence[Trial]) -> set[str]:
    """Classes whose variant the profile names, although the reference's fits every trial as well."""
    named = {t.kind for t in found if t.variant != next(iter(t.differing))}
    return named - {t.kind for t in found if next(iter(t.differing.values()))}
