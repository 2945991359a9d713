"""Random numbers: TensorFlow's generator, which the runtime uses too (kernels/random_ops.cc, v2.14.0).

With a seed in the file, the first run draws what the device's first run draws. In later runs RANDOM_UNIFORM and
RANDOM_STANDARD_NORMAL differ: the device goes on where it stopped, TensorFlow leaves a gap between runs.
"""

import tensorflow as tf

from ..registry import computes


@computes("RANDOM_UNIFORM", pure=False)
def random_uniform(shape, *, seed, seed2, out):
    """Of [0, 1)."""
    return tf.raw_ops.RandomUniform(shape=shape, dtype=out.dtype, seed=seed, seed2=seed2)


@computes("RANDOM_STANDARD_NORMAL", pure=False)
def random_standard_normal(shape, *, seed, seed2, out):
    """Of mean 0 and variance 1."""
    return tf.raw_ops.RandomStandardNormal(shape=shape, dtype=out.dtype, seed=seed, seed2=seed2)


@computes("MULTINOMIAL", pure=False)
def multinomial(logits, num_samples, *, seed, seed2, out):
    """logits (N,C), the logarithms of unnormalized probabilities -> classes (N, num_samples)."""
    return tf.raw_ops.Multinomial(
        logits=logits, num_samples=num_samples, seed=seed, seed2=seed2, output_dtype=out.dtype
    )
