"""Looking values up."""

import numpy as np

from emit.case import Case, Out, codes, const, fixed, ints, rand, varying
from emit.cases.shape import I32, I64, TEXT, WORDS, X, vector

TABLE = rand(5, 3)
TWO = vector(4, 0, 2)
PICK = ints(2, 2, low=0, high=3)
SPARSE = [vector(1, 3, 0), np.array([[0, 0], [0, 1], [2, 0]], np.int32), const([3, 2], "int32"), rand(3, low=0.5)]

CASES = [
    Case("GATHER", [const(rand(2, 0, 3)), vector(0, 2, 1)], {"axis": 2}, name="empty-table"),
    Case("GATHER", [const(TABLE), TWO], {"axis": 0}, name="embedding"),
    Case("GATHER", [const(rand(5, 2, 3)), PICK], {"axis": 0}, name="embedding-of-matrices"),
    Case("GATHER", [const(rand(5, 2, 3)), varying(PICK, 0, 1)], {"axis": 0}, name="embedding-of-matrices-varying"),
    Case("GATHER", [const(rand(2, 5, 3)), PICK], {"axis": 1}, name="embedding-of-columns"),
    Case("GATHER", [const(rand(5)), TWO], {"axis": 0}, name="embedding-of-numbers"),
    Case("GATHER", [const(ints(40, 3)), TWO], {"axis": 0}, I32, name="table-of-integers"),
    Case("GATHER", [X, const(PICK)], {"axis": -1}, name="last-axis"),
    Case("GATHER", [X, vector(1)[0]], {"axis": 1}, name="scalar"),
    Case("GATHER", [X, PICK], {"axis": 1, "batch_dims": 1}, name="batch"),
    Case("GATHER", [X, np.int64(PICK)], {"axis": 2, "batch_dims": 1}, name="batch-int64"),
    Case("GATHER", [WORDS[0], vector(1, 2, 0)], {"axis": 0}, TEXT, name="string"),
    Case("GATHER", [codes(4, 3), const([2, 0], "int32")], {"axis": 0}, [Out("int8", 0.05, 0)], name="int8", version=2),
    Case(
        "GATHER",
        [fixed(codes(5, 3)), TWO],
        {"axis": 0},
        [Out("int8", 0.1, 9)],
        name="codes-of-another-scale",
        version=2,
    ),
    Case("GATHER_ND", [X, ints(3, 2, low=0, high=2)]),
    Case("GATHER_ND", [ints(3, 4, dtype="int64"), const([[2, 1], [0, 3]], "int64")], outputs=I64, name="int64"),
    Case("GATHER_ND", [WORDS, const([[1, 2]], "int32")], outputs=TEXT, name="string"),
    Case("EMBEDDING_LOOKUP", [TWO, const(TABLE)]),
    Case("EMBEDDING_LOOKUP", [TWO, const(rand(5, 2, 3))], name="matrices"),
    Case("EMBEDDING_LOOKUP", [TWO, TABLE], name="computed"),
    *(
        Case("EMBEDDING_LOOKUP_SPARSE", [*SPARSE, const(rand(4, 2))], {"combiner": c}, name=c)
        for c in ("SUM", "MEAN", "SQRTN")
    ),
    Case(
        "HASHTABLE_LOOKUP", [vector(3, 8, -1), const([-1, 3, 5], "int32"), const(rand(3, 2))], {}, [Out(), Out("uint8")]
    ),
    Case(
        "HASHTABLE_LOOKUP",
        [vector(9, 5), const([-1, 3, 5], "int32"), np.array([b"a", b"bc", b"d"], object)],
        {},
        [Out("string"), Out("uint8")],
        name="string",
    ),
]
