"""MediaPipe's operators on landmarks, whose results `record_landmarks.py` records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emit.case import Case, Out, rand

Shaped = tuple[Case, tuple[int, ...]]  # a case, and the shape of its result

RECORDED = Path(__file__).with_name("landmarks.npz")

POINTS = rand(1, 12, 3, low=0, high=40)
BOX = {
    "subset_idxs": (3, 4, 7, 9, 2),
    "left_rotation_idx": 1,
    "right_rotation_idx": 8,
    "output_height": 6,
    "output_width": 5,
    "scale_x": 1.5,
    "scale_y": 1.25,
}
MAP = rand(1, 9, 8, 3)
WHOLE = np.eye(4, dtype=np.float32)[None]


def matrix(angle: float, scale: tuple[float, float], shift: tuple[float, float]) -> NDArray[Any]:
    """(1, 4, 4): scales, turns, shifts."""
    cos, sin = np.cos(angle), np.sin(angle)
    made = WHOLE.copy()
    made[0, :2, :2] = np.array([[cos, -sin], [sin, cos]]) * scale
    made[0, :2, 3] = shift
    return made


INSIDE = matrix(0.3, (0.7, 0.8), (2.1, 0.4))
BEYOND = matrix(-1.2, (1.4, 1.1), (1.3, 7.2))


def case(op: str, name: str, shape: tuple[int, ...], *inputs: NDArray[Any], version: int = 2, **options: Any) -> Shaped:
    return Case(f"CUSTOM:{op}", inputs, options, [Out()], name, version), shape


def box(name: str = "", **options: Any) -> Shaped:
    return case("Landmarks2TransformMatrix", name, (1, 4, 4), POINTS, **{**BOX, **options})


def moved(name: str, points: NDArray[Any], where: NDArray[Any]) -> Shaped:
    return case("TransformLandmarks", name, points.shape, points, where)


def cut(name: str, where: NDArray[Any], height: int = 4, width: int = 5) -> Shaped:
    shape = (1, height, width, MAP.shape[-1])
    return case("TransformTensorBilinear", name, shape, MAP, where, output_height=height, output_width=width)


CASES: list[Shaped] = [
    box(),
    box("turned", target_rotation_radians=2.5),
    box("backwards", left_rotation_idx=8, right_rotation_idx=1),
    moved("two-coordinates", rand(1, 7, 2), INSIDE),
    moved("three-coordinates", rand(1, 7, 3), BEYOND),
    case("Resampler", "", MAP.shape, MAP, rand(1, 9, 8, 2, low=-2, high=10, seed=1), version=1),
    cut("inside", INSIDE),
    cut("beyond", BEYOND),
    cut("as-it-is", WHOLE, 9, 8),
    cut("larger", WHOLE, 11, 10),
]
