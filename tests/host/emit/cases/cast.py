"""Between types; the parts of a complex number."""

import numpy as np

from emit.case import Case, Out, codes, ints, rand

COMPLEX = (rand(2, 3) + 1j * rand(2, 3, seed=1)).astype(np.complex64)
ENDLESS = np.array([-1e10, -2.7, 7.9, 1e10], np.float32)


def cast(x, dtype, name=""):
    options = {"in_data_type": str(x.dtype), "out_data_type": dtype}
    return Case("CAST", [x], options, [Out(dtype)], name=name or f"{x.dtype}-{dtype}")


CASES = [
    *(cast(rand(9, low=-5, high=5), dtype) for dtype in ("int32", "int64", "int8", "bool", "complex64")),
    *(cast(ints(9), dtype) for dtype in ("float32", "int64", "int16", "bool")),
    *(cast(ints(9, low=0, high=9, dtype=dtype), "float32") for dtype in ("uint8", "int8", "int16", "int64", "bool")),
    *(
        Case("CAST", [ENDLESS], outputs=[Out(dtype)], name=f"beyond-{dtype}", expected=[np.array(ends, dtype)])
        for dtype, ends in (("uint8", [0, 0, 7, 255]), ("int16", [-32768, -2, 7, 32767]))
    ),
    Case(
        "CAST",
        [np.append(ENDLESS, np.nan).astype(np.float32)],
        outputs=[Out("int32")],
        name="beyond-int32",
        expected=[np.array([-(2**31), -2, 7, 2**31 - 1, 2**31 - 1], np.int32)],
    ),
    cast(COMPLEX, "float32"),
    Case("CAST", [codes(9, zero_point=5)], {"in_data_type": "int8", "out_data_type": "float32"}, name="codes"),
    Case("CAST", [codes(9, zero_point=5)], outputs=[Out("uint8")], name="codes-uint8"),
    Case("BITCAST", [rand(2, 3)], outputs=[Out("int32")], name="same-size"),
    Case("BITCAST", [rand(2, 3)], outputs=[Out("int16")], name="smaller"),
    Case("BITCAST", [ints(3, 2, dtype="int32")], outputs=[Out("int64")], name="larger"),
    *(Case(op, [COMPLEX]) for op in ("REAL", "IMAG", "COMPLEX_ABS")),
]
