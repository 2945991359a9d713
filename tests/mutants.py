"""Damaged .tflite files, made from whole ones: the same seed gives the same files."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

import small_models
from tflite_build import Op, Subgraph, Tensor, build_model, schema

# Numbers that are often a boundary of something: as an offset, a length, an extent, an index, an option.
_U32 = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 0x7FFF, 0xFFFF, 0x10000, 1 << 30, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LARGEST = 50_000  # bytes of a real model that is mutated: what matters is structure, not weights


def whole_models(shared: Path) -> dict[str, bytes]:
    """The models that are damaged: tiny built ones, and, where they are here, the smallest real ones."""
    models = {
        "add": small_models.add(),
        "chain": small_models.chain(6),
        "endless": small_models.endless(),
        "average": small_models.average(),
        "strings": small_models.strings(),
        "shapes": shapes(),
        "conv": conv(),
    }
    for path in sorted(shared.glob("*/*.tflite")):
        if path.stat().st_size <= _LARGEST and path.parent.name != "malformed":
            models[path.stem] = path.read_bytes()
    return models


def mutants(models: Mapping[str, bytes], count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """`count` times (what was done to what, the damaged bytes)."""
    rng = random.Random(seed)
    names = sorted(models)
    for number in range(count):
        name = names[number % len(names)]
        change = rng.choice(_CHANGES)
        other = models[rng.choice(names)]
        data = bytearray(models[name])
        for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
            data = change(data, other, rng)
        yield f"{number}: {change.__name__.strip('_')} of {name}", bytes(data)


def _flip(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _set_u32(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    if len(data) >= 8:
        struct.pack_into("<I", data, 4 * rng.randrange(len(data) // 4), rng.choice(_U32))
    return data


def _repoint(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Another small number where one was: an offset that leads elsewhere, another index or extent."""
    if len(data) >= 8:
        struct.pack_into("<I", data, 4 * rng.randrange(len(data) // 4), rng.randrange(len(data)))
    return data


def _cut(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data) + 1)]


def _splice(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    at = rng.randrange(len(data) + 1)
    return data[:at] + other[at:]


def _zero(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    start, size = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    data[start : start + size] = bytes(len(data[start : start + size]))
    return data


def _double(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    start, size = rng.randrange(len(data) + 1), rng.randrange(1, 64)
    return data[: start + size] + data[start:]


_CHANGES: tuple[Callable[[bytearray, bytes, random.Random], bytearray], ...] = (
    _flip,
    _set_u32,
    _repoint,
    _cut,
    _splice,
    _zero,
    _double,
)


def shapes() -> bytes:
    """Constants that say how large other tensors become: FILL, TILE, PAD, RANGE, BROADCAST_TO, RESHAPE."""

    def ints(*values: int) -> Tensor:
        return Tensor([len(values)], "int32", np.array(values, np.int32))

    one = Tensor([], "float32", np.float32(1))
    return build_model(
        Subgraph(
            [
                *(Tensor([1, 4]), ints(1, 4), one, Tensor([1, 4]), Tensor([1, 4]), ints(1, 2), Tensor([1, 8])),
                *(Tensor([2, 2], "int32", np.array([[0, 0], [1, 1]], np.int32)), Tensor([1, 10]), ints(1, 10)),
                *(Tensor([1, 10]), Tensor([], "int32", np.int32(0)), Tensor([], "int32", np.int32(10))),
                *(Tensor([], "int32", np.int32(1)), Tensor([10], "int32"), Tensor([10]), Tensor([1, 10]), ints(2, 5)),
                Tensor([2, 5]),
            ],
            [
                Op("FILL", [1, 2], [3], schema.FillOptionsT()),
                Op("ADD", [0, 3], [4], schema.AddOptionsT()),
                Op("TILE", [4, 5], [6], schema.TileOptionsT()),
                Op("PAD", [6, 7], [8], schema.PadOptionsT()),
                Op("BROADCAST_TO", [2, 9], [10], schema.BroadcastToOptionsT()),
                Op("RANGE", [11, 12, 13], [14], schema.RangeOptionsT()),
                Op("CAST", [14], [15], schema.CastOptionsT()),
                Op("MUL", [10, 15], [16], schema.MulOptionsT()),
                Op("RESHAPE", [16, 17], [18], schema.ReshapeOptionsT(newShape=[2, 5])),
            ],
            inputs=[0],
            outputs=[8, 18],
        )
    )


def conv() -> bytes:
    """A quantized convolution and a pooling, with the options that such operators have."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-9, 9, (2, 3, 3, 1), np.int8)
    return build_model(
        Subgraph(
            [
                Tensor([1, 8, 8, 1], "int8", scale=0.5, zero_point=1),
                Tensor([2, 3, 3, 1], "int8", weight, scale=[0.1, 0.2], zero_point=[0, 0], axis=0),
                Tensor([2], "int32", np.array([1, -1], np.int32), scale=[0.05, 0.1], zero_point=[0, 0], axis=0),
                Tensor([1, 8, 8, 2], "int8", scale=0.7, zero_point=-128),
                Tensor([1, 4, 4, 2], "int8", scale=0.7, zero_point=-128),
            ],
            [
                Op(
                    "CONV_2D",
                    [0, 1, 2],
                    [3],
                    schema.Conv2DOptionsT(strideW=1, strideH=1, dilationWFactor=1, dilationHFactor=1),
                ),
                Op(
                    "MAX_POOL_2D",
                    [3],
                    [4],
                    schema.Pool2DOptionsT(strideW=2, strideH=2, filterWidth=2, filterHeight=2),
                ),
            ],
            inputs=[0],
            outputs=[4],
        )
    )
