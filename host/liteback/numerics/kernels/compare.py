"""Comparisons, the larger and the smaller of two."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from liteback.numerics.fixed_point import DOUBLE, SINGLE, Multiplier, multiply
from liteback.numerics.kernels.common import Codes, centred
from liteback.numerics.operator import Operator, exact

COMPARISONS = {
    "EQUAL": tf.equal,
    "NOT_EQUAL": tf.not_equal,
    "LESS": tf.less,
    "LESS_EQUAL": tf.less_equal,
    "GREATER": tf.greater,
    "GREATER_EQUAL": tf.greater_equal,
}


@exact(*COMPARISONS, variants=(DOUBLE, SINGLE))
def compare(op: Operator, a: Codes, b: Codes) -> Any:
    """The comparison of the two reals, each in steps of 1/256; of int16, the comparison of the codes.

    Source: ComparisonQuantized (tensorflow/lite/kernels/comparisons.cc), BroadcastComparison4DSlowWithScaling
    (internal/reference/comparisons.h) (v2.14.0).
    """
    if op.input(0).dtype == "int16":
        return COMPARISONS[op.op](a, b)
    scaled = [
        multiply(centred(codes, operand) * 256, Multiplier.of(float(operand.scale)), op.variant)
        for codes, operand in ((a, op.input(0)), (b, op.input(1)))
    ]
    return COMPARISONS[op.op](*scaled)


@exact("MAXIMUM", "MINIMUM")
def extreme(op: Operator, a: Codes, b: Codes) -> Any:
    """The larger or the smaller code; all three tensors have one scale.

    Source: tensorflow/lite/kernels/maximum_minimum.cc (v2.14.0).
    """
    fn = tf.maximum if op.op == "MAXIMUM" else tf.minimum
    return tf.cast(fn(tf.cast(a, tf.int32), tf.cast(b, tf.int32)), op.out.dtype)
