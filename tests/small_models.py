"""The small models of the agent's tests, each for one behaviour."""

from __future__ import annotations

import numpy as np

from tflite_build import Op, Subgraph, Tensor, build_model, schema


def add() -> bytes:
    """#2 = #0 + #1, float32 (1, 4)."""
    return build_model(
        Subgraph(
            [Tensor([1, 4]), Tensor([1, 4]), Tensor([1, 4])],
            [Op("ADD", [0, 1], [2], schema.AddOptionsT())],
            inputs=[0, 1],
            outputs=[2],
        )
    )


def chain(length: int) -> bytes:
    """#0 -> neg -> #1 -> neg ... -> #length: many intermediate tensors."""
    return build_model(
        Subgraph(
            [Tensor([1, 8]) for _ in range(length + 1)],
            [Op("NEG", [i], [i + 1], schema.NegOptionsT()) for i in range(length)],
            inputs=[0],
            outputs=[length],
        )
    )


def fill() -> bytes:
    """#2 = ones of the shape that the input #0, int64 (2,), says: as large as one likes."""
    return build_model(
        Subgraph(
            [
                Tensor([2], "int64"),
                Tensor([], "float32", np.float32(1)),
                Tensor([1, 1], shape_signature=[-1, -1]),
            ],
            [Op("FILL", [0, 1], [2], schema.FillOptionsT())],
            inputs=[0],
            outputs=[2],
        )
    )


def endless() -> bytes:
    """While #0 >= 0, #0 = #0 * 0: never ends unless the input is negative."""
    zero = Tensor([1], "int32", np.zeros(1, np.int32))
    number = Tensor([1], "int32")
    loop = schema.WhileOptionsT(condSubgraphIndex=1, bodySubgraphIndex=2)
    return build_model(
        Subgraph([number, number], [Op("WHILE", [0], [1], loop)], inputs=[0], outputs=[1]),
        Subgraph(
            [number, zero, Tensor([1], "bool")],
            [Op("GREATER_EQUAL", [0, 1], [2], schema.GreaterEqualOptionsT())],
            inputs=[0],
            outputs=[2],
            name="condition",
        ),
        Subgraph(
            [number, zero, number],
            [Op("MUL", [0, 1], [2], schema.MulOptionsT())],
            inputs=[0],
            outputs=[2],
            name="body",
        ),
    )


def counter() -> bytes:
    """#3 = #0 + the sum of the inputs before it, kept in a resource variable that starts at zero."""
    handle = schema.VarHandleOptionsT(container="", sharedName="sum")
    return build_model(
        Subgraph(
            [Tensor([1]), Tensor([], "resource"), Tensor([1]), Tensor([1])],
            [
                Op("CALL_ONCE", [], [], schema.CallOnceOptionsT(initSubgraphIndex=1)),
                Op("VAR_HANDLE", [], [1], handle),
                Op("READ_VARIABLE", [1], [2], schema.ReadVariableOptionsT()),
                Op("ADD", [0, 2], [3], schema.AddOptionsT()),
                Op("ASSIGN_VARIABLE", [1, 3], [], schema.AssignVariableOptionsT()),
            ],
            inputs=[0],
            outputs=[3],
        ),
        Subgraph(
            [Tensor([], "resource"), Tensor([1], "float32", np.zeros(1, np.float32))],
            [
                Op("VAR_HANDLE", [], [0], handle),
                Op("ASSIGN_VARIABLE", [0, 1], [], schema.AssignVariableOptionsT()),
            ],
            inputs=[],
            outputs=[],
            name="init",
        ),
    )


FILTER = Op("SVDF", [0, 1, 2, -1, 3], [4], schema.SVDFOptionsT(rank=1), mutating=[False, False, False, False, True])
OF_FILTER = [  # its tensors
    Tensor([1, 1]),
    Tensor([1, 1], "float32", np.ones((1, 1), np.float32)),
    Tensor([1, 2], "float32", np.array([[10, 1]], np.float32)),
    Tensor([1, 2], variable=True),
    Tensor([1, 1]),
]


def average() -> bytes:
    """An SVDF filter of two taps: #4 = x(now) + 10 x(before), its memory in the variable tensor #3."""
    return build_model(Subgraph(OF_FILTER, [FILTER], inputs=[0], outputs=[4]))


def begun_average() -> bytes:
    """`average`, whose memory a RESHAPE of the constant #5 makes in each step: [0, 3], so #4 = x + 30."""
    memory, shape = np.array([[[0, 3]]], np.float32), np.array([1, 2], np.int32)
    tensors = [*OF_FILTER, Tensor([1, 1, 2], "float32", memory), Tensor([2], "int32", shape)]
    begin = Op("RESHAPE", [5, 6], [3], schema.ReshapeOptionsT(newShape=[1, 2]))
    return build_model(Subgraph(tensors, [begin, FILTER], inputs=[0], outputs=[4]))


def strings() -> bytes:
    """#2 = #0 reshaped from (2, 2) to (4,): strings."""
    return build_model(
        Subgraph(
            [
                Tensor([2, 2], "string"),
                Tensor([1], "int32", np.array([4], np.int32)),
                Tensor([4], "string"),
            ],
            [Op("RESHAPE", [0, 1], [2], schema.ReshapeOptionsT(newShape=[4]))],
            inputs=[0],
            outputs=[2],
        )
    )


def custom(name: str) -> bytes:
    """One custom operator, which no runtime knows."""
    return build_model(Subgraph([Tensor([1]), Tensor([1])], [Op(f"CUSTOM:{name}", [0], [1])], inputs=[0], outputs=[1]))
