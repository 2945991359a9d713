"""The operators of StableHLO that runtimes have kernels for."""

from dataclasses import replace

import numpy as np

from emit.case import Arg, Case, Out, codes, const, ints, rand

X, Y = rand(2, 3, 4), rand(2, 3, 4, seed=1)
FLAGS = [ints(2, 3, 4, low=0, high=2, dtype="bool", seed=seed) for seed in (0, 1)]
TABLE = rand(5, 3, 4)
ZERO = const(np.float32(0))
INT8_OUT = [Out("int8", 0.05, 9)]


def out(array):
    return [Out(str(array.dtype))]


def gather(x, starts, name, offset_dims, collapsed, index_map, vectors, sizes, outputs=None):
    options = {"offset_dims": offset_dims, "collapsed_slice_dims": collapsed, "start_index_map": index_map}
    options |= {"index_vector_dim": vectors, "slice_sizes": sizes}
    array = x.array if isinstance(x, Arg) else x
    rank = len(offset_dims) + (starts.array if isinstance(starts, Arg) else starts).ndim - 1
    result = replace((outputs or out(array))[0], shape=(1,) * rank)
    return Case("STABLEHLO_GATHER", [x, starts], options, [result], name, newer=True)


def scatter(x, starts, updates, name, windows, inserted, to_operand, vectors, region="", outputs=None):
    options = {"update_window_dims": windows, "inserted_window_dims": inserted, "index_vector_dim": vectors}
    options |= {"scatter_dims_to_operand_dims": to_operand, "update_computation_subgraph_index": 1}
    array = x.array if isinstance(x, Arg) else x
    result = outputs or out(array)
    return Case("STABLEHLO_SCATTER", [x, starts, updates], options, result, name, regions=[region], newer=True)


def window(x, start, region, name, shape, strides=None, base=None, dilations=None, padding=None):
    ones = [1] * x.ndim
    options = {"window_dimensions": shape, "window_strides": strides or ones, "base_dilations": base or ones}
    options |= {"window_dilations": dilations or ones, "padding": padding or [0] * 2 * x.ndim, "body_subgraph_index": 1}
    inputs = [x, const(np.asarray(start, x.dtype))]
    return Case("STABLEHLO_REDUCE_WINDOW", inputs, options, out(x), name, regions=[region], newer=True)


def pad(x, value, low, high, interior, name, outputs=None):
    options = {"edge_padding_low": low, "edge_padding_high": high, "interior_padding": interior}
    array = x.array if isinstance(x, Arg) else x
    return Case("STABLEHLO_PAD", [x, value], options, outputs or out(array), name, newer=True)


def bits(algorithm, state, shape, dtype):
    drawn = [Out("uint64", shape=np.shape(state)), Out(dtype, shape=shape)]
    options, name = {"algorithm": algorithm}, f"{algorithm}-{len(state)}-{dtype}"
    return Case("STABLEHLO_RNG_BIT_GENERATOR", [np.array(state, np.uint64)], options, drawn, name, newer=True)


