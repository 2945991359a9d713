"""Resizing, and moving elements between space, depth and batch."""

import numpy as np

from emit.case import Case, Out, codes, const, ints, rand, varying

IMAGE = rand(1, 3, 4, 2)
MODES = {
    "legacy": {},
    "align-corners": {"align_corners": True},
    "half-pixel": {"half_pixel_centers": True},
}

BETWEEN = ("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")

CASES = [
    *(Case(op, [varying(IMAGE, 1, 2)], {"block_size": 1}, name="varying-of-1") for op in BETWEEN),
    *(
        Case(
            "RESIZE_BILINEAR",
            [ints(1, 3, 4, 2, low=-99, high=100, dtype="int8"), size],
            {"align_corners": False, "half_pixel_centers": half},
            [Out("int8")],
            name=f"int8-without-scale-{half}-{k}",
            version=3,
        )
        for half in (False, True)
        for k, size in enumerate((const([7, 5], "int32"), np.array([7, 5], np.int32)))
    ),
    *(
        Case(op, [IMAGE, const(size, "int32")], options, name=f"{mode}-{size[0]}x{size[1]}", version=3)
        for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for mode, options in MODES.items()
        for size in ([6, 8], [7, 5], [2, 1])
    ),
    *(
        Case(op, [IMAGE, ints(2, low=5, high=9)], options, name=f"{mode}-size-at-run-time", version=3)
        for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for mode, options in MODES.items()
    ),
    *(
        Case(
            op,
            [codes(1, 3, 4, 2, dtype=dtype, scale=0.1, zero_point=zero_point), const([5, 7], "int32")],
            {"half_pixel_centers": True},
            [Out(dtype, 0.1, zero_point)],
            name=dtype,
            version=4,
        )
        for op in ("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
        for dtype, zero_point in (("int8", 2), ("uint8", 128), ("int16", 0))
    ),
    Case("SPACE_TO_DEPTH", [rand(2, 4, 6, 3)], {"block_size": 2}),
    Case("SPACE_TO_DEPTH", [ints(1, 4, 4, 2)], {"block_size": 2}, [Out("int32")], name="int32"),
    Case("DEPTH_TO_SPACE", [rand(2, 2, 3, 8)], {"block_size": 2}),
    Case("SPACE_TO_BATCH_ND", [rand(2, 4, 5, 3), const([2, 3], "int32"), const([[1, 1], [0, 1]], "int32")]),
    Case(
        "RESIZE_BILINEAR",
        [codes(1, 3, 4, 2, scale=0.1, zero_point=5), const([5, 7], "int32")],
        outputs=[Out("int8", 0.07, -9)],
        name="codes-of-another-scale",
        version=2,
    ),
    Case("SPACE_TO_BATCH_ND", [rand(2, 5, 3), const([2], "int32"), const([[0, 1]], "int32")], name="rank-3", version=3),
    Case("SPACE_TO_BATCH_ND", [rand(2, 4, 6, 3), const([2, 3], "int32"), ints(2, 2, high=1, low=0)], name="run-time"),
    Case(
        "SPACE_TO_BATCH_ND",
        [varying(rand(2, 4, 5, 3), 0), const([2, 3], "int32"), const([[1, 1], [0, 1]], "int32")],
        outputs=[Out(varies=[0])],
        name="batch-varies",
    ),
    Case(
        "BATCH_TO_SPACE_ND",
        [varying(rand(12, 2, 2, 3), 0), const([2, 3], "int32"), const([[1, 1], [0, 2]], "int32")],
        outputs=[Out(varies=[0])],
        name="batch-varies",
    ),
    Case("BATCH_TO_SPACE_ND", [rand(12, 2, 2, 3), const([2, 3], "int32"), const([[1, 1], [0, 2]], "int32")]),
    Case("BATCH_TO_SPACE_ND", [rand(4, 3, 3), const([2], "int32"), const([[1, 0]], "int32")], name="rank-3", version=3),
    Case("BATCH_TO_SPACE_ND", [rand(12, 2, 2, 3), const([2, 3], "int32"), ints(2, 2, high=1, low=0)], name="run-time"),
    Case(
        "SPACE_TO_BATCH_ND",
        [codes(1, 3, 3, 2, scale=0.1, zero_point=5), const([2, 2], "int32"), const([[1, 0], [0, 1]], "int32")],
        outputs=[Out("int8", 0.1, 5)],
        name="int8",
        version=2,
    ),
]
