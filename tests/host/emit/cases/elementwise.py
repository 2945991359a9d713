"""Two tensors element by element."""

from dataclasses import replace

import numpy as np

from emit.case import Arg, Case, Out, codes, const, ints, rand

X, Y = rand(2, 3, 4), rand(2, 3, 4, seed=1)
ROW = rand(3, 1, seed=2)
YES = ints(2, 3, 4, low=0, high=2, dtype="bool")
NO = ints(2, 3, 4, low=0, high=2, dtype="bool", seed=1)
NEAR = [ints(2, 3, 4, low=0, high=3), ints(2, 3, 4, low=0, high=3, seed=1)]
WORDS = [np.array([b"a", b"bc"], object), np.array([b"a", b"d"], object)]
BOOL = [Out("bool")]
ARITHMETIC = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD")
COMPARISONS = ("EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL")
INT8 = [codes(2, 3, 4, scale=0.02, zero_point=5), codes(2, 3, 4, scale=0.03, zero_point=-7, seed=1)]
INT16 = [codes(2, 3, 4, dtype="int16", scale=s, seed=i) for i, s in enumerate((2e-4, 1e-4))]
# One axis of the second is wider than 1, and the first has that extent in another place.
NO_BIAS = [
    ((3, 3), (3, 1)),
    ((4, 3), (3, 1, 1)),
    ((1, 3, 3), (1, 3, 1)),
    ((1, 3, 1), (1, 1, 3)),
    ((2, 3, 1), (3,)),
    ((2, 3, 3, 3), (3, 1, 1)),
    ((1, 4, 4, 5), (1, 4, 1)),
]


def whole(dtype, low=-9):
    """Integers to be divided by integers that are not 0."""
    return [ints(2, 3, 4, low=low, high=10, dtype=dtype), ints(3, 4, low=1, high=5, dtype=dtype, seed=1)]


