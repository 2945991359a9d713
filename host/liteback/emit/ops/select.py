"""Operators whose result says which elements were chosen: its extent is known only at run time."""

import tensorflow as tf

from liteback.emit.registry import computes


@computes("WHERE")
def where(condition):
    """The coordinates of the elements that are not zero: (N, rank) int64, in row-major order."""
    chosen = condition if condition.dtype == tf.bool else tf.not_equal(condition, tf.zeros((), condition.dtype))
    if condition.shape.rank == 0:
        return tf.zeros((tf.cast(chosen, tf.int32), 0), tf.int64)
    return tf.where(chosen)


@computes("UNIQUE")
def unique(x, *, idx_out_type):
    """The distinct elements of x (N,) in order of appearance, and for each element which of them it is."""
    return tuple(tf.unique(x, idx_out_type))


@computes("NON_MAX_SUPPRESSION_V4")
def non_max_suppression(boxes, scores, size, iou_threshold, score_threshold):
    """The best boxes (y1, x1, y2, x2) that overlap none better: indices (size,), zero-padded, and how many."""
    indices, _, count = _suppress(boxes, scores, size, iou_threshold, score_threshold, 0.0)
    return indices, count


@computes("NON_MAX_SUPPRESSION_V5")
def soft_non_max_suppression(boxes, scores, size, iou_threshold, score_threshold, sigma):
    """The same with scores that overlap decays by exp(-iou^2 / (2 sigma)): indices, scores, how many."""
    return _suppress(boxes, scores, size, iou_threshold, score_threshold, sigma)


def _suppress(boxes, scores, size, iou_threshold, score_threshold, sigma):
    """Unlike TensorFlow's, the kernel drops a box whose scores decay too, where it overlaps by iou_threshold or more.

    It drops a chosen box in the same way: one without an area, which overlaps nothing, is chosen again, for as long as
    there are fewer choices than boxes. Of boxes of equal scores the first comes first; the runtime's order is that of
    its heap. Source: NonMaxSuppression, kernels/internal/reference/non_max_suppression.h (v2.14.0).
    """
    size, iou_threshold, score_threshold, sigma = (
        tf.reshape(v, ()) for v in (size, iou_threshold, score_threshold, sigma)
    )
    gone = scores.dtype.min
    scale = tf.where(sigma > 0, -0.5 / sigma, 0.0)

    def choose(state, _):
        left, _, _ = state
        best = tf.argmax(left, output_type=tf.int32)
        overlap = _overlap(boxes, boxes[best])
        kept = (overlap < iou_threshold) & (left > gone)
        decayed = left * tf.exp(scale * overlap * overlap)
        return tf.where(kept & (decayed > score_threshold), decayed, gone), best, left[best]

    most = tf.math.count_nonzero(scores > score_threshold, dtype=tf.int32)
    boxes, scores = tf.pad(boxes, [(0, 1), (0, 0)]), tf.pad(scores, [(0, 1)], constant_values=gone)  # at least one
    start = (tf.where(scores > score_threshold, scores, gone), tf.constant(0), tf.constant(0, scores.dtype))
    _, indices, chosen = tf.scan(choose, tf.range(size), start)
    found = (chosen > gone) & (tf.range(size) < most)
    return tf.where(found, indices, 0), tf.where(found, chosen, 0), tf.reduce_sum(tf.cast(found, tf.int32))


def _overlap(boxes, box):
    """The intersection of each box (y, x, y, x: two opposite corners) with one, as a share of the union."""
    low, high = (fn(boxes[:, :2], boxes[:, 2:]) for fn in (tf.minimum, tf.maximum))
    own_low, own_high = (fn(box[:2], box[2:]) for fn in (tf.minimum, tf.maximum))
    common = tf.reduce_prod(tf.maximum(tf.minimum(high, own_high) - tf.maximum(low, own_low), 0), -1)
    areas, area = tf.reduce_prod(high - low, -1), tf.reduce_prod(own_high - own_low, -1)
    return tf.where((areas > 0) & (area > 0), common / (areas + area - common), 0)
