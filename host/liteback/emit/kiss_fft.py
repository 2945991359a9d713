"""The real Fourier transform of KISS FFT in fixed point, bit for bit.

KISS FFT (v130: kiss_fft.c, kiss_fftr.c, _kiss_fft_guts.h) divides its values by the radix before each stage, so that
nothing overflows: the spectrum is 1 / length times the usual one. Which radices there are, 4 first, and where it rounds
make the result; here each stage is computed for the whole array at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

MAX_LENGTH = 1 << 20
Spectrum = tuple[Any, Any]  # real and imaginary parts, int64 tensors


def rfft(x: Any, length: int) -> Any:
    """x (..., length) int16 or int32 -> (..., length / 2 + 1, 2), real and imaginary parts in the same type.

    Raises: ValueError for a length that KISS FFT cannot take.
    """
    fixed, half = Fixed.of(x.dtype, length, inverse=False), length // 2
    real, imag = fixed.fft(_unpacked(tf.reshape(x, [*outer(x), half, 2])))
    direct = fixed.divided((real[..., :1], imag[..., :1]), 2)
    ends = [fixed.wrapped(direct[0] + direct[1]), fixed.wrapped(direct[0] - direct[1])]
    front, back, twisted = fixed.split((real, imag))
    total = fixed.sum(front, back)
    low = [(a + b) // 2 for a, b in zip(total, twisted, strict=True)]
    high = (total[0] - twisted[0]) // 2, (twisted[1] - total[1]) // 2
    zero = tf.zeros_like(ends[0])
    joined = [
        tf.concat([e, _mirrored(a, b, half), f], -1)
        for e, a, b, f in zip((ends[0], zero), low, high, (ends[1], zero), strict=True)
    ]
    return tf.cast(tf.stack(joined, -1), x.dtype)


def irfft(spectrum: Any, length: int) -> Any:
    """spectrum (..., length / 2 + 1, 2) int16 or int32, real and imaginary parts -> (..., length) in the same type.

    Raises: ValueError for a length that KISS FFT cannot take.
    """
    fixed, half = Fixed.of(spectrum.dtype, length, inverse=True), length // 2
    real, imag = _unpacked(spectrum)
    first, last = real[..., :1], real[..., half:]
    direct = fixed.divided((fixed.wrapped(first + last), fixed.wrapped(first - last)), 2)
    front, back, twisted = fixed.split((real, imag))
    total = fixed.sum(front, back)
    low, high = fixed.sum(total, twisted), fixed.difference(total, twisted)
    high = high[0], fixed.wrapped(-high[1])
    packed = [tf.concat([d, _mirrored(a, b, half)], -1) for d, a, b in zip(direct, low, high, strict=True)]
    result = tf.stack(fixed.fft((packed[0], packed[1])), -1)
    return tf.cast(tf.reshape(result, [*outer(spectrum[..., 0]), length]), spectrum.dtype)


def outer(x: Any) -> list[int]:
    """A shape but for its last extent, for a reshape."""
    return [-1 if d is None else int(d) for d in x.shape[:-1]]


def _unpacked(pairs: Any) -> Spectrum:
    real, imag = tf.unstack(tf.cast(pairs, tf.int64), axis=-1)
    return real, imag


def _mirrored(low: Any, high: Any, half: int) -> Any:
    """Values 1, 2 ... from the front and from the back of an array of `half`, as its elements from 1 on."""
    return tf.concat([low[..., : (half - 1) // 2], high[..., ::-1]], -1)


@dataclass(frozen=True)
class Fixed:
    """Complex arithmetic on numbers of an integer type that stand for fractions of 1; held in int64 tensors."""

    dtype: Any
    length: int  # of the complex transform
    inverse: bool

    @classmethod
    def of(cls, dtype: Any, length: int, inverse: bool) -> Fixed:
        if length % 2 or not 4 <= length <= MAX_LENGTH:
            raise ValueError(
                f"KISS FFT's real transform has an even length from 4 to {MAX_LENGTH}. Received: {length}."
            )
        return cls(dtype, length // 2, inverse)

    @property
    def most(self) -> int:
        return int(self.dtype.max)

    @property
    def fraction(self) -> int:
        return self.most.bit_length()

    def wrapped(self, value: Any) -> Any:
        """What a variable of the type keeps of a value."""
        return tf.cast(tf.cast(value, self.dtype), tf.int64)

    def rounded(self, product: Any) -> Any:
        return self.wrapped((product + 2 ** (self.fraction - 1)) // 2**self.fraction)

    def scaled(self, a: Spectrum, factor: Any) -> Spectrum:
        return self.rounded(a[0] * factor), self.rounded(a[1] * factor)

    def divided(self, a: Spectrum, by: int) -> Spectrum:
        return self.scaled(a, self.most // by)

    def times(self, a: Spectrum, b: Spectrum) -> Spectrum:
        return self.rounded(a[0] * b[0] - a[1] * b[1]), self.rounded(a[0] * b[1] + a[1] * b[0])

    def sum(self, a: Spectrum, b: Spectrum) -> Spectrum:
        return self.wrapped(a[0] + b[0]), self.wrapped(a[1] + b[1])

    def difference(self, a: Spectrum, b: Spectrum) -> Spectrum:
        return self.wrapped(a[0] - b[0]), self.wrapped(a[1] - b[1])

    def roots(self, phase: Any) -> Spectrum:
        """exp(i phase), conjugated for the inverse transform."""
        phase = -phase if self.inverse else phase
        parts = (np.floor(0.5 + self.most * part(phase)).astype(np.int64) for part in (np.cos, np.sin))
        real, imag = parts
        return real, imag

    def twiddles(self, exponents: Any) -> Spectrum:
        return self.roots(-2 * np.pi * (exponents % self.length) / self.length)

    def split(self, a: Spectrum) -> tuple[Spectrum, Spectrum, Spectrum]:
        """Halves of value k from the front and, conjugated, from the back; their difference turned. k = 1, 2 ..."""
        k = np.arange(1, self.length // 2 + 1)
        front = self.divided((tf.gather(a[0], k, axis=-1), tf.gather(a[1], k, axis=-1)), 2)
        mirror = tf.gather(a[0], self.length - k, axis=-1), tf.gather(a[1], self.length - k, axis=-1)
        back = self.divided((mirror[0], self.wrapped(-mirror[1])), 2)
        turned = self.times(self.difference(front, back), self.roots(-np.pi * (k / self.length + 0.5)))
        return front, back, turned

    def fft(self, a: Spectrum) -> Spectrum:
        """(..., n) -> (..., n), n a divisor of `length`: transforms of every p-th value, combined."""
        n = int(a[0].shape[-1])
        if n == 1:
            return a
        p = _radix(n)
        parts = [tf.linalg.matrix_transpose(tf.reshape(v, [*outer(v), n // p, p])) for v in a]
        return self._combined(self.fft((parts[0], parts[1])), p, n)

    def _combined(self, parts: Spectrum, p: int, n: int) -> Spectrum:
        """p transforms (..., p, n / p) -> one (..., n)."""
        parts = self.divided(parts, p)
        exponents = np.arange(p)[:, None] * np.arange(n // p) * (self.length // n)
        turned = self.times(parts, self.twiddles(exponents))
        first = parts[0][..., 0, :], parts[1][..., 0, :]
        rest = [(turned[0][..., q, :], turned[1][..., q, :]) for q in range(1, p)]
        results = _BUTTERFLIES[p](self, first, *rest)
        return tf.concat([r[0] for r in results], -1), tf.concat([r[1] for r in results], -1)


def _radix(n: int) -> int:
    """The radix of the first stage.

    Raises: ValueError where there is none. KISS FFT has one for every prime, but it asks for memory, which a
    microcontroller's build does not give.
    """
    for p in (4, 2, 3, 5):
        if n % p == 0:
            return p
    raise ValueError(f"half the length of a Fourier transform has the prime factors 2, 3 and 5. A factor is {n}.")


def _butterfly_2(fixed: Fixed, a: Spectrum, b: Spectrum) -> list[Spectrum]:
    return [fixed.sum(a, b), fixed.difference(a, b)]


def _butterfly_3(fixed: Fixed, a: Spectrum, b: Spectrum, c: Spectrum) -> list[Spectrum]:
    both = fixed.sum(b, c)
    apart = fixed.scaled(fixed.difference(b, c), fixed.twiddles(np.int64(fixed.length // 3))[1])
    middle = fixed.wrapped(a[0] - both[0] // 2), fixed.wrapped(a[1] - both[1] // 2)
    aside = -apart[1], apart[0]
    return [fixed.sum(a, both), fixed.sum(middle, aside), fixed.difference(middle, aside)]


def _butterfly_4(fixed: Fixed, a: Spectrum, b: Spectrum, c: Spectrum, d: Spectrum) -> list[Spectrum]:
    even, odd = fixed.sum(a, c), fixed.difference(a, c)
    both, apart = fixed.sum(b, d), fixed.difference(b, d)
    aside = (-apart[1], apart[0]) if fixed.inverse else (apart[1], -apart[0])
    return [fixed.sum(even, both), fixed.sum(odd, aside), fixed.difference(even, both), fixed.difference(odd, aside)]


def _butterfly_5(fixed: Fixed, a: Spectrum, b: Spectrum, c: Spectrum, d: Spectrum, e: Spectrum) -> list[Spectrum]:
    near, far = (fixed.twiddles(np.int64(q * fixed.length // 5)) for q in (1, 2))
    outer, inner = (fixed.sum(b, e), fixed.difference(b, e)), (fixed.sum(c, d), fixed.difference(c, d))

    def pair(y: Spectrum, z: Spectrum, sign: int) -> list[Spectrum]:
        along = [fixed.scaled(outer[0], y[0]), fixed.scaled(inner[0], z[0])]
        across = [fixed.scaled(outer[1], y[1]), fixed.scaled(inner[1], z[1])]
        middle = fixed.wrapped(a[0] + along[0][0] + along[1][0]), fixed.wrapped(a[1] + along[0][1] + along[1][1])
        real, imag = (fixed.wrapped(across[0][i] + sign * across[1][i]) for i in (0, 1))
        return [fixed.sum(middle, (-imag, real)), fixed.difference(middle, (-imag, real))]

    first, last = pair(near, far, 1)
    second, third = pair(far, near, -1)
    total = fixed.wrapped(a[0] + outer[0][0] + inner[0][0]), fixed.wrapped(a[1] + outer[0][1] + inner[0][1])
    return [total, first, second, third, last]


_BUTTERFLIES: dict[int, Callable[..., list[Spectrum]]] = {
    2: _butterfly_2,
    3: _butterfly_3,
    4: _butterfly_4,
    5: _butterfly_5,
}
