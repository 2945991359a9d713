"""What only exact numerics is tested with: every quantized type, scale and shape that sends a kernel another way."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np

from emit.case import Arg, Case, Out, codes, const, fixed, ints, rand, variable

TYPES = ("int8", "uint8", "int16")
ZERO = {"int8": 5, "uint8": 133, "int16": 0}
OTHER_ZERO = {"int8": -7, "uint8": 120, "int16": 0}
IMAGE = (2, 5, 6, 3)
FUSED = {"NONE": "", "RELU6": "-relu6"}


def data(*shape: int, dtype: str, scale: float = 0.05, seed: int = 0) -> Arg:
    """Codes over the whole range of their type."""
    return codes(*shape, dtype=dtype, scale=_scale(dtype, scale), zero_point=ZERO[dtype], seed=seed)


def result(dtype: str, scale: float = 0.08) -> Out:
    return Out(dtype, _scale(dtype, scale), OTHER_ZERO[dtype])


def alike(dtype: str) -> Out:
    """A result of the scale that `data` has."""
    return Out(dtype, _scale(dtype, 0.05), ZERO[dtype])


def _scale(dtype: str, scale: float) -> float:
    return scale / 256 if dtype == "int16" else scale


def weights(*shape: int, dtype: str, axis: int = 0, per_channel: bool = False) -> Arg:
    """Symmetric int8 codes, or uint8 codes with a zero point."""
    if dtype == "uint8":
        return fixed(codes(*shape, dtype="uint8", scale=0.02, zero_point=117, seed=1))
    scale = np.linspace(0.005, 0.03, shape[axis]).tolist() if per_channel else 0.02
    array = ints(*shape, low=-127, high=128, dtype="int8", seed=1)
    return fixed(Arg(array, scale=scale, zero_point=[0] * shape[axis] if per_channel else 0, axis=axis))


def bias(x: Arg, w: Arg, n: int) -> Arg:
    """In steps of both scales' product."""
    wide = x.array is not None and x.array.dtype == np.int16
    scale = np.float32(x.scale) * np.asarray(w.scale, np.float32)
    array = ints(n, low=-3000, high=3000, dtype="int64" if wide else "int32")
    return fixed(Arg(array, scale=scale.tolist(), zero_point=[0] * n if scale.ndim else 0))


def elementwise(dtype: str) -> list[Case]:
    pairs = {"alike": ((2, 3, 4), (2, 3, 4)), "row": ((2, 3, 4), (4,)), "both": ((1, 5, 1, 3), (2, 1, 4, 3))}
    pairs |= {"scalar": ((3, 4), ())}
    return [
        Case(
            op, [data(*a, dtype=dtype), data(*b, dtype=dtype, scale=0.03, seed=1)], options, [out], f"{dtype}-{name}", v
        )
        for name, (a, b) in pairs.items()
        for op, options, out, v in (
            ("ADD", {"pot_scale_int16": False}, result(dtype), 3),
            ("SUB", {"pot_scale_int16": False, "fused_activation_function": "RELU6"}, result(dtype), 3),
            ("MUL", {"fused_activation_function": "RELU"}, result(dtype), 5),
        )
    ]


def powers_of_two() -> list[Case]:
    """int16 sums of which one input is shifted, and functions in fixed point."""
    pairs = (("ADD", -10, -12, -10), ("ADD", -13, -11, -11), ("SUB", -10, -12, -10), ("SUB", -13, -11, -11))
    sums = [
        Case(
            op,
            [codes(3, 50, dtype="int16", scale=2.0**a), codes(3, 50, dtype="int16", scale=2.0**b, seed=1)],
            {"pot_scale_int16": True},
            [Out("int16", 2.0**out, 0)],
            f"int16-{a}{b}",
            2,
        )
        for op, a, b, out in pairs
    ]
    functions = [
        Case(op, [codes(5, 300, dtype="int16", scale=2.0**e)], {}, [Out("int16", 2.0**-15, 0)], f"int16{e}", 3)
        for op in ("LOGISTIC", "TANH")
        for e in (-13, -12, -11)
    ]
    return [*sums, *functions]


