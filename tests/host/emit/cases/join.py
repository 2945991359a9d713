"""Joining, splitting, padding and repeating."""

import numpy as np

from emit.case import Case, Out, codes, const, ints, rand
from emit.cases.shape import FLAG, I32, I64, TEXT, WORDS, X, vector

AROUND = const([[0, 0], [1, 2], [3, 0]], "int32")
IMAGE = rand(1, 3, 4, 2)
INT8 = [Out("int8", 0.05, 3)]
Q = codes(1, 3, 4, zero_point=3)

CASES = [
    Case("SPLIT_V", [X, const([-1], "int32"), np.array(0, np.int32)], {"num_splits": 1}, name="rest-computed-axis"),
    Case(
        "CONCATENATION",
        [codes(3, dtype="int16", scale=1e-4), codes(2, dtype="int16", scale=3e-4)],
        {"axis": 0},
        [Out("int16", 1e-4, 0)],
        name="int16-codes-of-other-scales",
        version=3,
    ),
    Case("CONCATENATION", [X, rand(2, 1, 4)], {"axis": 1}),
    Case("CONCATENATION", [X, const(X[..., :1]), X], {"axis": -1}, name="constant"),
    Case("CONCATENATION", [X, const(X[..., :0])], {"axis": -1}, name="nothing"),
    Case("CONCATENATION", [Q, codes(1, 3, 4, zero_point=3, seed=1)], {"axis": 2}, INT8, name="int8", version=2),
    *(
        Case("CONCATENATION", [ints(2, 3, dtype=d), ints(1, 3, dtype=d)], {"axis": 0}, [Out(d)], name=d)
        for d in ("int32", "int64", "int16", "uint8", "bool")
    ),
    Case("PACK", [X, X + 1], {"values_count": 2, "axis": -1}),
    Case("PACK", [rand(), rand(seed=1)], {"values_count": 2, "axis": 0}, name="scalars"),
    Case("PACK", [np.int32(3), const(4, "int32")], {"values_count": 2, "axis": 0}, I32, name="scalars-one-constant"),
    Case("PACK", [ints(3), const(ints(3))], {"values_count": 2, "axis": 1}, I32, name="int32"),
    Case("UNPACK", [X], {"num": 3, "axis": 1}, [Out()] * 3),
    Case("UNPACK", [rand(4, 1)], {"num": 1, "axis": -1}, name="one"),
    Case("UNPACK", [Q], {"num": 3, "axis": -2}, INT8 * 3, name="int8"),
    Case("SPLIT", [const(1, "int32"), rand(2, 6)], {"num_splits": 3}, [Out()] * 3),
    Case("SPLIT", [const(-2, "int32"), ints(4, 2)], {"num_splits": 2}, I32 * 2, name="negative"),
    Case("SPLIT", [vector(0)[0], rand(4, 6)], {"num_splits": 2}, [Out()] * 2, name="computed"),
    Case("SPLIT_V", [rand(2, 6), const([1, -1, 2], "int32"), const(1, "int32")], {"num_splits": 3}, [Out()] * 3),
    Case("SPLIT_V", [rand(5), const([5], "int32"), const(0, "int32")], {"num_splits": 1}, name="one"),
    Case("SPLIT_V", [rand(2, 6), vector(2, 4), const(-1, "int32")], {"num_splits": 2}, [Out()] * 2, name="computed"),
    *(
        Case(
            "SPLIT_V",
            [rand(5, 6, 2), const(sizes, "int32"), np.array(axis, np.int32)],
            {"num_splits": 3},
            [Out()] * 3,
            name=f"computed-axis-{axis}",
        )
        for axis, sizes in ((0, [1, 3, 1]), (-2, [1, -1, 2]))
    ),
    Case("REVERSE_V2", [rand(2, 3, 4), const([1, 2], "int32")], name="axes", newer=True),
    Case("PAD", [IMAGE, const([[0, 0], [1, 2], [0, 3], [0, 0]], "int32")], name="image"),
    Case("PAD", [X, AROUND], name="three-axes"),
    Case("PAD", [rand(2, 3), const([[1, 0], [0, 2]], "int64")], name="all-axes"),
    Case("PAD", [X, np.array([[0, 0], [1, 2], [3, 0]], np.int32)], name="computed"),
    Case("PAD", [Q, AROUND], outputs=INT8, name="int8", version=2),
    Case("PAD", [Q, AROUND], outputs=[Out("int8", 0.02, -9)], name="int8-codes-of-another-scale", version=2),
    Case("PAD", [ints(2, 3), const([[1, 0], [0, 2]], "int32")], outputs=I32, name="int32"),
    Case("PADV2", [X, AROUND, const(-7.5, "float32")]),
    Case("PADV2", [X, AROUND, np.array(1.25, np.float32)], name="computed"),
    Case(
        "PADV2", [ints(2, 3, dtype="int64"), const([[1, 0], [0, 2]], "int32"), const(9, "int64")], {}, I64, name="i64"
    ),
    Case("MIRROR_PAD", [X, const([[1, 0], [2, 1], [0, 3]], "int32")], {"mode": "REFLECT"}, name="reflect"),
    Case("MIRROR_PAD", [X, const([[2, 0], [3, 1], [0, 4]], "int32")], {"mode": "SYMMETRIC"}, name="symmetric"),
    Case("MIRROR_PAD", [X, np.array([[0, 0], [1, 1], [0, 2]], np.int32)], {"mode": "REFLECT"}, name="computed"),
    Case("TILE", [X, const([1, 2, 3], "int32")]),
    Case("TILE", [ints(2, 2), np.array([2, 1], np.int64)], outputs=I32, name="computed"),
    Case("TILE", [WORDS, const([2, 1], "int32")], outputs=TEXT, name="string"),
    Case("TILE", [np.array([True, False]), const([3], "int32")], outputs=FLAG, name="bool"),
    Case("REVERSE_V2", [X, const([1], "int32")]),
    Case("REVERSE_V2", [ints(2, 3), const([-1], "int32")], outputs=I32, name="negative"),
    Case("REVERSE_SEQUENCE", [X, const([2, 3], "int32")], {"seq_dim": 1, "batch_dim": 0}),
    Case(
        "REVERSE_SEQUENCE",
        [rand(2, 1, 3, 2, 4, 2), const([3, 0, 2], "int32")],
        {"seq_dim": 4, "batch_dim": 2},
        name="six-axes",
    ),
    Case("REVERSE_SEQUENCE", [X, np.array([1, 2, 0], np.int64)], {"seq_dim": 2, "batch_dim": 1}, name="computed"),
]
