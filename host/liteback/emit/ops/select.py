"""Operators whose result says which elements were chosen: its extent is known only at run time."""

import tensorflow as tf

from ..registry import computes


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
    """Boxes of equal scores are taken in order; the runtime's order is that of its heap."""
    return tf.raw_ops.NonMaxSuppressionV5(
        boxes=boxes,
        scores=scores,
        max_output_size=tf.reshape(size, ()),
        iou_threshold=tf.reshape(iou_threshold, ()),
        score_threshold=tf.reshape(score_threshold, ()),
        soft_nms_sigma=tf.reshape(sigma, ()),
        pad_to_max_output_size=True,
    )
