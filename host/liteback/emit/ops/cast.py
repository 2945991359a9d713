"""Between types; the parts of a complex number."""

import tensorflow as tf
from keras import ops

from liteback.emit.batch import UnknownBatch, holds_batch
from liteback.emit.ops.common import codes_of, real_of
from liteback.emit.registry import computes, emits
from liteback.ir import CODE_RANGE


@emits("CAST")
def cast(x, *, context, out):
    """x in the type of the result: to an integer towards zero, to bool x != 0, from complex the real part.

    Quantized tensors are cast as the codes they are (kernels/cast.cc, v2.14.0). What is beyond uint8, int16 or int32
    becomes its end, and NaN the largest int32, as of v2.21.0; before, that was left to the processor, as it still is
    for other types and sources. (LiteRT 2.3 does so for all integers, and takes NaN for the largest of each.)
    """
    if holds_batch(x):
        if out.dtype not in ("int32", "int64"):
            raise UnknownBatch
        return x
    if context.sources[0].is_quantized:
        x = codes_of(x, context.sources[0])
    if out.dtype in ("uint8", "int16") and context.sources[0].dtype == "float32":
        x = ops.clip(x, *CODE_RANGE[out.dtype])
    y = ops.cast(x, out.dtype)
    if out.dtype == "int32" and context.sources[0].dtype == "float32":
        y = ops.where(ops.less(x, 2.0**31), y, 2**31 - 1)  # at the other end the processor's own result is right
    return real_of(y, out) if out.is_quantized else y


@computes("BITCAST")
def bitcast(x, *, out):
    """The same bytes as another type; the last axis makes up for a type of another size."""
    return tf.bitcast(x, out.dtype)


def _part(fn):
    def emitter(x, *, out):
        """complex -> float, the same shape."""
        return ops.cast(fn(x), out.dtype)  # Keras takes the part of a complex number to be complex

    return emitter


for _op, _fn in {"REAL": ops.real, "IMAG": ops.imag, "COMPLEX_ABS": ops.absolute}.items():
    emits(_op)(_part(_fn))
