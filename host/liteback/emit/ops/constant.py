"""Constants that are results."""

import tensorflow as tf

from liteback.emit.registry import computes


@computes("CONSTANT")
def constant(x, value):
    """value, whatever x is. Not an operator of the schema: a graph may name a constant as its output."""
    return tf.identity(tf.convert_to_tensor(value))
