"""Between codes and real values, and from codes to codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from liteback.emit.registry import KERNELS
from liteback.numerics.fixed_point import DOUBLE, FLOAT32, HALF_UP, SINGLE, Multiplier
from liteback.numerics.kernels.common import Codes, centred, fused32, product32, requantize, round_half_away, to_codes
from liteback.numerics.kernels.neon import NEON, full_elements
from liteback.numerics.operator import Operand, Operator, exact

XNNPACK = "xnnpack"
# x / s in float32, in float64; x (1 / s), rounded to even or away from zero
QUOTIENT32, QUOTIENT64, PRODUCT, PRODUCT_AWAY = "quotient32", "quotient64", "product", "product-away"
ONE_SCALE, EACH_ROW = "one-scale", "each-row"
VECTORS = "vectors"  # PRODUCT of what fills vectors, QUOTIENT64 of the rest


@exact(
    "QUANTIZE",
    variants=(DOUBLE, HALF_UP, SINGLE, FLOAT32, XNNPACK, NEON),
    float32=(QUOTIENT32, QUOTIENT64, PRODUCT, PRODUCT_AWAY, VECTORS),
)
def quantize(op: Operator, x: Codes) -> Any:
    """Real values -> codes, or codes -> codes of another scale.

    Source: AffineQuantize (tensorflow/lite/kernels/internal/reference/quantize.h), Requantize
    (reference/requantize.h), quantize.cc (v2.14.0).
    """
    source = op.input(0)
    if source.dtype == "float32":
        if op.out.per_channel:  # PerChannelQuantize in reference/quantize.h, in every kernel set
            zero_point = op.out.along(len(x.shape))[1]
            return tf.cast(_steps(x, op.out, QUOTIENT32) + zero_point, op.out.dtype)
        if op.variant == VECTORS:
            full = full_elements(op, x, lanes=8)
            return to_codes(op, tf.where(full, _steps(x, op.out, PRODUCT), _steps(x, op.out, QUOTIENT64)))
        return to_codes(op, _steps(x, op.out, op.variant))
    if op.variant == XNNPACK and op.out.dtype == source.dtype:
        return _convert_xnnpack(op, x)
    by = Multiplier.of(float(source.scale) / float(op.out.scale), source.scale / op.out.scale)
    rounding = op.variant
    if op.variant in (NEON, XNNPACK):  # XNNPACK leaves another type to the kernels of its runtime
        rounding = DOUBLE if source.dtype == "int16" else full_elements(op, x, lanes=16)
    codes = requantize(op, centred(x, source), by, rounding)
    return to_codes(op, tf.cast(codes, tf.int64)) if op.out.dtype == "int32" else codes


def _steps(x: Any, out: Operand, variant: str) -> Any:
    """round(x / s), clipped: halves away from zero, or of a product to even; NaN is 0.

    The quotient is meant as a float32 one. TensorFlow and XLA replace a division by a constant with a product, which in
    float32 is another number; in float64 it is within 2**-52, and no quotient of two float32 is that near to where the
    rounding to float32 changes (2**-49).
    """
    scale, zero_point = out.along(len(x.shape))
    if variant in (PRODUCT, PRODUCT_AWAY):
        product = product32(x, np.float32(1) / scale)
        steps = tf.round(product) if variant == PRODUCT else round_half_away(product)
    else:
        ratio = tf.cast(x, tf.float64) / scale.astype(np.float64)
        steps = round_half_away(ratio if variant == QUOTIENT64 else tf.cast(ratio, tf.float32))
    steps = tf.where(tf.math.is_nan(steps), tf.zeros_like(steps), steps)
    low, high = (np.asarray(edge - zero_point, np.float64) for edge in out.range)
    return tf.cast(tf.clip_by_value(tf.cast(steps, tf.float64), low, high), tf.int64)


def _convert_xnnpack(op: Operator, x: Codes) -> Any:
    """(code - z) m / 256 with m = round(256 r), halves up.

    Source: xnn_init_qs8_cvt_scalar_params, xnn_qs8_vcvt_ukernel__scalar (XNNPACK src/microparams-init.c).
    """
    m = int(np.rint(np.float32(256) * (op.input(0).scale / op.out.scale)))
    return to_codes(op, tf.bitwise.right_shift(centred(x, op.input(0)) * m + 128, 8))


PLAIN, BIAS = "plain", "bias"


@exact("DEQUANTIZE", variants=(PLAIN, BIAS, NEON))
def dequantize(op: Operator, x: Codes) -> Any:
    """scale * (code - zero_point), in float32; or, eight at a time, scale * code - scale * zero_point (NEON: fused).

    Source: Dequantize (tensorflow/lite/kernels/internal/reference/dequantize.h, v2.14.0).
    """
    source = op.input(0)
    scale, zero_point = source.along(len(x.shape))
    plain = tf.cast(tf.cast(x, tf.int32) - zero_point.astype(np.int32), tf.float32) * scale
    if op.variant == PLAIN or source.per_channel or source.dtype == "int16":
        return plain
    bias = np.float32(-source.zero_point) * source.scale
    moved = fused32(x, source.scale, bias) if op.variant == NEON else product32(x, source.scale) + bias
    return tf.where(full_elements(op, x, lanes=8), moved, plain)


@exact("CAST")
def cast(op: Operator, x: Codes) -> Any:
    """The codes themselves in another type.

    Source: tensorflow/lite/kernels/cast.cc (v2.14.0).
    """
    return tf.cast(x, op.out.dtype)


@exact("CUSTOM:TFLite_Detection_PostProcess")
def detection_post_process(op: Operator, *codes: Codes) -> Any:
    """The kernel turns its inputs into real values and computes with those.

    Source: tensorflow/lite/kernels/detection_postprocess.cc (v2.14.0).
    """
    emitter = KERNELS[op.op]
    reals = [_real(op.input(i), c) for i, c in enumerate(codes)]
    return emitter.fn(*reals, **emitter.bind_options(dict(op.options)))


def _real(source: Operand, codes: Codes) -> Any:
    return (
        tf.cast(centred(codes, source), tf.float32) * source.scale if source.quantized else tf.convert_to_tensor(codes)
    )


@exact("EMBEDDING_LOOKUP", variants=(ONE_SCALE, EACH_ROW))
def embedding_lookup(op: Operator, ids: Codes, table: Codes) -> Any:
    """Rows of the table (rows, ...): scale * code; the codes themselves, where the result has their type.

    Kernels that know one scale for the whole table have 0 for it where the file has more.
    Source: EvalHybrid, EvalSimple (tensorflow/lite/kernels/embedding_lookup.cc, v2.14.0); EvalHybrid, EvalBlockwise
    (tflite/kernels/embedding_lookup.cc of LiteRT).
    """
    rows, source = tf.gather(table, ids), op.input(1)
    if op.out.dtype == source.dtype:
        return rows
    scales = np.zeros(1, np.float32) if source.per_channel and op.variant == ONE_SCALE else source.spread_scales
    if scales.shape[0] > 1:
        scales = tf.gather(scales, ids)
    return tf.cast(tf.bitcast(rows, tf.int8), tf.float32) * scales  # uint8 codes too, as int8
