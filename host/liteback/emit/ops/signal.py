"""Spectra, and the audio front end of TensorFlow Lite for Microcontrollers: its Signal library.

Its operators are custom ones on integers; each is computed bit for bit as its reference kernel does, in int64.
Elements that a kernel leaves unwritten are zeros here. Source: tensorflow/tflite-micro, signal/src, commit 8f6596d.
"""

import numpy as np
import tensorflow as tf

from liteback.emit.kiss_fft import irfft, outer, rfft
from liteback.emit.registry import computes

WORD = 0xFFFFFFFF


@computes("RFFT2D")
def rfft2d(x, fft_length):
    """x (..., H, W), fft_length (2,) -> (..., fft_length[0], fft_length[1] / 2 + 1) complex64."""
    return tf.signal.rfft2d(x, fft_length)


@computes("CUSTOM:SignalWindow")
def window(x, weights, *, shift):
    """x (..., n) int16 times the window (n,) int16, in steps of 2**shift."""
    frames = tf.reshape(_wide(x), [-1, weights.shape[0]])
    return tf.reshape(_int16(_right(frames * _wide(weights), shift)), tf.shape(x))


@computes("CUSTOM:SignalFftAutoScale")
def fft_auto_scale(x):
    """x (n,) int16 -> x * 2**bits, and bits: as many as the largest magnitude has to spare.

    The kernel keeps the maximum in an int16, which cannot hold 32768: -32768 makes it forget what came before, and
    after it, it takes numbers that rise below zero for larger ones.
    """
    wide, i = tf.cast(x, tf.int32), tf.range(tf.size(x))
    lowest = tf.reduce_max(tf.where(wide == -32768, i, -1))
    rising = (wide < 0) & (wide > tf.concat([[-32768], wide[:-1]], 0))
    start = tf.reduce_min(tf.where((i > lowest) & ~rising, i, tf.size(x)))
    largest = tf.reduce_max(tf.where((lowest < 0) | (i >= start), tf.abs(wide), 0))
    bits = tf.where(largest > 0, tf.maximum(15 - _bit_length(largest), 0), 0)
    return tf.cast(tf.bitwise.left_shift(wide, bits), tf.int16), bits


@computes("CUSTOM:SignalRfft")
def signal_rfft(x, *, fft_length):
    """x (..., n), zeros up to fft_length -> (..., fft_length + 2): real and imaginary parts in turn.

    Of integers it is the spectrum divided by fft_length.
    """
    x = tf.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, fft_length - x.shape[-1])])
    spectrum = tf.signal.rfft(x) if x.dtype.is_floating else rfft(x, fft_length)
    if x.dtype.is_floating:
        spectrum = tf.stack([tf.math.real(spectrum), tf.math.imag(spectrum)], -1)
    return tf.reshape(spectrum, [*outer(x), fft_length + 2])


