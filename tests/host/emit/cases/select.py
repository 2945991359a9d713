"""Choosing elements."""

import numpy as np

from emit.case import Arg, Case, Out, const, ints, rand
from emit.cases.shape import I64

CORNERS = np.sort(rand(12, 2, 2, low=0, high=1), axis=1).reshape(12, 4)
SCORES = np.linspace(0.05, 0.95, 12, dtype=np.float32)[np.random.default_rng(1).permutation(12)]
THRESHOLDS = [const(np.float32(0.3)), const(np.float32(0.1))]
CHOSEN = [Out("int32"), Out("int32")]
SOFTLY_CHOSEN = [Out("int32"), Out(), Out("int32")]

CASES = [
    *(Case("WHERE", [ints(3, 4, low=0, high=2, dtype=d)], outputs=I64, name=d) for d in ("bool", "int32", "float32")),
    # The codes that are 0; no zero point is looked at.
    Case("WHERE", [Arg(np.array([0, 1, -5, 0, 9], np.int8), scale=0.037, zero_point=-5)], outputs=I64, name="codes"),
    Case("WHERE", [np.array(True)], outputs=I64, name="scalar", expected=[np.zeros((1, 0), np.int64)]),
    Case("WHERE", [np.zeros((2, 2), bool)], outputs=I64, name="nothing"),
    Case("UNIQUE", [ints(9, low=0, high=4)], {"idx_out_type": "int32"}, [Out("int32"), Out("int32")]),
    Case("UNIQUE", [np.float32([2, 1, 2])], {"idx_out_type": "int64"}, [Out(), Out("int64")], name="float-int64"),
    Case("NON_MAX_SUPPRESSION_V4", [CORNERS, SCORES, const(8, "int32"), *THRESHOLDS], outputs=CHOSEN),
    Case("NON_MAX_SUPPRESSION_V4", [CORNERS, SCORES, np.int32(3), *THRESHOLDS], outputs=CHOSEN, name="computed-size"),
    *(
        Case(
            f"NON_MAX_SUPPRESSION_{version}",
            [np.float32(best > SCORES)[:, None] * CORNERS, SCORES, const(12, "int32"), *THRESHOLDS, *sigma],
            outputs=outputs,
            name=f"without-area-above-{best}",
        )
        for version, sigma, outputs in (("V4", [], CHOSEN), ("V5", [const(np.float32(0.5))], SOFTLY_CHOSEN))
        for best in (0.9, 0.5)
    ),
    Case(
        "NON_MAX_SUPPRESSION_V5",
        [CORNERS, SCORES, const(8, "int32"), const(np.float32(1)), const(np.float32(0.1)), const(np.float32(0.5))],
        outputs=SOFTLY_CHOSEN,
    ),
    *(
        Case(
            "NON_MAX_SUPPRESSION_V5",
            [CORNERS, SCORES, const(size, "int32"), *(const(np.float32(v)) for v in (0.3, score, 0.5))],
            outputs=SOFTLY_CHOSEN,
            name=f"drops-{size}-above-{score}",
        )
        for size, score in ((12, 0.0), (4, 0.0), (12, 0.4), (12, 2.0))
    ),
]