def windows(dtype: str) -> list[Case]:
    x, found = data(*IMAGE, dtype=dtype), []
    for padding, stride, act in (("SAME", 2, "NONE"), ("VALID", 1, "RELU6")):
        window = {"padding": padding, "stride_h": stride, "stride_w": stride, "fused_activation_function": act}
        name = f"{dtype}-{padding}"
        pooled = {**window, "filter_height": 2, "filter_width": 3}
        uneven = {**pooled, "stride_w": 3}
        found += [Case(f"{op}_POOL_2D", [x], pooled, [alike(dtype)], name, 2) for op in ("AVERAGE", "MAX")]
        found += [Case(f"{op}_POOL_2D", [x], uneven, [alike(dtype)], f"{name}-3", 2) for op in ("AVERAGE", "MAX")]
        dilated = {**window, "dilation_h_factor": 1, "dilation_w_factor": 3 - stride}
        for per_channel in (False,) if dtype == "uint8" else (False, True):
            name = f"{dtype}-{padding}-{'channels' if per_channel else 'tensor'}"
            version = 4 if dtype == "int16" else 3
            w = weights(4, 2, 3, 3, dtype=dtype, per_channel=per_channel)
            found.append(Case("CONV_2D", [x, w, bias(x, w, 4)], dilated, [result(dtype, 2.0)], name, version))
            w = weights(1, 2, 3, 6, dtype=dtype, axis=3, per_channel=per_channel)
            deep = {**window, "depth_multiplier": 2, "dilation_h_factor": 1, "dilation_w_factor": 1}
            found.append(Case("DEPTHWISE_CONV_2D", [x, w, bias(x, w, 6)], deep, [result(dtype, 2.0)], name, version))
            w = weights(4, 2, 3, 3, dtype=dtype, per_channel=per_channel)
            size = const([2, *((10, 12) if padding == "SAME" else (6, 8)), 4], "int32")
            plain = {**window, "fused_activation_function": "NONE"}
            found.append(Case("TRANSPOSE_CONV", [size, w, x], plain, [result(dtype, 2.0)], name, 3))
    return found


def products(dtype: str) -> list[Case]:
    found = []
    for per_channel in (False,) if dtype == "uint8" else (False, True):
        name = f"{dtype}-{'channels' if per_channel else 'tensor'}"
        x, w = data(3, 20, dtype=dtype), weights(7, 20, dtype=dtype, per_channel=per_channel)
        for b in (bias(x, w, 7), None):
            inputs = [x, w, b]
            found.append(
                Case("FULLY_CONNECTED", inputs, {}, [result(dtype, 2.0)], f"{name}{'' if b else '-no-bias'}", 9)
            )
    if dtype != "uint8":
        for x, y, adj_x, adj_y in (((2, 3, 5), (1, 5, 4), False, False), ((2, 5, 3), (2, 4, 5), True, True)):
            inputs = [data(*x, dtype=dtype), data(*y, dtype=dtype, seed=1)]
            options = {"adj_x": adj_x, "adj_y": adj_y}
            found.append(Case("BATCH_MATMUL", inputs, options, [result(dtype, 40.0)], f"{dtype}-{adj_x}", 3))
    return found


def reductions(dtype: str) -> list[Case]:
    found = []
    for shape, axes, keep in (((1, 5, 6, 3), (2, 1), True), ((2, 7, 3), (-1,), False), ((3, 5), (0, 1), False)):
        inputs, name = [data(*shape, dtype=dtype), const(axes, "int32")], f"{dtype}-{len(shape)}"
        options = {"keep_dims": keep}
        found += [
            Case("MEAN", inputs, options, [out], f"{name}-{out.scale}", 2) for out in (alike(dtype), result(dtype))
        ]
        found += [Case(f"REDUCE_{op}", inputs, options, [alike(dtype)], name, 2) for op in ("MAX", "MIN")]
        found.append(Case("SUM", inputs, options, [alike(dtype) if dtype == "int16" else result(dtype)], name, 2))
        if dtype != "uint8":
            found.append(Case("REDUCE_PROD", inputs, options, [result(dtype)], name, 2))
    return found


