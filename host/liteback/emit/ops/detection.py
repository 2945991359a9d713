"""TFLite_Detection_PostProcess: from an SSD's boxes and scores to its detections.

Source: tensorflow/lite/kernels/detection_postprocess.cc (v2.14.0).
"""

import numpy as np
import tensorflow as tf

from liteback.emit.registry import computes


@computes("CUSTOM:TFLite_Detection_PostProcess")
def detection_post_process(
    encodings,
    scores,
    anchors,
    *,
    max_detections,
    max_classes_per_detection,
    num_classes,
    nms_score_threshold,
    nms_iou_threshold,
    y_scale,
    x_scale,
    h_scale,
    w_scale,
    detections_per_class=100,
    use_regular_nms=False,
):
    """encodings (1,B,>=4), scores (1,B,classes or classes+1), anchors (B,4) -> boxes (1,D,4), classes (1,D),
    scores (1,D), how many (1,), all float32; D = max_detections * max_classes_per_detection, the rest zeros.
    """
    boxes = _decode(encodings[0], anchors, (y_scale, x_scale, h_scale, w_scale))
    scores = scores[0, :, scores.shape[-1] - num_classes :]  # a background class stands before the others

    def suppress(values, limit):
        kept, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes,
            scores=values,
            max_output_size=limit,
            iou_threshold=nms_iou_threshold,
            # The kernel keeps scores that are equal to the threshold, TensorFlow those above it.
            score_threshold=np.nextafter(np.float32(nms_score_threshold), np.float32(-np.inf)),
            pad_to_max_output_size=True,
        )
        return kept, count

    if use_regular_nms:
        anchor, label, score, count = _regular(scores, suppress, detections_per_class, max_detections)
        valid = tf.range(tf.size(anchor)) < count
    else:
        each = min(max_classes_per_detection, num_classes)
        anchor, label, score, count = _fast(scores, suppress, each, max_detections)
        valid = tf.repeat(tf.range(max_detections) < count, each)
        if each < max_classes_per_detection:
            anchor, label, score, valid = (
                _spread(v, max_detections, max_classes_per_detection - each) for v in (anchor, label, score, valid)
            )
    found = tf.where(valid[:, None], tf.gather(boxes, anchor), 0.0)
    rest = max_detections * max_classes_per_detection - tf.size(anchor)
    label, score = tf.where(valid, tf.cast(label, tf.float32), 0.0), tf.where(valid, score, 0.0)
    return (
        tf.pad(found, [(0, rest), (0, 0)])[None],
        tf.pad(label, [(0, rest)])[None],
        tf.pad(score, [(0, rest)])[None],
        tf.cast(count, tf.float32)[None],
    )


def _decode(encodings, anchors, scales):
    """Center-size encodings relative to anchors (y, x, h, w) -> corners (ymin, xmin, ymax, xmax)."""
    y, x, h, w = (tf.cast(v, tf.float64) / s for v, s in zip(tf.unstack(encodings[:, :4], axis=1), scales, strict=True))
    ya, xa, ha, wa = (tf.cast(v, tf.float64) for v in tf.unstack(anchors, axis=1))
    cy, cx = tf.cast(y * ha + ya, tf.float32), tf.cast(x * wa + xa, tf.float32)
    half_h, half_w = tf.cast(0.5 * tf.exp(h) * ha, tf.float32), tf.cast(0.5 * tf.exp(w) * wa, tf.float32)
    return tf.stack([cy - half_h, cx - half_w, cy + half_h, cx + half_w], 1)


def _fast(scores, suppress, each, max_detections):
    """Suppress by the best class of each box, then give each box its `each` best classes."""
    best, labels = tf.math.top_k(scores, each)
    kept, count = suppress(best[:, 0], max_detections)
    label, score = tf.reshape(tf.gather(labels, kept), [-1]), tf.reshape(tf.gather(best, kept), [-1])
    return tf.repeat(kept, each), label, score, count


def _regular(scores, suppress, detections_per_class, max_detections):
    """Suppress class by class, and keep the best of all."""
    kept, counts = tf.map_fn(
        lambda values: suppress(values, detections_per_class),
        tf.transpose(scores),
        fn_output_signature=(tf.int32, tf.int32),
    )
    classes = tf.shape(scores)[1]
    label = tf.repeat(tf.range(classes), detections_per_class)
    anchor = tf.reshape(kept, [-1])
    valid = tf.reshape(tf.range(detections_per_class)[None] < counts[:, None], [-1])
    score = tf.where(valid, tf.gather_nd(scores, tf.stack([anchor, label], 1)), -np.inf)
    score, order = tf.math.top_k(score, tf.minimum(max_detections, tf.size(score)))
    count = tf.minimum(tf.reduce_sum(counts), max_detections)
    return tf.gather(anchor, order), tf.gather(label, order), score, count


def _spread(values, boxes, gap):
    """Leave `gap` empty places after each box's classes."""
    return tf.reshape(tf.pad(tf.reshape(values, [boxes, -1]), [(0, 0), (0, gap)]), [-1])
