"""Image and sound files -> arrays of real numbers. No model here."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from liteback.errors import UsageError

IMAGES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SOUNDS = (".wav",)


def read_image(path: Path, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """(height, width, channels) pixels: RGB or gray, upright, resized with bilinear filtering.

    An extent of -1 keeps the image's own. Raises: UsageError for a file that is not a whole image.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB" if channels == 3 else "L")
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} cannot be read as an image: {error}. Remove or replace it.") from None
    size = (upright.width if width == -1 else width, upright.height if height == -1 else height)
    pixels = np.asarray(upright.resize(size, Image.Resampling.BILINEAR), np.uint8)
    return pixels.reshape(size[1], size[0], channels)


def check_image(path: Path) -> str:
    """What is wrong with an image file's header, in words; empty when nothing is."""
    try:
        with Image.open(path):
            return ""
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{path}: {error}"


def read_sound(path: Path, length: int, rate: int) -> NDArray[np.float64]:
    """(length,) samples in [-1, 1): mono, resampled linearly to `rate` per second, cut or zero-padded.

    A length of -1 keeps the sound's own. Raises: UsageError for a file that is not PCM WAV.
    """
    try:
        with wave.open(str(path), "rb") as file:
            own_rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            frames = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise UsageError(f"{path} cannot be read as PCM WAV: {error}. Remove or convert it.") from None
    mono = _decode(frames[: len(frames) // (channels * width) * channels * width], width)
    mono = mono.reshape(-1, channels).mean(axis=1)
    if own_rate != rate and mono.size:
        times = np.arange(int(mono.size * rate / own_rate)) * (own_rate / rate)
        mono = np.interp(times, np.arange(mono.size), mono)
    if length == -1:
        return mono
    return np.pad(mono[:length], (0, max(0, length - mono.size)))


def check_sound(path: Path) -> str:
    """What is wrong with a WAV file's header, in words; empty when nothing is."""
    try:
        with wave.open(str(path), "rb"):
            return ""
    except (OSError, EOFError, wave.Error) as error:
        return f"{path}: {error}"


def _decode(frames: bytes, width: int) -> NDArray[Any]:
    """PCM of 1 (unsigned), 2, 3 or 4 bytes (signed), little-endian -> [-1, 1)."""
    raw = np.frombuffer(frames, np.uint8).reshape(-1, width)
    if width == 1:
        return (raw[:, 0].astype(np.float64) - 128) / 128
    wide = np.zeros((len(raw), 4), np.uint8)
    wide[:, 4 - width :] = raw  # in the upper bytes, so that the sign is where int32 has it
    return wide.view("<i4")[:, 0] / 2.0**31
