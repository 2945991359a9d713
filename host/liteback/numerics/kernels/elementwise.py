"""Arithmetic of two tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..fixed_point import DOUBLE, ROUNDINGS, SINGLE, Multiplier, multiply
from ..operator import Operand, Operator, exact
from .common import Codes, centred, requantize, to_codes

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
    return op.out.dtype == "int16" and all(_log2(o) is not None and o.zero_point == 0 for o in operands)


def _log2(operand: Operand) -> int | None:
    fraction, exponent = np.frexp(float(operand.scale))
    return int(exponent) - 1 if fraction == 0.5 else None


def _sum_of_powers_of_two(op: Operator, a: Codes, b: Codes, sign: int) -> Any:
    """One input is shifted to the other's scale, which is the result's.

    Source: PrepareInt16SubOpPOT (sub.cc), Add of int16 (reference/add.h) (v2.14.0).
    """
    raise NotImplementedError("no exact kernel yet for int16 sums whose scales are powers of two")


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
