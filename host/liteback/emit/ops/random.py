"""Random numbers: TensorFlow's generator, which the runtime uses too (kernels/random_ops.cc, v2.14.0).

With a seed in the file, the first run draws what the device's first run draws. In later runs RANDOM_UNIFORM and
RANDOM_STANDARD_NORMAL differ: the device goes on where it stopped, TensorFlow leaves a gap between runs.
"""

import math

import numpy as np
import tensorflow as tf

from liteback.emit.registry import computes


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


@computes("STABLEHLO_RNG_BIT_GENERATOR")
def rng_bit_generator(state, *, algorithm, out):
    """The generator's next state, and random bits: of a counter, the state's second number, with its first as key.

    Source: rng_bit_generator.cc, rng_util.cc (v2.21.0): Threefry2x32 with 20 rounds, Philox4x32 with 10.
    """
    width = 2 if algorithm == "THREEFRY" else 4
    dtype = tf.as_dtype(out[1].dtype)
    words = math.prod(out[1].shape) * dtype.size // 4
    blocks = -(-words // width)
    counter = state[1] + tf.cast(tf.range(blocks, dtype=tf.int64), tf.uint64)
    low, high = _halves(counter)
    key = _halves(state[0])
    if algorithm == "THREEFRY":
        drawn = _threefry(key, low, high)
    else:
        more = _halves(state[2 if state.shape[0] == 3 else 0])
        drawn = _philox(key, [low, high, *(tf.fill(tf.shape(low), word) for word in more)])
    bits = tf.reshape(tf.stack(drawn, -1), (-1,))[:words]
    bits = tf.bitcast(tf.reshape(bits, (-1, 2)) if dtype.size == 8 else bits, dtype)
    return tf.concat([state[:1], state[1:2] + np.uint64(blocks), state[2:]], 0), tf.reshape(bits, out[1].shape)


def _halves(x):
    """The low and high 32 bits of uint64."""
    return tf.unstack(tf.bitcast(x, tf.uint32), axis=-1)


def _threefry(key, a, b):
    keys = (*key, key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    a, b = a + keys[0], b + keys[1]
    for turn in range(5):
        for by in ((13, 15, 26, 6), (17, 29, 16, 24))[turn % 2]:
            a = a + b
            b = tf.bitwise.bitwise_xor(a, _rotated(b, by))
        a, b = a + keys[(turn + 1) % 3], b + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return a, b


def _rotated(x, by):
    left, right = np.uint32(by), np.uint32(32 - by)
    return tf.bitwise.bitwise_or(tf.bitwise.left_shift(x, left), tf.bitwise.right_shift(x, right))


def _philox(key, words):
    left, right = key
    for _ in range(10):
        (low0, high0), (low1, high1) = (
            _halves(tf.cast(word, tf.uint64) * np.uint64(factor))
            for word, factor in ((words[0], 0xD2511F53), (words[2], 0xCD9E8D57))
        )
        words = [high1 ^ words[1] ^ left, low1, high0 ^ words[3] ^ right, low0]
        left, right = left + np.uint32(0x9E3779B9), right + np.uint32(0xBB67AE85)
    return words