MEANS = (((1, 6, 33, 21), (1, 2)), ((1, 6, 33, 21), (-3, -2)), ((1, 6, 33, 21), (0, 1)), ((1, 9, 5), (0, 1)))


def means(dtype: str) -> Iterator[Case]:
    """Of images, which have a kernel of their own, and of what only looks like one. Of one scale, many are halves."""
    for (shape, axes), out in product(MEANS, (result(dtype, 0.05), result(dtype))):
        inputs = [data(*shape, dtype=dtype), const(axes, "int32")]
        yield Case("MEAN", inputs, {"keep_dims": True}, [out], f"{dtype}-{len(shape)}-{axes}-{out.scale}", 2)


def functions(dtype: str) -> list[Case]:
    x = data(3, 90, dtype=dtype)
    unit = {"int8": Out("int8", 1 / 256, -128), "uint8": Out("uint8", 1 / 256, 0), "int16": Out("int16", 2.0**-15, 0)}
    around = {"int8": Out("int8", 1 / 128, 0), "uint8": Out("uint8", 1 / 128, 128), "int16": Out("int16", 2.0**-15, 0)}
    versions = {"RELU": 2, "RELU6": 2}
    if dtype != "int16":
        versions |= {"RELU_N1_TO_1": 1, "RELU_0_TO_1": 1}
    cases = [Case(op, [x], {}, [result(dtype)], dtype, version) for op, version in versions.items()]
    cases += [Case("LEAKY_RELU", [x], {"alpha": 0.13}, [result(dtype)], dtype, 2)]
    cases += [Case("LOGISTIC", [x], {}, [unit[dtype]], dtype, 3), Case("TANH", [x], {}, [around[dtype]], dtype, 3)]
    cases += [
        Case("SOFTMAX", [data(2, 3, n, dtype=dtype)], {"beta": 0.7}, [unit[dtype]], f"{dtype}-{n}", 3) for n in (9, 300)
    ]
    if dtype == "int16":
        return cases
    other = fixed(data(1, 1, 4, dtype=dtype, seed=1))
    largest = 127 if dtype == "int8" else 255
    return [
        *cases,
        Case("PRELU", [data(2, 3, 5, 4, dtype=dtype), other], {}, [result(dtype)], dtype),
        Case("HARD_SWISH", [x], {}, [result(dtype)], dtype),
        Case("LOG_SOFTMAX", [x], {}, [Out(dtype, 16 / 256, largest)], dtype, 2),
        Case("L2_NORMALIZATION", [x], {}, [around[dtype]], dtype, 2),
        Case(
            "SQUARED_DIFFERENCE",
            [data(3, 4, dtype="int8"), data(4, dtype="int8", scale=0.03)],
            {},
            [result("int8")],
            dtype,
            2,
        ),
    ]


def between(dtype: str) -> list[Case]:
    """From codes to codes, to real values and back; joined, resized, compared."""
    x, name = data(*IMAGE, dtype=dtype), dtype
    other = codes(*IMAGE, dtype=dtype, scale=_scale(dtype, 0.031), zero_point=OTHER_ZERO[dtype], seed=1)
    found = [Case("QUANTIZE", [x], {}, [result(d)], f"{name}-{d}", 3) for d in TYPES if "int16" not in (d, dtype)]
    found += [
        Case("DEQUANTIZE", [x], {}, [Out()], name, 3),
        Case("QUANTIZE", [rand(7, 33)], {}, [result(dtype)], f"real-{name}", 3),
    ]
    found += [Case("CONCATENATION", [x, other], {"axis": 3}, [alike(dtype)], name, 3)] if dtype == "uint8" else []
    found += [
        Case(
            "RESIZE_BILINEAR",
            [x, const(size, "int32")],
            {"half_pixel_centers": h, "align_corners": a},
            [alike(dtype)],
            f"{name}-{size}",
            4,
        )
        for size, h, a in (((7, 9), False, False), ((2, 3), True, False), ((11, 12), False, True))
    ]
    found += [Case(op, [x, other], {}, [Out("bool")], name, 3) for op in ("LESS", "GREATER_EQUAL")]
    return found