CASES = [
    *(Case(f"STABLEHLO_{op}", [X, Y], name="float", newer=True) for op in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM")),
    *(
        Case(f"STABLEHLO_{op}", [ints(3, 4, dtype=d), ints(3, 4, dtype=d, seed=1)], {}, [Out(d)], d, newer=True)
        for op in ("ADD", "MULTIPLY", "MAXIMUM", "MINIMUM")
        for d in ("int8", "int64")
    ),
    Case("STABLEHLO_ADD", [X, const(Y)], name="constant", newer=True),
    Case("STABLEHLO_AND", FLAGS, outputs=[Out("bool")], name="bool", newer=True),
    Case("STABLEHLO_AND", [ints(9), ints(9, seed=1)], outputs=[Out("int32")], name="int32", newer=True),
    *(
        Case("STABLEHLO_SHIFT_LEFT", [ints(9, dtype=d), ints(9, low=0, high=7, dtype=d)], {}, [Out(d)], d, newer=True)
        for d in ("int8", "int16", "int32")
    ),
    pad(X, ZERO, [0, 1, 2], [0, 3, 0], [0, 0, 0], "edges"),
    pad(X, const(np.float32(-np.inf)), [0, 1, 0], [0, 0, 2], [0, 1, 2], "between"),
    pad(X, ZERO, [0, -1, 2], [0, 0, -3], [0, 0, 0], "cut"),
    pad(X, ZERO, [0, 0, -2], [0, 1, -1], [1, 0, 2], "cut-between"),
    pad(ints(4, 5, dtype="int64"), const(7, "int64"), [2, 0], [0, 1], [0, 1], "int64"),
    pad(codes(3, 4, zero_point=9), Arg(np.int8(3), True, 0.05, 9), [1, 0], [0, 2], [0, 1], "int8", INT8_OUT),
    pad(rand(1, 6, 4), ZERO, [0, -1, 0], [0, 2, 0], [0, 0, 0], "batch"),
    gather(TABLE, np.array([[1], [4], [0]], np.int32), "rows", [1, 2], [0], [0], 1, [1, 3, 4]),
    gather(const(TABLE), np.array([[1], [4], [0]], np.int32), "rows-of-a-table", [1, 2], [0], [0], 1, [1, 3, 4]),
    gather(const(TABLE), np.array([[[1, 4], [0, 9]]], np.int32), "vectors-first", [0, 3], [0], [0], 0, [1, 3, 4]),
    gather(TABLE, np.array([[1, 2], [4, 1], [-3, 9]], np.int64), "moved-inside", [1, 2], [0], [2, 0], 1, [1, 3, 2]),
    gather(TABLE, np.array([[1, 2, 3], [0, 1, 2]], np.int32), "windows", [0, 2, 3], [], [1, 0], 0, [2, 2, 4]),
    gather(TABLE, const([[1], [4], [0]], "int32"), "known", [1, 2], [0], [0], 1, [1, 3, 4]),
    gather(rand(1, 6, 4), const([[1], [4], [0]], "int32"), "batch", [0, 2], [1], [1], 1, [1, 1, 4]),
    gather(codes(5, 4, zero_point=9), np.array([[1], [3]], np.int32), "int8", [1], [0], [0], 1, [1, 4], INT8_OUT),
    scatter(TABLE, np.array([[1], [3]], np.int32), rand(2, 3, 4, seed=2), "rows", [1, 2], [0], [0], 1),
    scatter(TABLE, np.array([[1], [7], [3]], np.int32), rand(3, 3, 4, seed=2), "outside", [1, 2], [0], [0], 1),
    scatter(TABLE, np.array([[1, 2], [3, 0]], np.int64), rand(2, 2, 3, seed=2), "windows", [1, 2], [1], [2, 0], 1),
    scatter(const(TABLE), const([[1], [3]], "int32"), rand(2, 3, 4, seed=2), "known", [1, 2], [0], [0], 1),
    scatter(rand(1, 6, 4), const([[1], [4]], "int32"), rand(1, 2, 4, seed=2), "batch", [0, 2], [1], [1], 1),
    scatter(
        codes(5, 4, zero_point=9),
        np.array([[1], [3]], np.int32),
        codes(2, 4, zero_point=9, seed=1),
        "int8",
        [1],
        [0],
        [0],
        1,
        outputs=INT8_OUT,
    ),
    # One place gets several updates: the last of them, in the order of `updates`, remains.
    scatter(TABLE, const([[1], [1], [2]], "int32"), rand(2, 3, 3, 4, seed=2), "overlapping", [0, 2, 3], [], [0], 1),
    scatter(TABLE, const([1, 2], "int32"), rand(3, 4, seed=2), "one-window", [0, 1], [0], [0], 0),
    # The places of a window are along two axes, of which each alone is wider than 1.
    gather(TABLE, np.array([[-1, 4], [3, 1]], np.int32), "wide-windows", [0, 2, 3], [], [0, 2], 1, [2, 2, 3]),
    *(
        scatter(x, np.array([[1], [3], [1]], np.int32), updates, f"{op}-{x.dtype}", [1, 2], [0], [0], 1, region=op)
        for op in ("STABLEHLO_ADD", "STABLEHLO_MULTIPLY", "STABLEHLO_MAXIMUM", "STABLEHLO_MINIMUM")
        for x, updates in ((TABLE, rand(3, 3, 4, seed=2)), (ints(5, 3, 4), ints(3, 3, 4, seed=2)))
    ),
    window(rand(1, 6, 7, 2), 0, "ADD", "sum", [1, 2, 3, 1], [1, 2, 1, 1]),
    window(
        rand(1, 6, 7, 2),
        -np.inf,
        "STABLEHLO_MAXIMUM",
        "largest",
        [1, 3, 3, 1],
        [1, 2, 2, 1],
        padding=[0, 0, 1, 1, 1, 1, 0, 0],
    ),
    window(rand(4, 5), 1, "STABLEHLO_MULTIPLY", "product", [2, 3], base=[2, 1], dilations=[1, 2]),
    window(rand(2, 9), 0, "STABLEHLO_ADD", "running-sum", [1, 9], padding=[0, 0, 8, 0]),
    window(ints(6, 7), 99, "MINIMUM", "int32", [3, 5], padding=[-1, 2, 0, -1]),
    window(FLAGS[0], False, "LOGICAL_OR", "any", [1, 2, 2]),
    window(FLAGS[0], True, "STABLEHLO_AND", "all", [1, 2, 2]),
    *(
        bits(algorithm, state, shape, dtype)
        for algorithm, state in (
            ("THREEFRY", [7, 2**32 - 2]),
            ("PHILOX", [7, 2**64 - 2]),
            ("DEFAULT", [2**63 + 5, 9, 2**40]),
        )
        for dtype, shape in (("uint32", (7,)), ("int32", (2, 3)), ("uint64", (5,)), ("int64", (3, 3)))
    ),
]
