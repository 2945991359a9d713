"""Custom operators that the runtime itself has."""

import numpy as np

from emit.case import Case, Out, const, rand

SOUND = rand(300, 1)
RATE = np.array(8000, np.int32)


def spectrogram(x, name, window, stride, squared):
    options = {"window_size": window, "stride": stride, "magnitude_squared": squared}
    return Case("CUSTOM:AudioSpectrogram", [x], options, name=name)


def mfcc(rate, name, upper, lower, channels, coefficients):
    options = {"upper_frequency_limit": upper, "lower_frequency_limit": lower}
    options |= {"filterbank_channel_count": channels, "dct_coefficient_count": coefficients}
    return Case("CUSTOM:Mfcc", [rand(2, 4, 129, low=0, high=40), rate], options, name=name)


def rotation(x, size, name):
    options = {"hadamard_size": size, "random_binary_vector": (1,) * size}
    return Case("CUSTOM:aeq.hadamard_rotation", [x], options, [Out(shape=x.shape)], name, newer=True)


CASES = [
    # Of several channels 2.14 goes wrong: it keeps of one what it has not used when it begins the next.
    spectrogram(SOUND, "squares", 64, 20, True),
    spectrogram(SOUND, "magnitudes", 50, 30, False),
    spectrogram(rand(40, 1), "too-short", 64, 20, True),
    mfcc(const(RATE), "constant-rate", 4000, 20, 40, 13),
    mfcc(RATE, "computed-rate", 3000, 100, 20, 20),
    rotation(rand(3, 8), 8, "small"),
    rotation(rand(2, 3, 64), 32, "parts"),
]
