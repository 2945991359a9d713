"""What codes stand for after an operator has moved them to a tensor of another scale.

Kernels that only move elements (SELECT, GATHER, RESHAPE) copy codes and look at no scale, and so do some that choose
among codes or average them. Where a file gives such an operator's input and its result different ones, as the converter
does for SELECT of int16, the device's real values change on the way, and the model's must do so too. So it is with the
zeros that some of these kernels put between what they move: they are codes, and may stand for another real number
than 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops

from liteback.emit.names import is_symbolic
from liteback.emit.weight import Weight
from liteback.ir import CODE_RANGE, Node, Tensor
from liteback.numerics.operator import MOVING

# What these take are a graph's inputs or variables, not elements of their result.
_PASSING = frozenset(
    {"IF", "STABLEHLO_CASE", "WHILE", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"}
)
_FILLING = frozenset({"MATRIX_DIAG", "SCATTER_ND"})  # lite/kernels/{matrix_diag,scatter_nd}.cc (v2.14.0)
# What chooses or averages codes, and looks at no scale either (lite/kernels/{maximum_minimum,pad,pooling,
# resize_bilinear}.cc, v2.14.0); of CONCATENATION that is the kernel of int16 alone (concatenation.cc).
_ON_CODES = frozenset({"AVERAGE_POOL_2D", "MAX_POOL_2D", "MAXIMUM", "MINIMUM", "PAD", "RESIZE_BILINEAR"})


def filled(value: Any, node: Node, out: Tensor, wraps: bool) -> Any:
    """The result of a node with the zeros that its kernel puts around the codes it moves: they are codes.

    wraps: whether codes that SCATTER_ND adds at one place have their type's range, beyond which they wrap (Scatter in
    kernels/internal/reference/reference_ops.h, v2.21.0).
    """
    if node.op not in _FILLING or not out.is_quantized or out.quantization is None:
        return value
    scale, zero_point = float(out.quantization.scale[0]), int(out.quantization.zero_point[0])
    if wraps and node.op == "SCATTER_ND" and out.dtype in CODE_RANGE:
        low, high = CODE_RANGE[out.dtype]
        turn, start = scale * (high - low + 1), scale * (low - 0.5)
        value = ops.subtract(value, ops.multiply(ops.floor(ops.divide(ops.subtract(value, start), turn)), turn))
    return ops.subtract(value, zero_point * scale) if zero_point else value


def moved(value: Any, node: Node, source: Tensor, out: Tensor) -> Any:
    """The real values of an input of `node` as those of its result: scale' * (x / scale + zero_point - zero_point').

    Where the kernel puts zeros, codes are counted from 0 on, and `filled` sets that right. WHERE asks for codes that
    are not 0: they are counted from 0 on.
    """
    if node.op == "WHERE" and source.is_quantized and source.quantization is not None:
        return value + np.multiply(*source.quantization.along(len(source.shape)), dtype=np.float32)
    moves = node.op in (MOVING | _ON_CODES) - _PASSING or (node.op, source.dtype) == ("CONCATENATION", "int16")
    if not (moves and source.is_quantized and out.is_quantized and source.dtype == out.dtype):
        return value
    old, new = source.quantization, out.quantization
    if old is None or new is None or old.per_channel or new.per_channel:
        return value
    if node.op in _FILLING:
        new = replace(new, zero_point=np.zeros_like(new.zero_point))
    if old.scale[0] == new.scale[0] and old.zero_point[0] == new.zero_point[0]:
        return value
    if isinstance(value, Weight):
        return replace(value, quantization=new)
    ratio = new.scale[0] / old.scale[0]
    offset = np.float32(old.zero_point[0] - new.zero_point[0]) * new.scale[0]
    if is_symbolic(value):
        return ops.add(ops.multiply(value, float(ratio)), float(offset))
    return np.asarray(value * ratio + offset, np.float32)
