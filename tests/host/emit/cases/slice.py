"""Parts of a tensor."""

import numpy as np

from emit.case import Case, Out, codes, const, ints, rand
from emit.cases.shape import I32, TEXT, WORDS, X, vector

Y = rand(5, 6, 7)
FLOAT = [Out()]
ONE = rand(seed=3)


def strided(name, begin, end, strides, x=Y, computed=False, outputs=FLOAT, version=1, **masks):
    parts = [vector(*v) if computed else const(v, "int32") for v in (begin, end, strides)]
    return Case("STRIDED_SLICE", [x, *parts], masks, outputs, name=name, version=version)


CASES = [
    Case("SLICE", [X, const([0, 1, 0], "int32"), const([-1, 2, 3], "int32")]),
    Case("SLICE", [X, const([1, 0, 2], "int64"), const([1, 0, 2], "int64")], name="empty"),
    Case("SLICE", [X, vector(0, 1, 2), vector(1, -1, 1)], name="computed"),
    Case("SLICE", [WORDS, const([0, 1], "int32"), const([2, 1], "int32")], outputs=TEXT, name="string"),
    Case("SLICE", [ints(4, 3), vector(1, 0), const([2, 2], "int32")], outputs=I32, name="computed-begin"),
    strided("plain", [1, 0, 2], [4, 6, 7], [1, 2, 3]),
    strided("backwards", [-1, 5, 3], [0, -7, 0], [-2, -1, -1], end_mask=2),
    strided("masks", [1, 2, 3], [3, 3, 3], [1, 1, 2], begin_mask=5, end_mask=6),
    strided("beyond", [-9, 2, 8], [9, -9, 9], [1, 1, 1]),
    strided("shrink", [1, -1, 0], [2, 0, 7], [1, 1, 2], shrink_axis_mask=3),
    strided("shrink-all", [1, 2, 3], [2, 3, 4], [1, 1, 1], shrink_axis_mask=7),
    strided("ellipsis", [0, 0, 1], [0, 0, 4], [1, 1, 2], ellipsis_mask=2, shrink_axis_mask=1),
    strided("new-axis", [0, 0, 1], [0, 5, 4], [1, 2, 1], new_axis_mask=1),
    strided("ellipsis-new-axis", [0, 0, 1], [0, 0, 5], [1, 1, 2], ellipsis_mask=1, new_axis_mask=2),
    strided("fewer", [1], [4], [1]),
    # An ellipsis takes an axis of its own, and the kernel does not look at what is left over.
    strided("ellipsis-and-more", [0, 1, 2, 3], [0, 3, 4, 5], [1, 1, 1, 2], ellipsis_mask=1),
    strided("ellipsis-last-and-more", [1, 0, 2, 1], [3, 5, 6, 2], [1, 1, 1, 1], ellipsis_mask=8),
    strided("computed", [1, 0, 2], [4, 6, 7], [1, 2, 3], computed=True),
    strided("computed-shrink", [1, -2, 3], [2, 0, 6], [1, 1, 2], computed=True, shrink_axis_mask=2),
    strided("computed-shrink-masked", [2, 1], [3, 4], [1, 1], computed=True, shrink_axis_mask=1, begin_mask=1),
    strided("computed-new-axis", [0, 1, 0], [0, 3, 6], [1, 1, 2], computed=True, new_axis_mask=1),
    strided("int8", [0, 1, 0], [1, 3, 4], [1, 1, 2], codes(1, 3, 4), outputs=[Out("int8", 0.05, 0)], version=2),
    Case("DYNAMIC_UPDATE_SLICE", [X, rand(1, 2, 2, seed=3), vector(1, 1, 2)]),
    Case("DYNAMIC_UPDATE_SLICE", [X, rand(2, 2, 2, seed=3), const([1, 2, -3], "int32")], name="moved-inside"),
    Case("DYNAMIC_UPDATE_SLICE", [rand(), ONE, np.zeros(0, np.int32)], name="scalar", expected=[ONE]),
    Case("DYNAMIC_UPDATE_SLICE", [ints(4), ints(2, seed=1), vector(1)], outputs=I32, name="int32"),
    Case("DYNAMIC_UPDATE_SLICE", [rand(2, 5, 3), rand(2, 1, 3, seed=3), vector(0, 7, 2)], name="whole-rows"),
]
for _d in ("int64", "int16", "uint8", "bool"):
    CASES.append(strided(_d, [1, 0], [4, 3], [2, 1], ints(5, 3, dtype=_d), outputs=[Out(_d)]))
    CASES.append(Case("SLICE", [ints(5, 3, dtype=_d), *map(const, np.int32([[1, 0], [2, 3]]))], {}, [Out(_d)], name=_d))
