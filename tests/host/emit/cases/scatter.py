"""Writing values to places, and gathering values into segments."""

import numpy as np

from emit.case import Arg, Case, Out, codes, const, fixed, ints, rand
from emit.cases.shape import FLAG, I32, I64, vector

PLACES = np.array([[1], [3], [1]], np.int32)
ROWS = rand(5, 2)
CODES = codes(2, 4, zero_point=9)
HIGH = Arg(ints(3, 4, low=60, high=128, dtype="int8"), scale=0.05, zero_point=9)
OF_9 = [Out("int8", 0.05, 9)]
IDS = vector(2, 0, 2, 1, 0)

CASES = [
    Case("SCATTER_ND", [PLACES, rand(3, 4), const([5, 4], "int32")], name="twice"),
    Case("SCATTER_ND", [PLACES, ints(3, 4), vector(5, 4)], outputs=I32, name="computed"),
    Case("SCATTER_ND", [PLACES, np.array([True, False, False]), const([5], "int32")], outputs=FLAG, name="bool"),
    Case("SCATTER_ND", [vector(1, 2), rand(3), const([2, 4, 3], "int32")], name="one-place"),
    # What is not written to is code 0, which is not the real number 0.
    *(
        Case("SCATTER_ND", [PLACES[1:], updates, const([5, 4], "int32")], {}, OF_9, name=name)
        for name, updates in (("int8", CODES), ("int8-constant", fixed(CODES)))
    ),
    # Sums of codes have the codes' type, beyond whose range they wrap.
    *(
        Case("SCATTER_ND", [where, HIGH, const([5, 4], "int32")], {}, OF_9, name=f"int8-wraps-{name}")
        for name, where in (("constant", const(PLACES)), ("computed", PLACES))
    ),
    Case("SCATTER_ND", [PLACES, HIGH, vector(5, 4)], {}, OF_9, name="int8-wraps-computed-shape"),
    Case(
        "SCATTER_ND",
        [PLACES, ints(3, 4, low=2**30, high=2**31), vector(5, 4)],
        outputs=I32,
        name="int32-wraps-computed-shape",
    ),
    Case("SCATTER_ND", [vector(1), rand(4, 3), vector(2, 4, 3)], name="one-place-computed-shape"),
    Case("SCATTER_ND", [const(PLACES), ints(3, 4), vector(5, 4)], outputs=I32, name="known-places-computed-shape"),
    Case("MATRIX_DIAG", [CODES], outputs=OF_9, name="int8"),
    Case("SPARSE_TO_DENSE", [vector(1, 3), const([5], "int32"), rand(2), const(np.float32(9))], name="vector"),
    Case(
        "SPARSE_TO_DENSE",
        [np.array([[0, 1], [2, 0]], np.int64), const([3, 2], "int64"), ints(2, dtype="int64"), const(-1, "int64")],
        outputs=I64,
        name="matrix",
    ),
    Case("SEGMENT_SUM", [ROWS, const([0, 0, 1, 1, 2], "int32")]),
    Case("SEGMENT_SUM", [ints(5, 2), vector(0, 1, 1, 1, 2)], outputs=I32, name="computed"),
]
for _how in ("SUM", "MAX", "MIN", "PROD"):
    CASES += [
        Case(f"UNSORTED_SEGMENT_{_how}", [ROWS, IDS, const(4, "int32")]),
        Case(f"UNSORTED_SEGMENT_{_how}", [const(ROWS), IDS, const(4, "int32")], name="constant-data"),
        Case(f"UNSORTED_SEGMENT_{_how}", [ints(5, 2), const(IDS), vector(4)[0]], outputs=I32, name="computed-count"),
        Case(
            f"UNSORTED_SEGMENT_{_how}", [ints(5), vector(0, -1, 1, 0, -1), const(2, "int32")], {}, I32, name="left-out"
        ),
    ]
