"""Normalizations."""

import numpy as np

from emit.case import Case, Out, codes, rand

LRN = {"radius": 2, "bias": 1.0, "alpha": 0.5, "beta": 0.75}

CASES = [
    Case("L2_NORMALIZATION", [rand(2, 3, 4)]),
    Case("L2_NORMALIZATION", [np.zeros((2, 3), np.float32)], name="zeros"),
    Case("L2_NORMALIZATION", [codes(2, 8)], outputs=[Out("int8", 1 / 128, 0)], name="int8", version=2),
    Case("LOCAL_RESPONSE_NORMALIZATION", [rand(2, 3, 4, 9)], LRN),
    Case("LOCAL_RESPONSE_NORMALIZATION", [rand(1, 2, 2, 3)], {**LRN, "radius": 5, "beta": 0.5}, name="wide"),
]
