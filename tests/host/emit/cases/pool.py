"""Pooling."""

from emit.case import Case, Out, codes, rand

IMAGE = rand(1, 7, 9, 3)
WINDOW = {"padding": "VALID", "stride_h": 2, "stride_w": 3, "filter_height": 3, "filter_width": 2}
SAME = {**WINDOW, "padding": "SAME"}
RELU = {**SAME, "fused_activation_function": "RELU"}

CASES = [
    *(
        Case(op, [IMAGE], options, name=options["padding"].lower())
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
        for options in (WINDOW, SAME)
    ),
    *(
        Case(op, [IMAGE], {**SAME, "fused_activation_function": "RELU_N1_TO_1"}, name="fused")
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D")
    ),
    *(
        Case(
            op,
            [codes(1, 7, 9, 3, dtype=dtype, scale=0.1, zero_point=zero_point)],
            SAME,
            [Out(dtype, 0.1, zero_point)],
            name=dtype,
            version=version,
        )
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        for dtype, zero_point, version in (("int8", -3, 2), ("uint8", 128, 1), ("int16", 0, 3))
    ),
    *(
        Case(op, [codes(1, 7, 9, 3, scale=0.1)], RELU, [Out("int8", 0.04, 9)], name="codes-of-another-scale", version=2)
        for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    ),
]
