"""Arithmetic of two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from liteback.numerics.fixed_point import (
    DOUBLE,
    ROUNDINGS,
    SINGLE,
    Multiplier,
    multiply,
    quantize_multiplier,
    rounding_divide_by_pot,
)
from liteback.numerics.gemmlowp import reciprocal
from liteback.numerics.kernels.common import Codes, centred, requantize, to_codes
from liteback.numerics.operator import Operand, Operator, exact

XNNPACK = "xnnpack"


@exact("ADD", variants=(DOUBLE, SINGLE, XNNPACK))
def add(op: Operator, a: Codes, b: Codes) -> Any:
    """Codes of a sum: both inputs are brought to one fine scale, added, and scaled again.

    Source: AddElementwise (tensorflow/lite/kernels/internal/reference/integer_ops/add.h), add.cc (v2.14.0).
    """
    return _sum(op, a, b, sign=1)


@exact("SUB", variants=(DOUBLE, SINGLE, XNNPACK))
def sub(op: Operator, a: Codes, b: Codes) -> Any:
    """As `add`, with the second multiplier negated.

    Source: sub.cc (PrepareGeneralSubOp, v2.14.0).
    """
    return _sum(op, a, b, sign=-1)


def _sum(op: Operator, a: Codes, b: Codes, sign: int) -> Any:
    if op.variant == XNNPACK:
        return _sum_xnnpack(op, a, b, sign)
    if op.options.get("pot_scale_int16") and _powers_of_two(op):
        return _sum_of_powers_of_two(op, a, b, sign)
    left, right, shift = op.input(0), op.input(1), 15 if op.out.dtype == "int16" else 20
    twice = 2.0 * float(max(left.scale, right.scale))
    fine = [
        multiply(centred(codes, operand) * (1 << shift), Multiplier.of(s * float(operand.scale) / twice), op.variant)
        for codes, operand, s in ((a, left, 1), (b, right, sign))
    ]
    return requantize(op, fine[0] + fine[1], Multiplier.of(twice / (float(op.out.scale) * (1 << shift))))


def _sum_xnnpack(op: Operator, a: Codes, b: Codes, sign: int) -> Any:
    """One fixed-point scale for both, of 20 bits above the larger ratio's exponent.

    Source: xnn_init_qs8_add_minmax_scalar_params (XNNPACK src/microparams-init.c).
    """
    left, right = op.input(0), op.input(1)
    ratios = [np.float32(left.scale / op.out.scale), np.float32(right.scale / op.out.scale)]
    exponent = int(np.frexp(max(ratios))[1]) - 1
    shift = 20 - exponent
    m = [int(np.rint(np.ldexp(float(r), shift))) for r in ratios]
    total = centred(a, left) * m[0] + centred(b, right) * (sign * m[1])
    return to_codes(op, tf.bitwise.right_shift(total + (1 << (shift - 1)), shift))


def _powers_of_two(op: Operator) -> bool:
    operands = (op.input(0), op.input(1), op.out)
    return op.out.dtype == "int16" and all(np.frexp(float(o.scale))[0] == 0.5 for o in operands)


def _log2(operand: Operand) -> int:
    return int(np.frexp(float(operand.scale))[1]) - 1


def _sum_of_powers_of_two(op: Operator, a: Codes, b: Codes, sign: int) -> Any:
    """The input of the finer scale is brought to the result's, which is the other's too.

    Source: PrepareInt16SubOpPOT (sub.cc), Add of int16 (reference/add.h) (v2.14.0).
    """
    fine = [
        rounding_divide_by_pot(tf.cast(codes, tf.int32), _log2(op.out) - _log2(operand))
        for codes, operand in ((a, op.input(0)), (b, op.input(1)))
    ]
    total = tf.clip_by_value(fine[0] + sign * fine[1], *op.out.range)
    return to_codes(op, total)


@exact("MUL", variants=ROUNDINGS)
def mul(op: Operator, a: Codes, b: Codes) -> Any:
    """Codes of a product.

    Source: MulElementwise (tensorflow/lite/kernels/internal/reference/integer_ops/mul.h), mul.cc: the multiplier is
    found in float64 from a float32 product (v2.14.0).
    """
    left, right = op.input(0), op.input(1)
    scale = np.float32(left.scale * right.scale)
    by = Multiplier.of(np.float64(np.float32(scale / op.out.scale)), scale / op.out.scale)
    return requantize(op, centred(a, left) * centred(b, right), by)


@exact("DIV")
def div(op: Operator, a: Codes, b: Codes) -> Any:
    """Codes of a quotient of 8-bit codes, by a table of all pairs.

    Source: DivQuantized (tensorflow/lite/kernels/internal/reference/div.h), div.cc (v2.14.0).
    """
    if op.input(0).dtype == "int16":
        raise NotImplementedError("no exact kernel for DIV/int16")
    low = op.input(0).range[0]
    above, below = (tf.cast(codes, tf.int32) - low for codes in (a, b))
    return tf.gather(_quotients(op), above * 256 + below)


def _quotients(op: Operator) -> NDArray[Any]:
    """(256 * 256,): each code by each. A quotient by 0 is not defined; it is taken as one by 1 here."""
    left, right = op.input(0), op.input(1)
    every = np.arange(left.range[0], left.range[1] + 1)
    above, below = np.meshgrid(every - left.zero_point, every - right.zero_point, indexing="ij")
    above, below = np.where(below < 0, -above, above), np.maximum(np.abs(below), 1)
    bits = np.frexp(below)[1].astype(np.int64)  # below = (1 + x) * 2**(bits - 1)
    inverse = reciprocal((below << (32 - bits)) - (1 << 31))
    headroom = 31 - np.frexp(np.abs(above) - (above < 0))[1].astype(np.int64)
    quotient = ((above << headroom) * inverse + (1 << 30)) >> 31
    m, shift = quantize_multiplier(float(left.scale / (right.scale * op.out.scale)))
    scaled = (quotient * m + (1 << 30)) >> 31
    down = headroom + bits - 1 - shift
    mask = np.where(down > 31, -1, (1 << np.minimum(down, 31)) - 1)
    up = (scaled & mask) > (mask >> 1) + (scaled < 0)  # rounded away from zero
    codes = (scaled >> (down & 31)) + up + op.out.zero_point  # of a shift beyond a word the processors take 5 bits
    return np.clip(codes, *op.clamp).astype(op.out.dtype).ravel()


@exact("FLOOR_DIV", "FLOOR_MOD")
def floored(op: Operator, a: Codes, b: Codes) -> Any:
    """The codes themselves divided, whatever their scales.

    Source: tensorflow/lite/kernels/floor_div.cc, floor_mod.cc (v2.14.0).
    """
    fn = tf.math.floordiv if op.op == "FLOOR_DIV" else tf.math.floormod
    return tf.cast(fn(tf.cast(a, tf.int32), tf.cast(b, tf.int32)), op.out.dtype)


@exact("SQUARED_DIFFERENCE", variants=(DOUBLE, SINGLE))
def squared_difference(op: Operator, a: Codes, b: Codes) -> Any:
    """Both inputs on one scale, 2**7 times as fine; the square of what is between them.

    Source: tensorflow/lite/kernels/squared_difference.cc (v2.14.0).
    """
    left, right = op.input(0), op.input(1)
    twice = 2.0 * float(max(left.scale, right.scale))
    fine = [
        multiply(centred(codes, operand) * 128, Multiplier.of(float(operand.scale) / twice), op.variant)
        for codes, operand in ((a, left), (b, right))
    ]
    difference = fine[0] - fine[1]
    by = Multiplier.of(twice * twice / ((1 << 14) * float(op.out.scale)))
    return requantize(op, difference * difference, by)
