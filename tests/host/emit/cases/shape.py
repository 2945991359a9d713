"""Other shapes for the same values. A computed shape is fed at run time."""

import numpy as np

from emit.case import Case, Out, codes, const, ints, rand, varying

X = rand(2, 3, 4)
WORDS = np.array([[b"a", b"bc", b""], [b"d", b"ef", b"g"]], object)
I32, I64, TEXT, FLAG = ([Out(d)] for d in ("int32", "int64", "string", "bool"))


def vector(*values):
    return np.array(values, np.int32)


CASES = [
    Case("SHAPE", [X], {"out_type": "int32"}, I32),
    Case("SHAPE", [rand()], {"out_type": "int64"}, I64, name="scalar-int64"),
    Case("RANK", [X], outputs=I32),
    Case("RESHAPE", [X, const([4, -1], "int32")], name="rest"),
    Case("RESHAPE", [X, vector(6, 4)], name="computed"),
    Case("RESHAPE", [X], {"new_shape": [3, 8]}, name="option"),
    Case("RESHAPE", [rand(1), const([], "int32")], name="to-scalar"),
    Case("RESHAPE", [rand(0, 4), const([2, 0], "int32")], name="empty"),
    Case("RESHAPE", [codes(1, 2, 6), const([1, 3, 4], "int32")], {}, [Out("int8", 0.05, 0)], name="int8"),
    Case(
        "RESHAPE", [codes(1, 2, 6), const([1, 3, 4], "int32")], {}, [Out("int8", 0.1, 7)], name="codes-of-another-scale"
    ),
    Case("RESHAPE", [varying(X, 0), const([-1, 6, 2], "int32")], outputs=[Out(varies=[0])], name="batch"),
    Case("RESHAPE", [varying(X, 0), const([-1, 4], "int32")], outputs=[Out(varies=[0])], name="into-the-batch"),
    Case("RESHAPE", [varying(rand(3), 0), const([1, 3, 1], "int32")], name="batch-of-one"),
    Case("RESHAPE", [varying(rand(3, 1, 1), 0, 1, 2), const([1, 3], "int32")], name="all-vary"),
    Case("SQUEEZE", [rand(1, 3, 1, 2)], name="all"),
    Case("SQUEEZE", [rand(1, 3, 1, 2)], {"squeeze_dims": [-2]}, name="one"),
    Case("SQUEEZE", [rand(2, 3)], name="none"),
    Case("EXPAND_DIMS", [X, const(-1, "int32")], name="last"),
    Case("EXPAND_DIMS", [X, const([0], "int32")], name="first"),
    Case("EXPAND_DIMS", [X, vector(1)], name="computed"),
    Case("TRANSPOSE", [X, const([2, 0, 1], "int32")]),
    Case("TRANSPOSE", [X, vector(1, 2, 0)], name="computed"),
    Case("TRANSPOSE", [rand(1, 2, 3, 4, 2, 2), const([0, 5, 1, 4, 2, 3], "int32")], name="six-axes"),
    Case("TRANSPOSE", [ints(2, 3, dtype="int64"), const([1, 0], "int32")], {}, I64, name="int64"),
    Case("BROADCAST_TO", [rand(3, 1), const([2, 3, 4], "int32")], version=2),
    Case("BROADCAST_TO", [rand(3, 1), const([2, 3, 4], "int64")], name="int64-shape", version=2),
    Case("BROADCAST_TO", [ints(3, 1), vector(2, 3, 4)], outputs=I32, name="computed", version=2),
    Case("BROADCAST_TO", [np.array([[True], [False]]), const([2, 3], "int32")], outputs=FLAG, name="bool", version=2),
    Case("BROADCAST_ARGS", [vector(2, 1, 4), vector(3, 1)], outputs=I32),
    Case("BROADCAST_ARGS", [const([2, 1], "int64"), np.array([5], np.int64)], outputs=I64, name="int64"),
]
