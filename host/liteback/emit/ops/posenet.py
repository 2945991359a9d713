"""The decoder of Coral's PoseNet and BodyPix: fields of scores and offsets -> poses of 17 keypoints.

Points are (y, x), in cells of the fields. Rows beyond the poses that were found are zeros here; the kernel leaves them
unwritten. Source: google-coral/libcoral, coral/pose_estimation/posenet_decoder{,_op}.cc, commit 6589d0b; the method is
PersonLab's (arXiv:1803.08225).
"""

import numpy as np
import tensorflow as tf

from liteback.emit.registry import computes

KEYPOINTS = 17
# nose; left and right eye, ear, shoulder, elbow, wrist, hip, knee, ankle. Pairs in the order of the middle offsets.
EDGES = (
    *((0, 1), (1, 3), (0, 2), (2, 4)),
    *((0, 5), (5, 7), (7, 9), (5, 11), (11, 13), (13, 15)),
    *((0, 6), (6, 8), (8, 10), (6, 12), (12, 14), (14, 16)),
)
SHORT_STEPS, LONG_STEPS, MASK_EXTENT = 5, 3, 33


@computes("CUSTOM:PosenetDecoderOp")
def posenet_decoder(heatmaps, shorts, mids, longs=None, *, max_detections, score_threshold, stride, nms_radius):
    """heatmaps (1,H,W,17), shorts (1,H,W,34), mids (1,H,W,64), longs (1,H,W,34) of BodyPix; offsets in pixels.

    -> keypoints (1,D,17,2) in pixels, their scores (1,D,17), the poses' scores (1,D), their count (1,), and with longs
    the masks of the persons (1,D,33,33).
    """
    heatmaps, shorts, mids = heatmaps[0], shorts[0] / stride, mids[0] / stride
    square = (nms_radius / stride) ** 2
    roots, kinds = _candidates(heatmaps, shorts, score_threshold)
    points = _walk(roots, kinds, shorts, mids)
    keys = tf.range(KEYPOINTS) + tf.zeros_like(kinds)[:, None]
    scores = tf.sigmoid(_sample(heatmaps, points, keys[..., None])[..., 0])
    chosen = _suppressed(points, kinds, tf.reduce_mean(scores, -1), square, score_threshold, max_detections)
    points, scores, totals = _rescored(tf.gather(points, chosen), tf.gather(scores, chosen), square)
    count = tf.reduce_sum(tf.cast(totals >= score_threshold, tf.int32))
    found = [_filled(v[:count], max_detections) for v in (points * stride, scores, totals)]
    results = [*(v[None] for v in found), tf.cast(count, tf.float32)[None]]
    return results if longs is None else [*results, _masks(longs[0] / stride, points[:count], max_detections)[None]]


def _candidates(heatmaps, shorts, threshold):
    """The cells that no neighbour exceeds, best first -> their refined points (N, 2) and keypoints (N,)."""
    highest = tf.nn.max_pool2d(heatmaps[None], 3, 1, "SAME")[0]
    lowest = -np.log(1 / (threshold + 1e-6) - 1)
    cells = tf.cast(tf.where((heatmaps >= highest) & (heatmaps >= lowest)), tf.int32)
    order = tf.argsort(tf.gather_nd(heatmaps, cells), direction="DESCENDING", stable=True)
    cells = tf.gather(cells, order)
    points, kinds = tf.cast(cells[:, :2], tf.float32), cells[:, 2]
    return _moved(points, shorts, tf.stack([kinds, kinds + KEYPOINTS], -1)), kinds


def _paths():
    """For each root the 16 edges that lead from it to all others: from, to, channel of the middle offset's y.

    As the skeleton is a tree, the order in which the kernel takes its keypoints, by score, changes nothing.
    """
    channels = {(a, b): k for k, (a, b) in enumerate(EDGES)} | {(b, a): 32 + k for k, (a, b) in enumerate(EDGES)}
    paths = []
    for root in range(KEYPOINTS):
        reached, path = [root], []
        for start in reached:
            for (a, b), channel in channels.items():
                if a == start and b not in reached:
                    reached.append(b)
                    path.append((a, b, channel))
        paths.append(path)
    return np.array(paths, np.int32)


