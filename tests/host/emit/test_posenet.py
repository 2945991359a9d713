"""Coral's pose decoder, of which no runtime here has a kernel, against a plain transcription of what it does."""

from __future__ import annotations

import heapq
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from flatbuffers import flexbuffers
from numpy.typing import NDArray

import tflite_build as build
from emit.case import rand
from liteback.emit.build import emit
from liteback.emit.ops.posenet import EDGES
from liteback.lift import lift

OPTIONS = {"max_detections": 5, "score_threshold": 0.4, "stride": 16, "nms_radius": 20.0}
NEIGHBOURS = [(a, b, k) for k, (a, b) in enumerate(EDGES)] + [(b, a, 32 + k) for k, (a, b) in enumerate(EDGES)]
Fields = list[NDArray[np.float32]]


def fields(height: int, width: int, seed: int, quiet: float = 0.0) -> Fields:
    """Scores with many peaks, and short, middle and long offsets, in pixels.

    Offsets vary little from cell to cell: along a rough field the smallest deviation would grow with each step.
    """
    scores = rand(1, height, width, 17, seed=seed, low=-3, high=4) - quiet
    reach = ((34, 4), (64, 40), (34, 60))
    ways = [
        rand(c, seed=seed + c, low=-r, high=r) + rand(1, height, width, c, seed=seed, low=-2, high=2) for c, r in reach
    ]
    return [scores, *ways]


def decoder(inputs: Fields, **options: Any) -> Any:
    """The model of the decoder alone."""
    most, masks = {**OPTIONS, **options}["max_detections"], len(inputs) == 4
    shapes = [(1, most, 17, 2), (1, most, 17), (1, most), (1,), *([(1, most, 33, 33)] if masks else [])]
    tensors = [*(build.Tensor(x.shape) for x in inputs), *(build.Tensor(s) for s in shapes)]
    indices = list(range(len(tensors)))
    given, made = indices[: len(inputs)], indices[len(inputs) :]
    op = build.Op("CUSTOM:PosenetDecoderOp", given, made, bytes(flexbuffers.Dumps({**OPTIONS, **options})))
    return emit(lift(build.build_model(build.Subgraph(tensors, [op], given, made)))).model


def sample(field: NDArray[Any], point: NDArray[Any], channel: int) -> float:
    (y0, x0), (y1, x1) = np.floor(point).astype(int), np.ceil(point).astype(int)
    y, x = point - (y0, x0)
    top = (1 - x) * field[y0, x0, channel] + x * field[y0, x1, channel]
    return float((1 - y) * top + y * ((1 - x) * field[y1, x0, channel] + x * field[y1, x1, channel]))


def moved(field: NDArray[Any], point: NDArray[Any], channel: int, gap: int) -> NDArray[Any]:
    offset = np.array([sample(field, point, channel), sample(field, point, channel + gap)])
    return np.clip(point + offset, 0, np.array(field.shape[:2]) - 1)


def pose(root: NDArray[Any], kind: int, scores: Any, shorts: Any, mids: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """Keypoints are taken by score, each neighbour found from the keypoint it was first reached from."""
    queue, points, found = [(-sample(scores, root, kind), kind, tuple(root))], np.zeros((17, 2)), {}
    while queue:
        score, here, at = heapq.heappop(queue)
        if here in found:
            continue
        found[here], points[here] = -score, at
        for a, b, channel in NEIGHBOURS:
            if a == here and b not in found:
                point = moved(mids, np.array(at), channel, 16)
                for _ in range(5):
                    point = moved(shorts, point, b, 17)
                heapq.heappush(queue, (-sample(scores, point, b), b, tuple(point)))
    return points, 1 / (1 + np.exp(-np.array([found[k] for k in range(17)])))


def decoded(inputs: Fields, max_detections: int, score_threshold: float, stride: int, nms_radius: float) -> list[Any]:
    """(points in pixels, keypoint scores, score) of each pose."""
    scores, shorts, mids = (x[0].astype(np.float64) / (1 if k == 0 else stride) for k, x in enumerate(inputs[:3]))
    square, poses = (nms_radius / stride) ** 2, list[Any]()
    for kind, y, x in np.ndindex(17, *scores.shape[:2]):
        around = scores[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, kind]
        if scores[y, x, kind] >= max(around.max(), np.log(score_threshold / (1 - score_threshold))):
            poses.append((-scores[y, x, kind], kind, moved(shorts, np.array([y, x], float), kind, 17)))
    taken: list[Any] = []
    for _, kind, root in sorted(poses, key=lambda p: p[0]):
        if len(taken) == max_detections or any(((root - t[0][kind]) ** 2).sum() <= square for t in taken):
            continue
        points, values = pose(root, kind, scores, shorts, mids)
        if values.mean() >= score_threshold:
            taken.append((points, values))
    taken.sort(key=lambda t: -t[1].mean())
    final = []
    for i, (points, values) in enumerate(taken):
        hidden = [any(((points[k] - t[0][k]) ** 2).sum() <= square for t in taken[:i]) for k in range(17)]
        final.append((points * stride, values, np.where(hidden, 0, values).mean()))
    return sorted((f for f in final if f[2] >= score_threshold), key=lambda f: -f[2])


@pytest.mark.parametrize(
    ("seed", "options"),
    [(0, {}), (1, {}), (2, {"max_detections": 20, "score_threshold": 0.3}), (1, {"stride": 8, "nms_radius": 15.0})],
    ids=str,
)
def test_poses_are_those_of_the_transcription(seed: int, options: dict[str, Any]) -> None:
    inputs = fields(9, 12, seed)[:3]
    points, scores, totals, count = (np.asarray(v)[0] for v in decoder(inputs, **options)(inputs))
    expected = decoded(inputs, **{**OPTIONS, **options})
    assert count == len(expected) > 1
    for k, (wanted_points, wanted_scores, wanted_total) in enumerate(expected):
        np.testing.assert_allclose(points[k], wanted_points, atol=0.02)
        np.testing.assert_allclose(scores[k], wanted_scores, atol=1e-3)
        assert totals[k] == pytest.approx(wanted_total, abs=1e-3)
    assert not points[len(expected) :].any()
    assert not totals[len(expected) :].any()


def test_without_a_peak_there_is_no_pose() -> None:
    inputs = fields(9, 12, 0, quiet=100)[:3]
    results = [np.asarray(v) for v in decoder(inputs)(inputs)]
    assert not any(r.any() for r in results)


def test_a_cell_belongs_to_the_nearest_pose() -> None:
    inputs = fields(33, 33, 1)
    points, *_, count, masks = (np.asarray(v)[0] for v in decoder(inputs)(inputs))
    longs = inputs[3][0].astype(np.float64) / OPTIONS["stride"]
    assert count > 1
    np.testing.assert_array_equal(masks.sum(0), 1)
    for y, x in ((0, 0), (5, 20), (16, 3), (32, 32)):
        ends = np.empty((17, 2))
        for k in range(17):
            point = np.array([y, x], float)
            for _ in range(3):
                point = moved(longs, point, k, 17)
            ends[k] = point * OPTIONS["stride"]
        nearest = ((points[: int(count)] - ends) ** 2).sum((1, 2)).argmin()
        assert masks[nearest, y, x] == 1


def test_the_decoder_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    inputs = fields(9, 12, 0)[:3]
    model = decoder(inputs)
    model.save(tmp_path / "m.keras")
    for result, wanted in zip(keras.models.load_model(tmp_path / "m.keras")(inputs), model(inputs), strict=True):
        np.testing.assert_array_equal(result, wanted)
