"""Activations that are operators of their own."""

import numpy as np

from emit.case import Case, Limitation, Out, codes, const, rand

X = rand(2, 3, 4, low=-8, high=8)
SIMPLE = ("ELU", "HARD_SWISH", "LOGISTIC", "LOG_SOFTMAX", "RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "TANH")
ONE_SLOPE = Limitation("the XNNPACK of tflite-runtime 2.14 takes a single slope for one of each channel")
INT8 = codes(2, 3, 4, zero_point=10)
HALVES = np.array([-2, -0.5, 0, 1, 4], np.float16)

CASES = [
    *(
        Case("SOFTMAX", [rand(*shape)], {"beta": beta}, name=name)
        for name, shape, beta in (
            ("six-axes", (2, 1, 3, 1, 2, 4), 0.5),
            ("six-axes-empty", (2, 1, 0, 1, 2, 4), 1.0),
            ("six-axes-one-empty", (1, 2, 0, 1, 2, 4), 1.0),
        )
    ),
    # Of a scalar 2.14 reads memory that is not its own: now and then it gives anything.
    Case("LOG_SOFTMAX", [rand()], name="number", expected=[np.array(0, np.float32)]),
    *(Case(op, [X]) for op in SIMPLE),
    Case("GELU", [X], {"approximate": True}, name="approximate"),
    Case("GELU", [X], {"approximate": False}, name="exact"),
    Case("LEAKY_RELU", [X], {"alpha": 0.2}),
    Case("LEAKY_RELU", [X], {"alpha": -1.5}, name="negative-slope"),
    Case("PRELU", [rand(1, 3, 5, 4), const(rand(1, 1, 4, seed=1))], name="shared"),
    Case("PRELU", [rand(2, 3, 5, 4), const(rand(3, 5, 4, seed=1))], name="everywhere"),
    Case("PRELU", [rand(2, 3, 4), const(rand(1, 1, 1, seed=1))], name="one", limitation=ONE_SLOPE),
    Case("PRELU", [rand(2, 3, 4), const(rand(2, 1, 4, seed=1))], name="per-sample"),
    Case("PRELU", [rand(2, 3, 4), rand(3, 1, seed=1)], name="computed"),
    Case("SOFTMAX", [X], {"beta": 1.0}),
    Case("SOFTMAX", [X], {"beta": 0.3}, name="beta"),
    Case("SOFTMAX", [rand(5)], {"beta": 1.0}, name="vector"),
    Case("SOFTMAX", [INT8], {"beta": 1.0}, [Out("int8", 1 / 256, -128)], name="int8", version=2),
    Case("LOG_SOFTMAX", [INT8], outputs=[Out("int8", 16 / 256, 127)], name="int8", version=2),
    Case("LOGISTIC", [INT8], outputs=[Out("int8", 1 / 256, -128)], name="int8", version=2),
    Case("TANH", [INT8], outputs=[Out("int8", 1 / 128, 0)], name="int8", version=2),
    Case("ELU", [INT8], outputs=[Out("int8", 0.04, -100)], name="int8"),
    Case("LEAKY_RELU", [INT8], {"alpha": 0.1}, [Out("int8", 0.03, -60)], name="int8", version=2),
    Case("HARD_SWISH", [INT8], outputs=[Out("int8", 0.03, -100)], name="int8"),
    Case("RELU6", [INT8], outputs=[Out("int8", 6 / 255, -128)], name="int8", version=2),
    Case("TANH", [codes(99, dtype="int16", scale=1e-4)], outputs=[Out("int16", 2**-15)], name="int16", version=3),
    Case("LOGISTIC", [codes(99, dtype="int16", scale=1e-4)], outputs=[Out("int16", 2**-15)], name="int16", version=3),
    *(
        Case(op, [codes(999, dtype="int16", scale=2.0**e)], {}, [Out("int16", 2**-15)], f"int16{e}", 3)
        for op in ("TANH", "LOGISTIC")
        for e in (-10, -11, -12, -13)
    ),
    Case("SOFTMAX", [codes(0, 5, dtype="int16", scale=3e-4)], {"beta": 1.0}, [Out("int16", 2**-15)], "int16-empty", 3),
    # What TensorFlow 2.21 gives; 2.14 has no kernels of float16.
    Case(
        "TANH", [HALVES], {}, [Out("float16")], "float16", expected=[np.float16([-0.964, -0.4622, 0, 0.7617, 0.9995])]
    ),
    Case(
        "LOGISTIC",
        [HALVES],
        {},
        [Out("float16")],
        "float16",
        expected=[np.float16([0.1192, 0.3774, 0.5, 0.731, 0.982])],
    ),
    *(
        Case("SOFTMAX", [codes(2, 30, dtype="int16", scale=s)], {"beta": b}, [Out("int16", 2**-15)], f"int16-{b}", 3)
        for s, b in ((3e-4, 1.0), (6e-4, 0.5), (2e-4, 2.0), (3.5e-5, 2.5))
    ),
]
