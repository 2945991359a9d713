"""Between codes and real values."""

import numpy as np

from emit.case import Arg, Case, Out, codes, rand

FAKE = {"min": -1.0, "max": 1.0, "num_bits": 8, "narrow_range": False}
CHANNELS = [0.05, 0.08, 0.03]

CASES = [
    Case("QUANTIZE", [rand(2, 3)], outputs=[Out("int8", 0.02, 3)], name="int8"),
    Case("QUANTIZE", [rand(2, 9) * 3], outputs=[Out("uint4", 0.2, 8)], name="uint4", version=2, newer=True),
    Case("QUANTIZE", [codes(2, 3)], outputs=[Out("uint8", 0.07, 100)], name="requantize", version=2),
    Case("QUANTIZE", [rand(2, 3)], outputs=[Out("int16", 1e-4)], name="int16", version=2),
    Case("DEQUANTIZE", [codes(2, 3, zero_point=7)], name="int8", version=2),
    Case("DEQUANTIZE", [codes(2, 3, dtype="int16", scale=1e-4)], name="int16", version=3),
    Case("DEQUANTIZE", [rand(2, 3).astype(np.float16)], name="float16", version=3),
    Case(
        "DEQUANTIZE", [Arg(codes(5, 3).array, scale=CHANNELS, zero_point=[3, 4, 5], axis=1)], name="channels", version=5
    ),
    Case("QUANTIZE", [codes(2, 9, dtype="int16", scale=2e-4)], outputs=[Out("int32", 0.5, 0)], name="int32", version=2),
    Case("FAKE_QUANT", [rand(2, 9)], FAKE),
    Case("FAKE_QUANT", [rand(2, 9)], {**FAKE, "num_bits": 4}, name="four-bits"),
]
