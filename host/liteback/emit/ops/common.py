"""What several families need."""

import numpy as np
from keras import ops


def dtype_of(value):
    """The schema's name of the type of a KerasTensor, a Weight or an array."""
    dtype = str(getattr(value, "value", value).dtype)
    return "string" if dtype == "object" else dtype


def axes_of(axis, rank):
    """Axes that may be negative, doubled, one or none -> sorted, from 0 on."""
    return tuple(sorted({int(a) % rank for a in np.ravel(axis)})) if rank else ()


def ranked(y, rank):
    """Tell Keras the rank of a result that TensorFlow only knows when it runs."""
    if y.shape.rank is None:
        y.set_shape([None] * rank)
    return y


def truncated_divide(x, y):
    """The integer quotient, rounded towards zero."""
    quotient = ops.floor_divide(ops.absolute(x), ops.absolute(y))
    return ops.multiply(quotient, ops.multiply(ops.sign(x), ops.sign(y)))