@computes("CUSTOM:SignalIrfft")
def signal_irfft(x, *, fft_length):
    """x (..., fft_length + 2): real and imaginary parts in turn -> (..., fft_length)."""
    pairs = tf.reshape(x, [*outer(x), fft_length // 2 + 1, 2])
    if not x.dtype.is_floating:
        return irfft(pairs, fft_length)
    return tf.signal.irfft(tf.complex(pairs[..., 0], pairs[..., 1]), [fft_length])


@computes("CUSTOM:SignalEnergy")
def energy(x, *, start_index, end_index):
    """x (2 n,) int16: real and imaginary parts in turn -> |x|^2 (n,) uint32 at [start_index, end_index)."""
    squares = tf.reduce_sum(tf.reshape(_wide(x), [-1, 2]) ** 2, -1)
    i = tf.range(tf.size(squares))
    return tf.cast(tf.where((i >= start_index) & (i < end_index), squares, 0), tf.uint32)


@computes("CUSTOM:SignalFilterBank")
def filter_bank(x, weights, unweights, frequency_starts, weight_starts, widths, *, num_channels):
    """x (bins,) uint32 -> (num_channels,) uint64: triangular filters.

    The bins of band i fall in channel i - 1 by their weights, and in channel i by their unweights.
    """
    starts, more, widths = (tf.cast(v, tf.int32) for v in (frequency_starts, weight_starts, widths))
    bins, taps = (tf.ragged.range(s, s + widths) for s in (starts, more))
    power = tf.gather(_wide(x), bins.flat_values)
    falling, rising = (
        tf.math.unsorted_segment_sum(
            tf.gather(_wide(w), taps.flat_values) * power, bins.value_rowids(), num_channels + 1
        )
        for w in (weights, unweights)
    )
    return tf.cast(falling[1:] + rising[:-1], tf.uint64)


@computes("CUSTOM:SignalFilterBankSquareRoot")
def filter_bank_square_root(x, scale_bits):
    """sqrt(x) / 2**scale_bits. x uint64 -> uint32.

    The root is rounded to nearest, but not to 2**16 where x has no more than 32 bits.
    """
    root = tf.cast(tf.minimum(tf.sqrt(tf.cast(x, tf.float64)), float(WORD)), tf.uint64)
    root = tf.where(root * root > x, root - 1, root)  # float64 rounded a square up
    most = tf.where(x > WORD, tf.constant(WORD, tf.uint64), tf.constant(0xFFFF, tf.uint64))
    rounded = tf.where((x - root * root > root) & (root < most), root + 1, root)
    return tf.cast(_right(_wide(rounded), scale_bits), tf.uint32)


@computes("CUSTOM:SignalFilterBankSpectralSubtraction", stateful=True)
def spectral_subtraction(
    x,
    noise,
    *,
    smoothing,
    one_minus_smoothing,
    alternate_smoothing,
    alternate_one_minus_smoothing,
    smoothing_bits,
    min_signal_remaining,
    spectral_subtraction_bits,
    clamping,
):
    """x (n,) uint32 less its moving average `noise`, and the average. Odd channels have the alternate smoothing.

    noise' = (x 2^smoothing_bits smoothing + noise one_minus_smoothing) / 2^spectral_subtraction_bits
    """
    odd = tf.range(tf.size(x)) % 2 == 1
    now = tf.cast(tf.where(odd, alternate_smoothing, smoothing), tf.int64)
    before = tf.cast(tf.where(odd, alternate_one_minus_smoothing, one_minus_smoothing), tf.int64)
    signal, noise = _word(_left(_wide(x), smoothing_bits)), _wide(noise)
    noise = _word(_right(signal * now + noise * before, spectral_subtraction_bits))
    estimate = tf.minimum(noise, signal)
    floor = _word(_right(_wide(x) * min_signal_remaining, spectral_subtraction_bits))
    clean = tf.maximum(_right(signal - estimate, smoothing_bits), floor)
    noise = tf.cast(estimate if clamping else noise, tf.uint32)
    return tf.cast(clean, tf.uint32), noise, tf.identity(noise)


@computes("CUSTOM:SignalPCAN")
def pcan(x, noise, gain_lut, *, snr_shift):
    """Per-channel amplitude normalization: shrink(x gain(noise)). x, noise (n,) uint32 -> (n,) uint32.

    shrink(v) = v^2 / 4 below 2, else v - 1; it takes 12 fractional bits and gives 6.
    """
    gain = _word(_gain(_wide(noise), _wide(gain_lut)))
    snr = _word(_right(_wide(x) * gain, snr_shift))
    return tf.cast(tf.where(snr < 2 << 12, _right(snr * snr, 20), _right(snr, 6) - (1 << 6)), tf.uint32)


def _gain(x, lut):
    """A quadratic for each power of two; its 10 bits below the leading one say where in it x is."""
    bits = _bit_length(x)
    first = tf.where(x <= 2, x, 4 * bits - 6)
    fraction = _right(_left(x, tf.maximum(11 - bits, 0)), tf.maximum(bits - 11, 0)) % 1024
    constant, linear, quadratic = (tf.gather(lut, tf.minimum(first + k, tf.size(lut, tf.int64) - 1)) for k in range(3))
    curve = _right((_right(quadratic * fraction, 5) + linear * 32) * fraction + (1 << 14), 15)
    return tf.where(x <= 2, constant, _wide(tf.cast(constant + curve, tf.int16)))


@computes("CUSTOM:SignalFilterBankLog")
def filter_bank_log(x, *, output_scale, input_correction_bits):
    """output_scale ln(x 2^input_correction_bits). x (n,) uint32 -> (n,) int16; 0 below 2."""
    x = _word(_left(_wide(x), input_correction_bits))
    power = _bit_length(x) - 1
    fraction = _right(_left(x, tf.maximum(16 - power, 0)), tf.maximum(power - 16, 0)) - (1 << 16)
    low, high = (tf.gather(LOG_LUT, tf.clip_by_value(_right(fraction, 9) + k, 0, 128)) for k in (0, 1))
    log2 = power * (1 << 16) + fraction + low + _right((high - low) * (fraction % 512), 16)
    ln = _word(_right(round(np.log(2) * (1 << 16)) * log2 + (1 << 15), 16))
    scaled = _right(_word(output_scale * ln + (1 << 15)), 16)
    return _int16(tf.where(x > 1, scaled, 0))


LOG_LUT = np.round((1 << 16) * (np.log2(1 + np.arange(129) / 128) - np.arange(129) / 128)).astype(np.int64)


@computes("CUSTOM:SignalDelay", stateful=True)
def delay(x, before):
    """x (..., n) int16, before (..., delay_length): what came in delay_length samples ago, and what is still inside."""
    y, n = tf.concat([before, x], -1), x.shape[-1]
    return y[..., :n], y[..., n:]


@computes("CUSTOM:SignalOverlapAdd", stateful=True)
def overlap_add(x, rest, *, frame_step):
    """x (..., frames, size), rest (..., size) -> (..., frames * frame_step): the sum of frames that overlap.

    int16 saturates with each frame that is added.
    """

    def step(sums, frame):
        total = sums[1] + frame if frame.dtype.is_floating else _int16(_wide(sums[1]) + _wide(frame))
        after = tf.concat([total[..., frame_step:], tf.zeros_like(total[..., :frame_step])], -1)
        return total[..., :frame_step], after

    frames = tf.experimental.numpy.moveaxis(x, -2, 0)
    done, rests = tf.scan(step, frames, (tf.zeros_like(frames[0, ..., :frame_step]), rest))
    done = tf.experimental.numpy.moveaxis(done, 0, -2)
    return tf.reshape(done, [*done.shape[:-2], -1]), rests[-1]


@computes("CUSTOM:SignalFramer", stateful=True)
def framer(x, before, count, *, frame_size, frame_step, prefill):
    """x (..., n) int16 -> frames (..., n / frame_step, frame_size) and whether all are whole.

    before: the samples that the next frame begins with. count: how many frames' steps came in, as far as it matters.
    """
    y, frames = tf.concat([before, x], -1), x.shape[-1] // frame_step
    starts = np.arange(frames)[:, None] * frame_step
    missing = 0 if prefill else before.shape[-1] // frame_step - count
    whole = np.arange(frames) >= missing
    result = tf.where(whole[:, None], tf.gather(y, starts + np.arange(frame_size), axis=-1), 0)
    rest = y[..., frames * frame_step :]
    return result, tf.reduce_all(whole), rest, tf.minimum(count + frames, before.shape[-1] // frame_step)


@computes("CUSTOM:SignalStacker", stateful=True)
def stacker(x, before, filled, *, stacker_left_context, stacker_right_context, stacker_step):
    """x (channels,) int16: a frame -> (frames * channels,): it and those around it, and whether they are a result.

    before (frames, channels). filled: 1 + the frames in it that no step has passed yet; 0 before the first frame, which
    stands for those on its left too.
    """
    size = stacker_left_context + 1 + stacker_right_context
    first = filled == 0
    stack = tf.where(first, x[None], tf.concat([before[1:], x[None]], 0))
    filled = tf.where(first, stacker_left_context + 2, filled + 1)
    valid = filled == size + 1
    result = tf.where(valid, tf.reshape(stack, [-1]), 0)
    return result, valid, stack, filled - stacker_step * tf.cast(valid, tf.int32)


def _wide(x):
    return tf.cast(x, tf.int64)


def _word(x):
    """The lowest 32 bits."""
    return tf.bitwise.bitwise_and(x, tf.constant(WORD, tf.int64))


def _left(x, bits):
    return tf.bitwise.left_shift(x, tf.cast(bits, x.dtype))


def _right(x, bits):
    return tf.bitwise.right_shift(x, tf.cast(bits, x.dtype))


def _int16(x):
    return tf.cast(tf.clip_by_value(x, -32768, 32767), tf.int16)


def _bit_length(x):
    return tf.reduce_sum(tf.cast(_wide(x)[..., None] >= 2 ** np.arange(32), x.dtype), -1)
