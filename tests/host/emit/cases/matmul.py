"""Matrix products."""

from emit.case import Arg, Case, Out, codes, const, fixed, ints, rand, varying

FC = {"keep_num_dims": False}
WEIGHTS, BIAS = const(rand(4, 6, seed=1)), const(rand(4, seed=2))
MATRICES = rand(2, 1, 3, 5)


def weight_codes(*shape: int, dtype: str = "int8") -> Arg:
    return fixed(Arg(ints(*shape, low=-127, high=128, dtype=dtype, seed=3), scale=0.01, zero_point=0))


def four_bits(*shape: int) -> Arg:
    return fixed(Arg(ints(*shape, low=-7, high=8, dtype="int8", seed=3), scale=0.1, zero_point=0, dtype="int4"))


# Bytes of int8 codes; the kernel has no use for the zero point.
UNSIGNED = fixed(Arg(ints(4, 6, low=0, high=256, dtype="uint8", seed=3), scale=0.01, zero_point=90))

CASES = [
    Case("FULLY_CONNECTED", [rand(3, 6), WEIGHTS, BIAS], FC),
    Case("FULLY_CONNECTED", [varying(rand(3, 6), 0, 1), WEIGHTS, BIAS], FC, [Out(varies=[0])], name="all-vary"),
    Case("FULLY_CONNECTED", [rand(3, 6), WEIGHTS, None], FC, name="no-bias"),
    Case("FULLY_CONNECTED", [rand(3, 6), const(rand(1, 6)), const(0.5, "float32")], FC, name="one-unit"),
    Case("FULLY_CONNECTED", [rand(2, 3, 6), WEIGHTS, BIAS], {"keep_num_dims": True}, name="keep-num-dims"),
    Case("FULLY_CONNECTED", [rand(6), WEIGHTS, BIAS], {"keep_num_dims": True}, name="keep-one-dim"),
    Case("FULLY_CONNECTED", [rand(2, 3, 2), WEIGHTS, BIAS], FC, name="flattens"),
    Case("FULLY_CONNECTED", [rand(2, 4, 3), WEIGHTS, BIAS], FC, name="rows-across-samples"),
    Case("FULLY_CONNECTED", [rand(6, 3), WEIGHTS, BIAS], FC, name="rows-of-two-samples"),
    Case("FULLY_CONNECTED", [varying(rand(6, 3), 0), WEIGHTS, BIAS], FC, [Out(varies=[0])], name="two-samples-varying"),
    Case("FULLY_CONNECTED", [rand(6), WEIGHTS, BIAS], FC, name="rank-1"),
    Case("FULLY_CONNECTED", [rand(3, 6), rand(4, 6, seed=1), BIAS], FC, name="run-time-weights"),
    Case(
        "FULLY_CONNECTED",
        [rand(3, 6), WEIGHTS, BIAS],
        {**FC, "fused_activation_function": "RELU"},
        name="relu",
    ),
    Case(
        "FULLY_CONNECTED",
        [
            codes(3, 6, scale=0.02, zero_point=3),
            weight_codes(4, 6),
            fixed(Arg(ints(4, low=-500, high=500), scale=0.0002, zero_point=0)),
        ],
        FC,
        [Out("int8", 0.05, -4)],
        name="int8",
        version=4,
    ),
    # Hybrid kernels: float activations that are quantized at run time.
    Case("FULLY_CONNECTED", [rand(3, 6), weight_codes(4, 6), BIAS], FC, name="hybrid", version=3),
    Case("FULLY_CONNECTED", [rand(3, 6), UNSIGNED, BIAS], FC, name="hybrid-uint8", version=3),
    Case(
        "FULLY_CONNECTED",
        [rand(3, 6, low=-1, high=5), weight_codes(4, 6), BIAS],
        {**FC, "asymmetric_quantize_inputs": True},
        name="hybrid-asymmetric",
        version=9,
    ),
    # The kernel of 4 bits, and those that it is too narrow for.
    *(
        Case(
            "FULLY_CONNECTED",
            [rand(3, depth, low=-1, high=5), four_bits(units, depth), const(rand(units, seed=2))],
            {**FC, "asymmetric_quantize_inputs": True},
            name=f"hybrid-4-bits-asymmetric-{units}x{depth}",
            newer=True,
        )
        for units, depth in ((4, 32), (3, 32), (4, 30), (4, 33))
    ),
    Case("BATCH_MATMUL", [MATRICES, rand(1, 4, 5, 2, seed=1)], {}, name="broadcast"),
    Case("BATCH_MATMUL", [rand(2, 5, 3), rand(2, 4, 5, seed=1)], {"adj_x": True, "adj_y": True}, name="adjoint"),
    Case("BATCH_MATMUL", [rand(2, 3, 5), const(rand(1, 5, 2, seed=1))], {}, name="constant"),
    Case("BATCH_MATMUL", [rand(2, 3, 5), const(rand(2, 2, 5, seed=1))], {"adj_y": True}, name="constant-per-sample"),
    Case("BATCH_MATMUL", [const(rand(4, 5)), rand(2, 5, 3, seed=1)], {}, name="constant-first"),
    Case(
        "BATCH_MATMUL",
        [const(rand(1, 5, 4)), rand(2, 3, 5, seed=1)],
        {"adj_x": True, "adj_y": True},
        name="constant-first-adjoint",
    ),
    Case("BATCH_MATMUL", [const(rand(2, 4, 5)), rand(2, 5, 3, seed=1)], {}, name="constant-first-per-sample"),
    Case(
        "BATCH_MATMUL",
        [codes(2, 3, 5, scale=0.02, zero_point=3), codes(2, 5, 4, scale=0.03, zero_point=-7, seed=1)],
        {},
        [Out("int8", 0.1, 5)],
        name="int8",
        version=2,
    ),
    Case("BATCH_MATMUL", [rand(2, 3, 5), weight_codes(2, 5, 4)], {}, name="hybrid", version=2),
    Case(
        "BATCH_MATMUL",
        [rand(2, 3, 5, low=-1, high=4), weight_codes(2, 4, 5)],
        {"adj_y": True, "asymmetric_quantize_inputs": True},
        name="hybrid-asymmetric",
        version=3,
    ),
]
