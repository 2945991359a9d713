"""Reductions over axes, running sums, and which element is the largest."""

import numpy as np

from emit.case import Case, Out, codes, const, ints, rand, varying
from emit.cases.shape import vector

X = rand(2, 3, 4, 5)
YES = ints(2, 3, 4, low=0, high=2, dtype="bool")
KEEP, DROP = {"keep_dims": True}, {"keep_dims": False}
NUMERIC = ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN")
LOGICAL = ("REDUCE_ANY", "REDUCE_ALL")
AXIS = np.array([1, 3], np.int32)


def arg(op, x, axis, dtype="int32", name=""):
    return Case(op, [x, axis], {"output_type": dtype}, [Out(dtype)], name=name)


def top(x, k, dtype, name):
    return Case("TOPK_V2", [x, k], outputs=[Out(dtype), Out("int32")], name=name)


FIRST = [const([0], "int32"), vector(0)]
# Windows that do not fit: shape, strides, dilations.
FOUR_AXES = [const(v, "int64") for v in ([2, 1, 3, 2], [2, 2, 2, 1], [1, 1, 2, 2])]
FOUR_AXES_WITHIN = [const(v, "int64") for v in ([1, 3, 2, 1], [1, 2, 1, 1], [1, 1, 2, 1])]
ONE_AXIS = [const([v], "int64") for v in (3, 2, 2)]

CASES = [
    *(Case(op, [X, const([-1, 1], "int32")], DROP, name="drop") for op in NUMERIC),
    *(Case(op, [X, const([2, 1, -2], "int32")], KEEP, name="keep-doubled") for op in NUMERIC),
    *(Case(op, [X, const(2, "int32")], DROP, name="scalar-axis") for op in NUMERIC),
    *(Case(op, [X, AXIS], DROP, name="computed-axis") for op in NUMERIC),
    *(Case(op, [X, AXIS], KEEP, name="computed-axis-keep") for op in NUMERIC),
    *(
        Case(op, [ints(2, 3, 4, dtype=d), const([1], "int32")], DROP, [Out(d)], name=d)
        for op in NUMERIC
        for d in ("int32", "int64")
    ),
    *(Case(op, [YES, const([0, 2], "int32")], DROP, [Out("bool")]) for op in LOGICAL),
    *(Case(op, [YES, np.array([1], np.int32)], KEEP, [Out("bool")], name="computed-axis") for op in LOGICAL),
    Case("MEAN", [X, const([1, 2], "int32")], KEEP, name="pooling"),
    Case("MEAN", [ints(4, 3), AXIS[:1]], DROP, [Out("int32")], name="int32-computed-axis"),
    Case("MEAN", [codes(2, 3, 4, 5), const([1, 2], "int32")], KEEP, [Out("int8", 0.03, 4)], name="int8", version=2),
    Case("SUM", [codes(2, 3, 4), const([1], "int32")], DROP, [Out("int8", 0.1, 4)], name="int8", version=2),
    Case("REDUCE_MAX", [codes(2, 3, 4), const([1], "int32")], DROP, [Out("int8", 0.05, 0)], name="int8", version=2),
    *(
        Case(op, [codes(1, 3, 4), const(0, "int32")], DROP, [Out("int8", 0.05, 0)], name="int8-first-axis", version=2)
        for op in ("MEAN", "REDUCE_MAX")
    ),
    Case("SUM", [rand(), const([], "int32")], DROP, name="scalar"),
    Case("REDUCE_MAX", [rand(0, 2), vector(0)], DROP, name="empty-computed-axis"),
    Case("REDUCE_MIN", [varying(rand(3, 0), 0, 1), const([1], "int32")], DROP, [Out(varies=[0])], name="empty-varying"),
    Case("REDUCE_MIN", [ints(0), const([0], "int32")], DROP, [Out("int32")], name="empty"),
    *(Case(op, [const(X), AXIS], DROP, name="known-computed-axis") for op in NUMERIC),
    *(Case(op, [X, np.array([1, -3], np.int32)], DROP, name="computed-axis-doubled") for op in NUMERIC),
    Case("MEAN", [ints(4, 3), np.array([0, -2], np.int32)], KEEP, [Out("int32")], name="int32-computed-axis-doubled"),
    Case("MEAN", [codes(0, 2), FIRST[0]], DROP, [Out("int8", 0.03, 4)], name="int8-empty", version=2),
    *(
        Case(op, [codes(2, 0, 3), const(axis, "int32")], KEEP, [Out("int8", 0.05, 0)], f"int8-empty-{axis}", 2)
        for op in ("REDUCE_MAX", "REDUCE_MIN")
        for axis in (0, 1)
    ),
    *(Case("MEAN", [ints(0, 2), axis], DROP, [Out("int32")], name=f"empty-{k}") for k, axis in enumerate(FIRST)),
    *(
        Case(
            "REDUCE_WINDOW",
            [x, const(np.float32(0)), *how],
            {"reduce_function": fn},
            name=name,
            expected=[np.zeros(s, np.float32)],
        )
        for name, x, how, fn, s in (
            ("no-room", rand(4), ONE_AXIS, "MAXIMUM", 0),
            ("no-room-sum", rand(1, 4, 2, 2), FOUR_AXES, "ADD", (0, 2, 0, 0)),
        )
    ),
    *(
        Case(
            "REDUCE_WINDOW",
            [varying(rand(1, extent, 6, 2), 1, 2), const(np.float32(0)), *FOUR_AXES_WITHIN],
            {"reduce_function": fn},
            [Out(varies=[1, 2])],
            name=f"varying-{fn}-{extent}",
            newer=True,
        )
        for fn in ("ADD", "MAXIMUM")
        for extent in (1, 7)
    ),
    *(
        Case("CUMSUM", [X, const(axis, "int32")], {"exclusive": e, "reverse": r}, name=f"{axis}-{e}-{r}")
        for axis in (1, -1)
        for e in (False, True)
        for r in (False, True)
    ),
    Case("CUMSUM", [ints(2, 3, dtype="int64"), const(1, "int32")], outputs=[Out("int64")], name="int64"),
    Case("CUMSUM", [ints(2, 3), np.array(1, np.int32)], {"reverse": True}, [Out("int32")], name="computed-axis"),
    *(
        case
        for op in ("ARG_MAX", "ARG_MIN")
        for case in (
            arg(op, X, const(-1, "int32")),
            arg(op, ints(2, 3, 4, low=0, high=3), const([1], "int32"), "int64", "ties"),
            arg(op, ints(2, 3, 4, low=-9, high=9, dtype="int8"), const(1, "int64"), name="int8"),
            arg(op, YES, const(1, "int32"), name="bool"),
            arg(op, X, np.array(2, np.int32), "int64", "computed-axis"),
        )
    ),
    top(X, const(2, "int32"), "float32", "float"),
    top(ints(2, 9, low=0, high=3), const(4, "int32"), "int32", "ties"),
    top(ints(2, 9, dtype="int64"), const([3], "int32"), "int64", "int64"),
    top(rand(9), np.array(3, np.int32), "float32", "computed-k"),
]