def lookups() -> list[Case]:
    ids = ints(4, low=0, high=7)
    tables = {d: fixed(codes(7, 5, dtype=d, scale=0.03, zero_point=0)) for d in ("int8", "uint8")}
    scales = Arg(
        ints(3, 4, 5, low=-128, high=128, dtype="int8"), scale=[0.1, 0.2, 0.3, 0.4], zero_point=[0, 3, -4, 8], axis=1
    )
    rows = [
        Case(
            "BATCH_MATMUL",
            [rand(*x), weights(2, 6, 5, dtype="int8")],
            {"adj_x": t, "asymmetric_quantize_inputs": t},
            name=f"hybrid-{t}",
            version=4,
        )
        for x, t in (((2, 4, 6), False), ((2, 6, 4), True))
    ]
    divisor = ints(64, 300, low=1, high=256, dtype="uint8", seed=5)
    return [
        *(Case("EMBEDDING_LOOKUP", [ids, table], {}, [Out()], f"hybrid-{d}", 3) for d, table in tables.items()),
        Case("DEQUANTIZE", [scales], {}, [Out()], "channels", 5),
        *rows,
        Case("ELU", [data(3, 90, dtype="int8")], {}, [result("int8", 0.03)], "int8"),
        Case(
            "DIV",
            [data(64, 300, dtype="uint8"), Arg(divisor, scale=0.05, zero_point=0)],
            {},
            [Out("uint8", 0.04, 90)],
            "uint8",
            2,
        ),
        Case("ONE_HOT", [ids, const(np.int32(5)), _code(9), _code(-3)], {"axis": -1}, [Out("int8", 0.1, 1)], "int8"),
        Case("MATRIX_DIAG", [codes(3, 4)], {}, [Out("int8", 0.05, 0)], "int8"),
    ]


def _code(value: int) -> Arg:
    return fixed(Arg(np.array(value, "int8"), scale=0.1, zero_point=1))


def lstm_int8(x: Arg, options: dict[str, Any] | None = None, **kinds: bool) -> Case:
    """The 8x8 -> 16 LSTM. kinds: cifg, peephole, projection, norm, small (the cell's range)."""
    inputs, units = x.array.shape[-1], 6  # type: ignore[union-attr]
    width = 5 if kinds.get("projection") else units
    gates = [not kinds.get("cifg"), True, True, True]

    def matrix(rows: int, columns: int, seed: int) -> Arg:
        array = ints(rows, columns, low=-127, high=128, dtype="int8", seed=seed)
        return fixed(Arg(array, scale=0.004 + seed * 1e-4, zero_point=0))

    def vector(n: int, dtype: str, scale: float, seed: int) -> Arg:
        top = 30000 if dtype == "int16" else 2000
        return fixed(Arg(ints(n, low=-top, high=top, dtype=dtype, seed=seed), scale=scale, zero_point=0))

    w = [matrix(units, inputs, k) if g else None for k, g in enumerate(gates)]
    r = [matrix(units, width, 10 + k) if g else None for k, g in enumerate(gates)]
    p = [
        vector(units, "int16", 3e-5, 20 + k) if kinds.get("peephole") and g else None
        for k, g in enumerate((gates[0], 1, 1))
    ]
    b = [vector(units, "int32", 1e-4, 30 + k) if g else None for k, g in enumerate(gates)]
    project = [matrix(width, units, 40), vector(width, "int32", 1e-4, 41)] if kinds.get("projection") else [None, None]
    norms = [vector(units, "int16", 3e-5, 50 + k) if kinds.get("norm") and g else None for k, g in enumerate(gates)]
    batch = x.array.shape[0]  # type: ignore[union-attr]
    states = [
        variable(batch, width, dtype="int8", scale=0.007, zero_point=-4),
        variable(batch, units, dtype="int16", scale=2.0 ** (-16 if kinds.get("small") else -11), zero_point=0),
    ]
    inner = [Out("int16", 0.0008 + 1e-4 * k, 0) for k in range(4)] if kinds.get("norm") else [Out()] * 4
    op = "LSTM" if x.array.ndim == 2 else "UNIDIRECTIONAL_SEQUENCE_LSTM"  # type: ignore[union-attr]
    name = "-".join(["int8", *kinds])
    return Case(
        op,
        [x, *w, *r, *p, *b, *project, *states, *norms],
        {"fused_activation_function": "TANH", **(options or {})},
        [Out("int8", 0.007, -4)],
        name,
        4 if op == "LSTM" else 2,
        intermediates=[
            *inner,
            Out("int8", 0.009 if kinds.get("projection") else 0.007, 11 if kinds.get("projection") else -4),
        ],
    )


