"""Tensors made from a few numbers."""

import numpy as np

from emit.case import Case, Out, const, ints, rand
from emit.cases.shape import FLAG, I32, I64, vector

ON_OFF = [const(np.float32(1)), const(np.float32(0))]

CASES = [
    Case("FILL", [const([2, 3], "int32"), np.float32(1.5)]),
    Case("FILL", [vector(2, 0, 3), const(np.int64(7))], outputs=I64, name="computed"),
    Case("FILL", [vector(2, 2), np.array(True)], outputs=FLAG, name="bool"),
    Case("RANGE", [np.int32(2), const(11, "int32"), const(3, "int32")], outputs=I32),
    Case("RANGE", [np.float32(2), const(np.float32(0)), const(np.float32(-0.5))], name="float"),
    Case("RANGE", [np.int64(5), np.int64(5), np.int64(1)], outputs=I64, name="empty"),
    Case("ONE_HOT", [ints(2, 3, low=-1, high=5), const(4, "int32"), *ON_OFF], {"axis": -1}),
    Case("ONE_HOT", [ints(2, 3, low=0, high=4), const(4, "int32"), *ON_OFF[::-1]], {"axis": 0}, name="off-on"),
    Case(
        "ONE_HOT", [ints(3, low=0, high=4, dtype="int64"), np.int32(4), const(5), const(-2)], {"axis": 1}, I64, name="n"
    ),
    Case("ONE_HOT", [ints(2, 3, low=0, high=4), const(4, "int32"), *ON_OFF], {"axis": 2}, name="last"),
    Case(
        "ONE_HOT",
        [vector(1, 0, 3), const(4, "int32"), const(5, "int8"), const(2, "int8")],
        {"axis": -1},
        [Out("int8")],
        name="int8",
    ),
    Case("ONE_HOT", [vector(1, 0), const(2, "int32"), const(True), const(False)], {"axis": -1}, FLAG, name="bool"),
    Case("MATRIX_DIAG", [rand(2, 3)]),
    Case("MATRIX_DIAG", [ints(4, dtype="int64")], outputs=I64, name="int64"),
    *(
        Case("MATRIX_SET_DIAG", [rand(2, *shape), rand(2, 3, seed=1)], name="x".join(map(str, shape)))
        for shape in ((3, 3), (3, 5), (4, 3))
    ),
]
