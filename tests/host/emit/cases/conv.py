"""Convolutions."""

import numpy as np

from emit.case import Arg, Case, Limitation, Out, codes, const, fixed, ints, rand

CONV = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
IMAGE = rand(1, 8, 9, 4)
DILATED = {**CONV, "stride_h": 2, "stride_w": 3, "dilation_h_factor": 3, "dilation_w_factor": 2}
VALID = {"padding": "VALID"}
DEPTHWISE = {**CONV, "depth_multiplier": 2}
TRANSPOSED = {"padding": "SAME", "stride_h": 2, "stride_w": 3}
CONV_3D = {
    **CONV,
    "stride_d": 2,
    "dilation_d_factor": 1,
}
VOLUME = rand(1, 5, 6, 7, 2)


def filter_codes(*shape: int, axis: int, channels: int) -> Arg:
    array = ints(*shape, low=-127, high=128, dtype="int8")
    return fixed(Arg(array, scale=[0.01 + 0.001 * i for i in range(channels)], zero_point=[0] * channels, axis=axis))


def transposed(*extents: int, **options: object) -> Case:
    """A TRANSPOSE_CONV of a 3x4 image to these extents."""
    options = {**TRANSPOSED, **options}
    inputs = [const([1, *extents, 5], "int32"), const(rand(5, 3, 4, 2, seed=1)), rand(1, 3, 4, 2)]
    return Case("TRANSPOSE_CONV", inputs, options, name=f"{options['padding']}-{extents[0]}x{extents[1]}")


