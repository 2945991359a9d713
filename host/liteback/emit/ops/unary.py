"""One tensor element by element."""

import numpy as np
from keras import ops

from liteback.emit.registry import emits
from liteback.emit.table import looked_up

LEAST = float(np.finfo(np.float32).min)

for _op, _fn in {
    "ABS": ops.absolute,
    "CEIL": ops.ceil,
    "COS": ops.cos,
    "FLOOR": ops.floor,
    "LOGICAL_NOT": ops.logical_not,
    "ROUND": ops.round,  # halves to even, as the kernel has it
    "SIGN": ops.sign,
    "SIN": ops.sin,
    "SQRT": ops.sqrt,
    "SQUARE": ops.square,
    "ZEROS_LIKE": ops.zeros_like,
}.items():
    emits(_op)(_fn)


@emits("NEG")
def neg(x, *, context, out):
    """-x; of codes the negative code, whatever their zero points (Negate in kernels/neg.cc, v2.21.0)."""
    source = context.sources[0].quantization
    if context.numerics != "fakequant" or source is None or out.quantization is None:
        return ops.negative(x)
    scale, zero_point = out.quantization.scale[0], out.quantization.zero_point[0] + source.zero_point[0]
    return ops.multiply(ops.subtract(ops.negative(ops.divide(x, source.scale[0])), float(zero_point)), float(scale))


def _tabled(op, fn):
    def emitter(x, *, context, out):
        """x of any shape -> the same shape; of int16 codes as the kernel's table has it."""
        return looked_up(op, x, context, out) or fn(x)

    return emitter


for _op, _fn in {"EXP": ops.exp, "RSQRT": ops.rsqrt}.items():
    emits(_op)(_tabled(_op, _fn))


@emits("LOG")
def log(x, *, context, out):
    """log(x); of a code that stands for no positive number the lowest code (elementwise.cc, v2.14.0)."""
    table = looked_up("LOG", x, context, out)
    if table is not None:
        return table
    if not context.sources[0].is_quantized:
        return ops.log(x)
    y = ops.log(ops.maximum(x, np.finfo(np.float32).tiny))
    return ops.where(ops.greater(x, 0), y, LEAST) if context.numerics == "fakequant" else y


@emits("BUCKETIZE")
def bucketize(x, *, boundaries):
    """How many boundaries are <= x: int32."""
    return ops.digitize(x, np.array(boundaries, np.float32))