CASES = [
    *(Case(op, [X, Y + 3], name="float") for op in (*ARITHMETIC, "ATAN2")),
    *(Case(op, [X, const(ROW + 3)], name="broadcast-constant") for op in ARITHMETIC),
    *(Case(op, whole("int32"), outputs=[Out("int32")], name="int32") for op in ARITHMETIC),
    *(
        Case(op, whole("int64"), outputs=[Out("int64")], name="int64")
        for op in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "FLOOR_MOD")
    ),
    *(Case(op, INT8, outputs=[Out("int8", 0.06, 3)], name="int8", version=2) for op in ("ADD", "SUB", "MUL")),
    # Codes are divided as the numbers they are.
    *(
        Case(op, [a, replace(b, array=b.array | 1)], {}, [Out(str(a.array.dtype), 0.06, 0)], str(a.array.dtype), 2)
        for op in ("FLOOR_DIV", "FLOOR_MOD")
        for a, b in (INT8, INT16)
    ),
    Case("DIV", [ints(4, low=-9, high=9), ints(4, low=-3, high=-1, seed=1)], outputs=[Out("int32")], name="towards-0"),
    # Most quotients round to 0, and are shifted down by more than a word has bits.
    Case(
        "DIV",
        [codes(20, 1, dtype="uint8", zero_point=120), Arg(np.arange(130, 150, dtype=np.uint8), True, 0.05, 120)],
        outputs=[Out("uint8", 3.0, 90)],
        name="uint8-small",
    ),
    Case(
        "DIV",
        [
            Arg(np.array([40, 3, -1, 9000], np.int16), scale=1e-4, zero_point=0),
            Arg(np.array([900, 30000, 20000, 3], np.int16), scale=1e-4, zero_point=0),
        ],
        outputs=[Out("int16", 0.05, 0)],
        name="int16-small",
        expected=[np.array([1, 32767, -32768, 32767], np.int16)],
    ),
    Case("ADD", [X, Y], {"fused_activation_function": "RELU_N1_TO_1"}, name="fused"),
    Case("ADD", [X, Y], {"fused_activation_function": "TANH"}, name="fused-but-ignored"),
    Case("ADD", [rand(), rand(seed=1)], name="scalars"),
    Case("ADD", [rand(2, 1, 3, 1, 2), rand(4, 1, 5, 1)], name="five-axes"),
    Case("ADD", [rand(0, 3), rand(1, 3)], name="empty"),
    Case("ADD", [rand(1, 3), rand(0, 3)], name="empty-second"),
    Case("ADD", [rand(0, 3), rand(0, 3)], name="empty-both"),
    *(Case("ADD", [rand(*a), rand(*b, seed=1)], name=f"looks-like-a-bias-{k}") for k, (a, b) in enumerate(NO_BIAS)),
    *(
        Case("ADD", whole(d, low=-3), {"fused_activation_function": "RELU_N1_TO_1"}, [Out(d)], name=f"fused-{d}")
        for d in ("int32", "int64")
    ),
    # What the converter writes for a tensor that was nothing but zeros.
    Case(
        "SUB", [INT16[0]] * 2, {}, [Out("int16", 3.6e-43, 0)], "no-scale", 3, expected=[np.zeros((2, 3, 4), np.int16)]
    ),
    Case("POW", [abs(X) + 0.1, Y], name="float"),
    Case("POW", [ints(5), ints(5, low=0, high=4, seed=1)], outputs=[Out("int32")], name="int32"),
    Case("ADD_N", [X, Y, X], name="three"),
    Case("ADD_N", [ints(3), const(ints(3, seed=1))], outputs=[Out("int32")], name="int32"),
    *(
        Case(op, [ints(7, dtype=d, low=0, high=90), ints(7, dtype=d, low=0, high=60, seed=1)], outputs=[Out(d)], name=d)
        for op in ("BITWISE_XOR", "RIGHT_SHIFT")
        for d in ("int8", "uint8", "int16", "int32", "uint32")
    ),
    *(
        Case(op, [ints(3, low=0), ints(2, 3, low=0, seed=1)], outputs=[Out("int32")], name="broadcast")
        for op in ("BITWISE_XOR", "RIGHT_SHIFT")
    ),
    Case("BITWISE_XOR", [ints(1, 3), ints(0, 3)], outputs=[Out("int32")], name="empty"),
    Case("RIGHT_SHIFT", [ints(7), ints(7, seed=1, low=-40, high=40)], outputs=[Out("int32")], name="clamped"),
    *(Case(op, NEAR, outputs=BOOL, name="int32") for op in COMPARISONS),
    *(Case(op, [X, const(X[:, :1])], outputs=BOOL, name="broadcast") for op in COMPARISONS),
    *(Case(op, INT8, outputs=BOOL, name="int8", version=2) for op in COMPARISONS),
    *(Case(op, [YES, NO], outputs=BOOL, name="bool") for op in ("EQUAL", "NOT_EQUAL", "LOGICAL_AND", "LOGICAL_OR")),
    *(Case(op, WORDS, outputs=BOOL, name="string") for op in ("EQUAL", "NOT_EQUAL")),
    Case("LOGICAL_NOT", [YES], outputs=BOOL),
    Case("SELECT", [YES, X, Y]),
    Case("SELECT", [np.array([True, False]), X, Y], name="rows"),
    Case("SELECT", [np.array(True), const(X), Y], name="scalar"),
    Case("SELECT_V2", [np.array([True, False, False, True]), X, Y], name="broadcast"),
    Case("SELECT", [YES, *INT16], outputs=[Out("int16", 1e-4, 0)], name="codes-of-other-scales"),
    *(Case(op, INT8, outputs=[Out("int8", 0.07, 9)], name="codes-of-other-scales") for op in ("MAXIMUM", "MINIMUM")),
    Case("SELECT_V2", [YES, *whole("int64")], outputs=[Out("int64")], name="int64"),
    Case("SELECT_V2", [YES, const(3, "int64"), const(-2, "int64")], outputs=[Out("int64")], name="numbers"),
]