CASES = [
    Case("CONV_2D", [IMAGE, const(rand(6, 3, 3, 4, seed=1)), const(rand(6, seed=2))], CONV, name="same"),
    Case(
        "CONV_2D",
        [IMAGE, const(rand(6, 3, 2, 4, seed=1)), const(rand(6, seed=2))],
        {**CONV, "padding": "VALID", "stride_h": 2, "stride_w": 3, "fused_activation_function": "RELU6"},
        name="valid-strides-relu6",
    ),
    Case(
        "CONV_2D",
        [
            codes(1, 8, 9, 4, scale=0.02, zero_point=3),
            fixed(Arg(ints(6, 3, 3, 4, low=-127, high=128, dtype="int8"), scale=[0.01] * 6, zero_point=[0] * 6)),
            fixed(Arg(ints(6, low=-500, high=500), scale=[0.0002] * 6, zero_point=[0] * 6)),
        ],
        CONV,
        [Out("int8", 0.05, -4)],
        name="int8-per-channel",
        version=3,
    ),
    Case("CONV_2D", [IMAGE, const(rand(6, 3, 2, 4, seed=1)), const(rand(6, seed=2))], DILATED, name="stride-dilation"),
    Case(
        "CONV_2D",
        [rand(1, 12, 14, 4), const(rand(6, 3, 2, 4, seed=1)), const(rand(6, seed=2))],
        {**DILATED, **VALID, "fused_activation_function": "RELU"},
        name="stride-dilation-valid-relu",
    ),
    Case("CONV_2D", [IMAGE, const(rand(6, 3, 3, 2, seed=1)), const(rand(6, seed=2))], CONV, name="groups", version=6),
    Case("CONV_2D", [IMAGE, rand(6, 3, 2, 4, seed=1), const(rand(6, seed=2))], DILATED, name="run-time-filter"),
    Case(
        "CONV_2D",
        [IMAGE, filter_codes(6, 3, 3, 4, axis=0, channels=6), const(rand(6, seed=2))],
        CONV,
        name="hybrid-per-channel",
        version=5,
    ),
    Case(
        "CONV_2D",
        [
            codes(1, 8, 9, 4, dtype="int16", scale=0.0001),
            filter_codes(6, 3, 3, 4, axis=0, channels=6),
            fixed(
                Arg(
                    ints(6, low=-500, high=500, dtype="int64"),
                    scale=[0.0001 * (0.01 + 0.001 * i) for i in range(6)],
                    zero_point=[0] * 6,
                )
            ),
        ],
        CONV,
        [Out("int16", 0.001, 0)],
        name="int16x8",
        version=4,
    ),
    Case("DEPTHWISE_CONV_2D", [IMAGE, const(rand(1, 3, 2, 8, seed=1)), const(rand(8, seed=2))], DEPTHWISE),
    Case(
        "DEPTHWISE_CONV_2D",
        [IMAGE, const(rand(1, 3, 2, 8, seed=1)), const(rand(8, seed=2))],
        {**DEPTHWISE, **VALID, "stride_h": 2, "stride_w": 3},
        name="unequal-strides",
    ),
    Case(
        "DEPTHWISE_CONV_2D",
        [IMAGE, const(rand(1, 3, 2, 8, seed=1)), const(rand(8, seed=2))],
        {**DEPTHWISE, "stride_h": 2, "stride_w": 3},
        name="unequal-strides-same",
        limitation=Limitation("XNNPACK of tflite-runtime 2.14 is wrong here; the runtime's own kernels are not"),
    ),
    Case(
        "DEPTHWISE_CONV_2D",
        [IMAGE, const(rand(1, 3, 2, 8, seed=1)), const(rand(8, seed=2))],
        {**DILATED, "depth_multiplier": 2},
        name="stride-dilation",
        version=2,
    ),
    Case(
        "DEPTHWISE_CONV_2D",
        [IMAGE, rand(1, 3, 2, 8, seed=1), const(rand(8, seed=2))],
        DEPTHWISE,
        name="run-time-filter",
    ),
    Case(
        "DEPTHWISE_CONV_2D",
        [IMAGE, filter_codes(1, 3, 2, 8, axis=3, channels=8), const(rand(8, seed=2))],
        DEPTHWISE,
        name="hybrid",
        version=6,
    ),
    transposed(6, 12),
    transposed(5, 10),
    transposed(7, 13, padding="VALID"),
    transposed(8, 14, padding="VALID"),
    Case(
        "TRANSPOSE_CONV",
        [const([1, 6, 12, 5], "int32"), const(rand(5, 3, 4, 2, seed=1)), rand(1, 3, 4, 2), const(rand(5, seed=3))],
        {**TRANSPOSED, "fused_activation_function": "RELU"},
        name="bias-relu",
        version=4,
    ),
    Case(
        "TRANSPOSE_CONV",
        [const([1, 5, 10, 5], "int32"), rand(5, 3, 4, 2, seed=1), rand(1, 3, 4, 2)],
        TRANSPOSED,
        name="run-time-filter",
    ),
    Case(
        "TRANSPOSE_CONV",
        [np.array([1, 6, 11, 5], "int32"), const(rand(5, 3, 4, 2, seed=1)), rand(1, 3, 4, 2)],
        TRANSPOSED,
        name="shape-at-run-time",
    ),
    *(
        Case(
            "TRANSPOSE_CONV",
            [const([2, 6, 12, 5], "int32"), w, rand(2, 3, 4, 2, low=-1, high=5), const(rand(5, seed=3))],
            TRANSPOSED,
            name=f"hybrid-{kind}",
            version=5,
            newer=True,
        )
        for kind, w in (
            ("tensor", fixed(codes(5, 3, 4, 2, scale=0.02))),
            ("channels", filter_codes(5, 3, 4, 2, axis=0, channels=5)),
        )
    ),
    Case("CONV_3D", [VOLUME, const(rand(2, 3, 2, 2, 3, seed=1)), const(rand(3, seed=2))], CONV_3D),
    Case(
        "CONV_3D",
        [rand(1, 5, 5, 4, 1), const(rand(3, 3, 3, 1, 3, seed=1))],
        {**CONV_3D, **VALID, "stride_w": 3},
        name="one-channel-unequal-strides",
    ),
    Case("CONV_3D", [VOLUME, rand(2, 3, 2, 2, 3, seed=1)], {**CONV_3D, **VALID}, name="run-time-filter-no-bias"),
    Case(
        "CONV_3D_TRANSPOSE",
        [const([1, 10, 6, 7, 3], "int32"), const(rand(2, 3, 2, 3, 2, seed=1)), VOLUME, const(rand(3, seed=2))],
        CONV_3D,
    ),
    Case(
        "CONV_3D_TRANSPOSE",
        [const([1, 7, 6, 7, 3], "int32"), const(rand(3, 1, 2, 3, 2, seed=1)), rand(1, 3, 6, 7, 2)],
        {**CONV_3D, "stride_d": 3},
        name="depth-same",
        limitation=Limitation("the optimised kernel pads the depth's end by the height's padding; reference agrees"),
    ),
    Case(
        "CONV_3D_TRANSPOSE",
        [np.array([1, 9, 6, 7, 3], "int32"), const(rand(2, 3, 2, 3, 2, seed=1)), VOLUME],
        CONV_3D,
        name="shape-at-run-time",
    ),
]
