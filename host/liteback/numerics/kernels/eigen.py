"""Functions of float32 as Eigen computes them, and every quotient is the nearest float32.

madd: how a product and a sum are rounded. The x86-64 wheels are built for SSE2 and fuse nothing; NEON's code does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from liteback.numerics.kernels.common import product32, quotient32, separate32

Madd = Callable[[Any, Any, Any], Any]
PACKET = 4  # float32 to a register of SSE or NEON


def tanh(x: Any, madd: Madd = separate32) -> Any:
    """A quotient of polynomials. Source: generic_fast_tanh_float (Eigen/src/Core/MathFunctionsImpl.h, July 2023)."""
    z = tf.clip_by_value(x, np.float32(-7.90531110763549805), np.float32(7.90531110763549805))
    square = product32(z, z)
    top = _polynomial(square, _TANH_ABOVE, madd)
    bottom = _polynomial(square, _TANH_BELOW, madd)
    return tf.where(tf.abs(x) < np.float32(0.0004), x, quotient32(product32(z, top), bottom))


_TANH_ABOVE = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_BELOW = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)


def sigmoid(x: Any, in_packets: Any = True, madd: Madd = separate32) -> Any:
    """e / (1 + e) with e = exp(x). in_packets: where the kernel computes it in packets; elsewhere the C library's exp.

    Source: scalar_logistic_op (Eigen/src/Core/functors/UnaryFunctors.h, July 2023).
    """
    power = tf.where(in_packets, exp(x, madd), tf.cast(tf.exp(tf.cast(x, tf.float64)), tf.float32))
    return tf.where(tf.math.is_inf(power), tf.ones_like(x), quotient32(power, power + np.float32(1)))


def exp(x: Any, madd: Madd = separate32) -> Any:
    """2**n exp(r) with x = n log(2) + r, exp(r) by a polynomial.

    Source: pexp_float (Eigen/src/Core/arch/Default/GenericPacketMathFunctions.h, July 2023).
    """
    z = tf.minimum(x, np.float32(88.723))
    n = tf.floor(madd(z, np.float32(1.44269504088896341), np.float32(0.5)))
    r = madd(n, np.float32(2.12194440e-4), madd(n, np.float32(-0.693359375), z))
    square = product32(r, r)
    even = _polynomial(
        square, (1.37449637986719608306884765625e-3, 4.166965186595916748046875e-2, 0.4999998807907104), madd
    )
    odd = _polynomial(square, (8.36894474923610687255859375e-3, 0.166665181517601), madd)
    value = madd(madd(odd, r, even), square, r + np.float32(1))
    scaled = tf.cast(tf.cast(value, tf.float64) * tf.pow(tf.constant(2.0, tf.float64), tf.cast(n, tf.float64)), x.dtype)
    return tf.where(x < np.float32(-104), tf.zeros_like(x), tf.maximum(scaled, x))


def packets(start: Any, length: int) -> Any:
    """Which elements of a vector are computed in packets: those between its first and last aligned address.

    start: where the vector begins, in elements after an aligned address; any shape. Returns: (..., length).
    """
    head = tf.math.floormod(-tf.convert_to_tensor(start), PACKET)[..., None]
    whole = head + tf.maximum(length - head, 0) // PACKET * PACKET
    place = tf.range(length)
    return (place >= head) & (place < whole)


def _polynomial(x: Any, coefficients: tuple[float, ...], madd: Madd) -> Any:
    """By Horner's rule, the highest power's coefficient first."""
    value = tf.fill(tf.shape(x), np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = madd(value, x, np.float32(coefficient))
    return value
