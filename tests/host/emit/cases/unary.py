"""One tensor element by element."""

import numpy as np

from emit.case import Arg, Case, Out, codes, ints, rand

X = rand(2, 3, 4)
HALVES = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997], np.float32)
LOG_CODES = codes(8, scale=0.02, zero_point=16)
LOGARITHMS = np.array([-47, -74, -128, -128, -128, -128, -128, -128], np.int8)
OF_8 = Arg(np.array([-20, 0, 8, 127], np.int8), scale=0.03, zero_point=8)
LOG_INT16 = Arg(np.array([-32768, -7, 2000, 32767], np.int16), scale=4e-5, zero_point=0)
LOGARITHMS_INT16 = np.array([-32768, -30281, -8421, 902], np.int16)
ROOT_INT8 = Arg(np.arange(-100, 128, dtype=np.int8), scale=0.05, zero_point=-100)
ROOT_INT16 = Arg(np.arange(1 << 15).astype(np.int16), scale=3e-4, zero_point=0)

CASES = [
    *(Case(op, [X]) for op in ("ABS", "CEIL", "COS", "EXP", "FLOOR", "NEG", "SIGN", "SIN", "SQUARE", "ZEROS_LIKE")),
    *(Case(op, [abs(X) + 0.1]) for op in ("LOG", "RSQRT", "SQRT")),
    *(Case(op, [HALVES], name="halves") for op in ("ROUND", "CEIL", "FLOOR")),
    *(Case(op, [ints(2, 3)], outputs=[Out("int32")], name="int32") for op in ("ABS", "NEG", "SIGN", "ZEROS_LIKE")),
    *(Case(op, [ints(4, dtype="int64")], outputs=[Out("int64")], name="int64") for op in ("NEG", "ZEROS_LIKE")),
    Case("ABS", [codes(2, 3, 4, zero_point=9)], outputs=[Out("int8", 0.03, -100)], name="int8"),
    Case("EXP", [codes(2, 3, 4, scale=0.01)], outputs=[Out("int8", 0.02, -128)], name="int8", version=2),
    Case("EXP", [codes(99, dtype="int16", scale=1e-4)], outputs=[Out("int16", 1e-3)], name="int16", version=2),
    # A code of no positive number; tflite-runtime 2.14 has no such kernel.
    Case("LOG", [LOG_CODES], outputs=[Out("int8", 0.05, -55)], name="int8", version=2, expected=[LOGARITHMS]),
    # In steps so coarse that the logarithm of no float32 has the lowest code.
    Case("LOG", [LOG_CODES], outputs=[Out("int8", 1.0, 20)], name="int8-coarse", version=2, newer=True),
    Case("NEG", [OF_8], outputs=[Out("int8", 0.08, 5)], name="int8", expected=[np.array([20, 0, -8, -127], np.int8)]),
    Case("LOG", [LOG_INT16], outputs=[Out("int16", 3e-4, 0)], name="int16", version=2, expected=[LOGARITHMS_INT16]),
    # Of every code that is not below 0.
    Case("SQRT", [ROOT_INT8], outputs=[Out("int8", 0.02, -128)], name="int8", version=2, newer=True),
    Case("SQRT", [ROOT_INT16], outputs=[Out("int16", 1.2e-4)], name="int16", version=2, newer=True),
    Case("BUCKETIZE", [rand(9)], {"boundaries": [-1.0, 0.0, 0.5]}, [Out("int32")]),
    Case("BUCKETIZE", [ints(9)], {"boundaries": [-1.0, 0.0, 5.0]}, [Out("int32")], name="int32"),
    Case("RANK", [X], outputs=[Out("int32")]),
    Case("RANK", [rand()], outputs=[Out("int32")], name="scalar"),
]