def _walk(roots, kinds, shorts, mids):
    """The poses that begin at each root. roots (N, 2), kinds (N,) -> (N, 17, 2)."""
    rows = tf.range(tf.size(kinds))
    start = tf.tensor_scatter_nd_update(tf.zeros([tf.size(kinds), KEYPOINTS, 2]), tf.stack([rows, kinds], -1), roots)

    def step(points, edge):
        here, there, channel = tf.unstack(edge, axis=-1)
        point = _moved(tf.gather(points, here, batch_dims=1), mids, tf.stack([channel, channel + len(EDGES)], -1))
        point = _moved(point, shorts, tf.stack([there, there + KEYPOINTS], -1), SHORT_STEPS)
        return tf.tensor_scatter_nd_update(points, tf.stack([rows, there], -1), point)

    return tf.foldl(step, tf.transpose(tf.gather(_paths(), kinds), [1, 0, 2]), start)


def _moved(points, offsets, channels, times=1):
    """points (..., 2) plus the offsets at their places, kept inside the field; and so on from there."""
    last = tf.cast(tf.shape(offsets)[:2], tf.float32) - 1

    def move(points):
        return [tf.clip_by_value(points + _sample(offsets, points, channels), 0, last)]

    return tf.while_loop(lambda _: True, move, [points], maximum_iterations=times)[0]


def _sample(field, points, channels):
    """field (H,W,C) between its cells. points (..., 2), channels (..., K) -> (..., K)."""
    low = tf.floor(points)
    part = (points - low)[..., None, :]

    def at(y, x):
        y, x = (tf.cast(v, tf.int32)[..., None] + tf.zeros_like(channels) for v in (y, x))
        return tf.gather_nd(field, tf.stack([y, x, channels], -1))

    (top, left), (bottom, right) = (tf.unstack(v, axis=-1) for v in (low, tf.math.ceil(points)))
    y, x = part[..., 0], part[..., 1]
    upper = (1 - x) * at(top, left) + x * at(top, right)
    return (1 - y) * upper + y * ((1 - x) * at(bottom, left) + x * at(bottom, right))


def _suppressed(points, kinds, totals, square, threshold, most):
    """The poses whose root is not near the same keypoint of a pose taken before, in the order they came."""

    def take(i, chosen):
        kind = kinds[i]
        near = _squared(points[i, kind], tf.gather(points[:, kind], chosen)) <= square
        good = (totals[i] >= threshold) & ~tf.reduce_any(near)
        return i + 1, tf.cond(good, lambda: tf.concat([chosen, i[None]], 0), lambda: chosen)

    return tf.while_loop(
        lambda i, chosen: (i < tf.size(kinds)) & (tf.size(chosen) < most),
        take,
        (tf.constant(0), tf.zeros([0], tf.int32)),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None])),
    )[1]


def _rescored(points, scores, square):
    """Poses by their final scores: the mean of the scores of keypoints that no better pose has in the same place."""
    order = tf.argsort(tf.reduce_mean(scores, -1), direction="DESCENDING", stable=True)
    points, scores = tf.gather(points, order), tf.gather(scores, order)
    near = _squared(points[:, None], points[None]) <= square
    rank = tf.range(tf.size(order))
    hidden = tf.reduce_any(near & (rank[None, :, None] < rank[:, None, None]), 1)
    totals = tf.reduce_mean(tf.where(hidden, 0.0, scores), -1)
    order = tf.argsort(totals, direction="DESCENDING", stable=True)
    return tf.gather(points, order), tf.gather(scores, order), tf.gather(totals, order)


def _masks(longs, poses, most):
    """Each cell belongs to the pose whose keypoints are nearest to where the long offsets lead; (most, 33, 33).

    Without any pose the kernel gives all cells to the first.
    """
    height, width = longs.shape[:2]
    if (height, width) != (MASK_EXTENT, MASK_EXTENT):
        raise NotImplementedError(f"its masks are of 33 x 33 cells, and its long offsets of {height} x {width}")
    cells = np.stack(np.meshgrid(range(height), range(width), indexing="ij"), -1).astype(np.float32)
    points = tf.repeat(tf.reshape(cells, [-1, 1, 2]), KEYPOINTS, 1)
    channels = np.arange(KEYPOINTS)[:, None] + np.array([0, KEYPOINTS])
    channels = tf.constant(np.broadcast_to(channels, [height * width, KEYPOINTS, 2]), tf.int32)
    points = _moved(points, longs, channels, LONG_STEPS)
    distances = tf.reduce_sum(_squared(points[:, None], poses[None]), -1)
    distances = tf.pad(distances, [(0, 0), (0, most - tf.shape(poses)[0])], constant_values=np.inf)
    masks = tf.one_hot(tf.argmin(distances, -1), most, axis=0)
    return tf.reshape(masks, [most, height, width])


def _squared(a, b):
    return tf.reduce_sum((a - b) ** 2, -1)


def _filled(values, rows):
    return tf.pad(values, [(0, rows - tf.shape(values)[0])] + [(0, 0)] * (len(values.shape) - 1))
