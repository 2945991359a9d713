"""Between codes and real values. In real values these do nothing; `fakequant` rounds their results to their grid."""

import tensorflow as tf
from keras import layers, ops

from liteback.emit.ops.common import dtype_of
from liteback.emit.registry import Layer, computes, emits


@emits("QUANTIZE", "DEQUANTIZE")
def identity(x):
    """x itself, as float32."""
    return Layer(layers.Identity, x) if dtype_of(x) == "float32" else ops.cast(x, "float32")


@computes("FAKE_QUANT")
def fake_quant(x, *, min, max, num_bits, narrow_range):
    """x on the grid of 2^num_bits steps over [min, max], moved so that 0 is on it (Keras moves it differently)."""
    return tf.quantization.fake_quant_with_min_max_args(x, min, max, num_bits, bool(narrow_range))
