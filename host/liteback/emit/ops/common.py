"""What several families need."""

import numpy as np
from keras import ops

from liteback.emit.names import is_symbolic


def dtype_of(value):
    """The schema's name of the type of a KerasTensor, a Weight or an array."""
    dtype = str(getattr(value, "value", value).dtype)
    return "string" if dtype == "object" else dtype


def axes_of(axis, rank):
    """Axes that may be negative, doubled, one or none -> sorted, from 0 on."""
    return tuple(sorted({int(a) % rank for a in np.ravel(axis)})) if rank else ()


def as_shape(extents):
    """A shape that ops.reshape takes: -1 for an extent that is not known."""
    return [-1 if d is None else d for d in extents]


def ranked(y, rank):
    """Tell Keras the rank of a result that TensorFlow only knows when it runs."""
    if y.shape.rank is None:
        y.set_shape([None] * rank)
    return y


def codes_of(x, tensor):
    """Real values as the codes of a quantized tensor, which they are whole steps of; float32."""
    scale, zero_point = tensor.quantization.along(len(x.shape))
    return ops.subtract(ops.round(ops.divide(x, scale)), -zero_point.astype(np.float32))


def real_of(codes, tensor):
    """What codes of a quantized tensor stand for."""
    scale, zero_point = tensor.quantization.along(len(codes.shape))
    return ops.multiply(ops.subtract(ops.cast(codes, "float32"), zero_point.astype(np.float32)), scale)


def numbers_of(context):
    """Refuse codes where the kernel computes with them as if they were numbers.

    Raises: NotImplementedError.
    """
    if context.numerics != "exact" and any(s is not None and s.is_quantized for s in context.sources):
        raise NotImplementedError("its kernel takes codes for numbers, whatever their scale")


def add(x, y):
    """x + y. Where one axis alone of y is wider than 1, ops.add may take y for a bias of an axis that it is not on.

    It looks for the second or last axis of x with that extent, anew in each run (backend/tensorflow/numpy.py, 3.15).
    """
    if len(x.shape) < 2 or tuple(y.shape) == (1,) * len(y.shape) or sum((d or 0) > 1 for d in y.shape) > 1:
        return ops.add(x, y)
    leading = set(y.shape[:-1]) <= {1, None} and len(y.shape) <= len(x.shape)
    if leading and (y.shape[-1] or 0) > 1 and y.shape[-1] == x.shape[-1]:
        return ops.add(x, y)  # it is one, of the last axis
    return ops.subtract(x, ops.negative(y))


def typed(result, *operands):
    """A result of single known numbers, in their type: a saved model holds such without one."""
    single = all(not is_symbolic(v) and np.ndim(v) == 0 for v in operands)
    return ops.cast(result, str(operands[0].dtype)) if single and is_symbolic(result) else result


def truncated_divide(x, y):
    """The integer quotient, rounded towards zero."""
    quotient = ops.floor_divide(ops.absolute(x), ops.absolute(y))
    return ops.multiply(quotient, ops.multiply(ops.sign(x), ops.sign(y)))
