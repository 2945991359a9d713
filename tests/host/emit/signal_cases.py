"""The operators of the Signal library, with inputs that meet their corners. Each is called several times in a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emit.case import Case, Out, const, ints

INT16, INT32, FLOAT32 = 7, 2, 0  # the schema's TensorType, in the option T
CHANNELS = 40
RECORDED = Path(__file__).with_name("signal.npz")


@dataclass(frozen=True)
class Stream:
    """A case, the shapes of its outputs, and what its computed inputs are in each call."""

    case: Case
    shapes: Sequence[Sequence[int]]
    calls: Sequence[Sequence[NDArray[Any]]]

    def __str__(self) -> str:
        return str(self.case).removeprefix("CUSTOM:")

    @property
    def model(self) -> bytes:
        return self.case.model(self.shapes)


def stream(
    op: str,
    calls: Sequence[Any],
    shapes: Any,
    constants: Sequence[Any] = (),
    out: Any = "int16",
    name: str = "",
    **options: Any,
) -> Stream:
    """calls: for each call the computed input, or a tuple of them."""
    rows = [tuple(np.asarray(v) for v in (c if isinstance(c, tuple) else (c,))) for c in calls]
    dtypes = [out] if isinstance(out, str) else out
    inputs = [*rows[0], *(const(c) for c in constants)]
    case = Case(f"CUSTOM:Signal{op}", inputs, options, [Out(d) for d in dtypes], name=name)
    return Stream(case, shapes, rows)


def noise(*shape: int, seed: int = 0, high: int = 1 << 15, dtype: str = "int16") -> NDArray[Any]:
    return ints(*shape, low=-high, high=high, dtype=dtype, seed=seed)


def words(count: int, bits: int, seed: int = 0) -> NDArray[np.uint64]:
    """Numbers of all magnitudes up to `bits` bits."""
    random = np.random.default_rng(seed)
    return random.integers(0, 1 << 63, count, dtype=np.uint64) >> random.integers(64 - bits, 64, count, dtype=np.uint64)


def full_scale(*head: int) -> NDArray[np.int16]:
    """-32768 behind `head`, then numbers that rise below zero, and what follows them."""
    return np.array([*head, -32768, -500, -20, -3], np.int16)


def bands() -> list[NDArray[np.int16]]:
    """weights, unweights, frequency starts, weight starts, widths: bands of different widths, one of them empty."""
    widths = np.array([3, 5, 0, 7], np.int16)
    starts = np.array([1, 4, 9, 9], np.int16)
    weight_starts = np.array([0, 4, 12, 12], np.int16)
    weights = ints(20, low=0, high=4096, dtype="int16", seed=3)
    return [weights, (4096 - weights).astype(np.int16), starts, weight_starts, widths]


def gains() -> NDArray[np.int16]:
    return ints(125, low=-2000, high=32767, dtype="int16", seed=4)


SMOOTHING = {
    "smoothing": 409,
    "one_minus_smoothing": 15975,
    "alternate_smoothing": 983,
    "alternate_one_minus_smoothing": 15401,
    "smoothing_bits": 10,
    "min_signal_remaining": 819,
    "spectral_subtraction_bits": 14,
    "num_channels": CHANNELS,
}
LOUDNESS = [words(CHANNELS, bits, seed=bits).astype(np.uint32) for bits in (20, 20, 12, 32, 20)]


def transforms() -> list[Stream]:
    """Lengths of every radix: 4, 2, 3 and 5, alone and mixed."""
    found = []
    for length in (4, 6, 8, 10, 12, 30, 64, 72, 250, 512):
        half = length // 2 + 1
        for kind, dtype, high in ((INT16, "int16", 1 << 15), (INT32, "int32", 1 << 31)):
            if dtype == "int32" and length > 64:
                continue
            time, bins = noise(length, high=high, dtype=dtype), noise(2 * half, high=high >> 2, dtype=dtype, seed=1)
            given = {"T": kind, "fft_length": length, "out": dtype, "name": f"{dtype}-{length}"}
            found.append(stream("Rfft", [time], [(2 * half,)], **given))
            found.append(stream("Irfft", [bins], [(length,)], **given))
    return found


STREAMS = [
    stream("Window", [noise(1, 48)], [(1, 48)], [noise(48, seed=1)], shift=12),
    stream("Window", [noise(2, 2, 16)], [(2, 2, 16)], [noise(16, seed=1, high=4096)], shift=12, name="frames"),
    *(
        stream("FftAutoScale", [x], [(x.size,), ()], out=("int16", "int32"), name=name)
        for name, x in {
            "quiet": noise(48, high=200),
            "one": np.array([1, 0, -1], np.int16),
            "loud": noise(48, high=32767),
            "silent": np.zeros(5, np.int16),
            "lowest-last": np.array([5, -32768], np.int16),
            "lowest-rising": full_scale(100),
            "lowest-then-zero": np.array([*full_scale(100), 0], np.int16),
            "lowest-then-less": np.array([*full_scale(100), -90, 7], np.int16),
            "lowest-twice": np.array([*full_scale(9), *full_scale(), 40, -1], np.int16),
        }.items()
    ),
    *transforms(),
    stream("Rfft", [noise(3, 50)], [(3, 66)], T=INT16, fft_length=64, name="padded-rows"),
    stream("Irfft", [noise(3, 66, high=8192)], [(3, 64)], T=INT16, fft_length=64, name="rows"),
    stream("Rfft", [noise(60).astype("float32")], [(66,)], T=FLOAT32, fft_length=64, out="float32", name="float"),
    stream("Irfft", [noise(66).astype("float32")], [(64,)], T=FLOAT32, fft_length=64, out="float32", name="float"),
    stream(
        "Energy",
        [np.append(noise(64), [-32768, -32768]).astype(np.int16)],
        [(33,)],
        out="uint32",
        start_index=0,
        end_index=33,
    ),
    stream("FilterBank", [words(16, 32).astype(np.uint32)], [(3,)], bands(), out="uint64", num_channels=3),
    stream(
        "FilterBankSquareRoot",
        [(words(60, b, seed=b), np.int32(s)) for b, s in ((64, 0), (40, 3), (33, 1))],
        [(60,)],
        out="uint32",
    ),
    stream(
        "FilterBankSquareRoot",
        [
            (
                np.array(
                    [
                        v + d
                        for v in (1, 1 << 16, (1 << 32) - 2, 1 << 32, (1 << 40) + 1, 10**18, (1 << 64) - 2)
                        for d in (-1, 0, 1)
                    ],
                    np.uint64,
                ),
                np.int32(0),
            )
        ],
        [(21,)],
        out="uint32",
        name="edges",
    ),
    *(
        stream(
            "FilterBankSpectralSubtraction",
            LOUDNESS,
            [(CHANNELS,)] * 2,
            out=("uint32", "uint32"),
            name=str(c),
            clamping=c,
            **SMOOTHING,
        )
        for c in (False, True)
    ),
    stream(
        "PCAN",
        [(words(60, b, seed=b).astype(np.uint32), words(60, 32, seed=9).astype(np.uint32)) for b in (8, 20, 32)],
        [(60,)],
        [gains()],
        out="uint32",
        snr_shift=6,
    ),
    *(
        stream(
            "FilterBankLog",
            [words(80, bits, seed=bits).astype(np.uint32) for bits in (6, 32)],
            [(80,)],
            name=f"{scale}-{more}",
            output_scale=scale,
            input_correction_bits=more,
        )
        for scale, more in ((64, 3), (1600, 0), (3000, 0))
    ),
    *(
        stream("Delay", [noise(2, 8, seed=s) for s in range(4)], [(2, 8)], name=str(n), delay_length=n)
        for n in (0, 3, 8, 19)
    ),
    *(
        stream(
            "OverlapAdd",
            [noise(2, 3, 8, seed=s).astype(dtype) for s in range(3)],
            [(2, 3 * step)],
            T=kind,
            frame_step=step,
            out=dtype,
            name=f"{dtype}-{step}",
        )
        for kind, dtype in ((INT16, "int16"), (FLOAT32, "float32"))
        for step in (3, 8)
    ),
    *(
        stream(
            "Framer",
            [noise(2, 12, seed=s) for s in range(4)],
            [(2, 12 // step, size), ()],
            out=("int16", "bool"),
            frame_size=size,
            frame_step=step,
            prefill=prefill,
            name=f"{size}-{step}-{prefill}",
        )
        for size, step in ((10, 4), (12, 4), (3, 3), (30, 6))
        for prefill in (False, True)
    ),
    stream(
        "Framer",
        [noise(12, seed=s) for s in range(2)],
        [(2, 4), ()],
        out=("int16", "bool"),
        frame_size=4,
        frame_step=6,
        prefill=False,
        name="gaps",
    ),
    *(
        stream(
            "Stacker",
            [noise(5, seed=s) for s in range(9)],
            [(5 * (left + 1 + right),), ()],
            out=("int16", "bool"),
            num_channels=5,
            stacker_left_context=left,
            stacker_right_context=right,
            stacker_step=step,
            name=f"{left}-{right}-{step}",
        )
        for left, right, step in ((1, 1, 2), (0, 0, 1), (2, 0, 1), (0, 3, 4), (3, 1, 5))
    ),
]


def audio_frames() -> list[NDArray[np.int16]]:
    """30 ms at 16 kHz, one after the other: a sine, the same at full scale and clipped, noise, silence."""
    t = np.arange(6 * 480)
    sine = np.sin(2 * np.pi * 1000 / 16000 * t).reshape(6, 1, 480)
    loudness = np.array([2000, 20000, 90000, 0, 0, 0]).reshape(6, 1, 1)
    hiss = np.concatenate([np.zeros((3, 1, 480)), noise(2, 1, 480, high=3000), np.zeros((1, 1, 480))])
    return list(np.clip(np.round(sine * loudness + hiss), -32768, 32767).astype(np.int16))


def pack(results: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """All results of a type one after the other: hundreds of small arrays would make a large file."""
    dtypes = sorted({str(r.dtype) for r in results})
    return {d: np.concatenate([r.ravel() for r in results if str(r.dtype) == d]) for d in dtypes}


def recorded() -> dict[str, list[list[NDArray[Any]]]]:
    """What the reference kernels gave: a stream's name -> for each call its outputs."""
    with np.load(RECORDED) as file:
        rest = {dtype: file[dtype] for dtype in file.files}

    def take(dtype: str, shape: Sequence[int]) -> NDArray[Any]:
        result, rest[dtype] = np.split(rest[dtype], [math.prod(shape)])
        return result.reshape(shape)

    found = {
        str(s): [[take(o.dtype, shape) for o, shape in zip(s.case.outputs, s.shapes, strict=True)] for _ in s.calls]
        for s in STREAMS
    }
    return {**found, "audio": [[take("int8", (CHANNELS,)) for _ in audio_frames()]]}
