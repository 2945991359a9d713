"""Custom operators that the runtime itself has (register.cc)."""

import numpy as np
import tensorflow as tf
from keras import ops

from liteback.emit.ops.common import as_shape
from liteback.emit.registry import computes, emits


@computes("CUSTOM:AudioSpectrogram")
def audio_spectrogram(x, *, window_size, stride, magnitude_squared):
    """x (samples, channels) -> (channels, frames, bins): magnitudes of windows of sound, or their squares.

    Source: audio_spectrogram.cc, internal/spectrogram.cc (v2.14.0): a periodic Hann window, padded to a power of 2.
    """
    spectrum = tf.signal.stft(tf.transpose(x), window_size, stride)
    squares = tf.math.real(spectrum) ** 2 + tf.math.imag(spectrum) ** 2
    return squares if magnitude_squared else tf.sqrt(squares)


@computes("CUSTOM:Mfcc")
def mfcc(
    squares,
    sample_rate,
    *,
    upper_frequency_limit,
    lower_frequency_limit,
    filterbank_channel_count,
    dct_coefficient_count,
):
    """squares (channels, frames, bins) of magnitudes, and a rate () -> (channels, frames, dct_coefficient_count)."""
    return tf.raw_ops.Mfcc(
        spectrogram=squares,
        sample_rate=tf.reshape(sample_rate, ()),
        upper_frequency_limit=float(upper_frequency_limit),
        lower_frequency_limit=float(lower_frequency_limit),
        filterbank_channel_count=filterbank_channel_count,
        dct_coefficient_count=dct_coefficient_count,
    )


@emits("CUSTOM:aeq.hadamard_rotation")
def hadamard_rotation(x, *, hadamard_size):
    """x (..., k hadamard_size): each hadamard_size elements by Hadamard's matrix, divided by the root of its size.

    Source: hadamard_rotation.cc (LiteRT v2.1), for matrices and ranks of 3.
    """
    if hadamard_size < 1 or hadamard_size & (hadamard_size - 1) or hadamard_size > x.shape[-1]:
        raise NotImplementedError(
            f"it rotates {hadamard_size} elements of {x.shape[-1]}: a power of 2 that divides them"
        )
    matrix = np.ones((1, 1), np.float32)
    while len(matrix) < hadamard_size:
        matrix = np.kron(np.float32([[1, 1], [1, -1]]), matrix)
    extents = as_shape(x.shape)
    parts = ops.reshape(x, (*extents[:-1], extents[-1] // hadamard_size, hadamard_size))
    return ops.reshape(ops.matmul(parts, matrix / np.float32(np.sqrt(hadamard_size))), extents)