STEP, SEQUENCE = (codes(*s, scale=0.02, zero_point=3) for s in ((2, 7), (2, 4, 7)))


def basic_lstm() -> Case:
    """The uint8 LSTM of the first releases."""
    half = {"scale": 1 / 128, "zero_point": 128}
    state = codes(3, 9, dtype="int16", scale=2.0**-11, seed=4)
    return Case(
        "LSTM",
        [
            codes(3, 17, dtype="uint8", **half),
            codes(3, 9, dtype="uint8", seed=2, **half),
            fixed(codes(36, 26, dtype="uint8", scale=0.011, zero_point=131, seed=3)),
            fixed(Arg(ints(36, low=-2000, high=2000), scale=0.011 / 128, zero_point=0)),
            state,
        ],
        {"kernel_type": "BASIC", "fused_activation_function": "TANH"},
        [Out("uint8", 1 / 128, 128), Out("int16", 2.0**-11, 0), Out("uint8", 1 / 128, 128), Out("int16", 2.0**-12, 0)],
        "uint8-basic",
        2,
    )


def widened() -> list[Case]:
    """8-bit codes to int16 ones, in ways that differ by one code in a few hundred."""
    return [
        Case(
            "SOFTMAX",
            [data(*shape, dtype=d, scale=0.2)],
            {"beta": b},
            [Out("int16", 2.0**-16, -(1 << 15))],
            f"{d}-{b}",
            3,
        )
        for d in ("int8", "uint8")
        for shape, b in (((40, 300), 1.0), ((60, 9), 0.7))
    ]


def unsigned_hybrid() -> Case:
    """uint8 weights of a hybrid kernel, which has no zero point for them."""
    w = fixed(codes(7, 20, dtype="uint8", scale=0.02, zero_point=117, seed=1))
    return Case("FULLY_CONNECTED", [rand(3, 20), w, const(rand(7, seed=2))], {}, name="uint8-hybrid", version=9)


def beyond_32_bits() -> Case:
    """A function whose values no integer holds."""
    return Case("EXP", [data(2, 300, dtype="int8", scale=0.3)], {}, [result("int8", 0.01)], "int8-large", 2)


FAMILIES = (elementwise, windows, products, reductions, means, functions, between)
EXACT_CASES = [
    *(case for family in FAMILIES for dtype in TYPES for case in family(dtype)),
    *powers_of_two(),
    *lookups(),
    *widened(),
    unsigned_hybrid(),
    beyond_32_bits(),
    lstm_int8(SEQUENCE),
    lstm_int8(STEP),
    lstm_int8(SEQUENCE, {"cell_clip": 6.0}, cifg=True),
    lstm_int8(SEQUENCE, peephole=True),
    lstm_int8(SEQUENCE, small=True),
    lstm_int8(SEQUENCE, {"proj_clip": 0.5}, projection=True),
    lstm_int8(SEQUENCE, norm=True, projection=True),
    basic_lstm(),
]
