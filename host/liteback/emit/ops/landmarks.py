"""MediaPipe's operators on landmarks: a region is found by them, cut out of a map, refined, and put back.

Version 2 of each, the one that MediaPipe registers (mediapipe/util/tflite/operations, v0.10); the kernels take a batch
of one, these any.
"""

import tensorflow as tf

from liteback.emit.registry import computes


@computes("CUSTOM:Landmarks2TransformMatrix")
def landmarks_to_transform_matrix(
    points,
    *,
    subset_idxs,
    left_rotation_idx,
    right_rotation_idx,
    output_height,
    output_width,
    scale_x,
    scale_y,
    target_rotation_radians=0.0,
):
    """points (N,P,3) -> (N,4,4): from places in an output of output_height x output_width to those in the input.

    The output is the box around a subset of the points, scaled, and turned so that the line from the left point to the
    right one has the target's angle.
    """
    across = points[:, right_rotation_idx] - points[:, left_rotation_idx]
    turn = target_rotation_radians - tf.atan2(across[:, 1], across[:, 0])
    cos, sin = tf.cos(turn), tf.sin(turn)
    chosen = tf.gather(points[..., :2], subset_idxs, axis=1)
    turned = tf.einsum("npj,nij->npi", chosen, _rows([cos, -sin], [sin, cos]))
    low, high = tf.reduce_min(turned, axis=1), tf.reduce_max(turned, axis=1)
    back = _rows([cos, sin], [-sin, cos])
    step = (high - low) * [scale_x, scale_y] / [output_width, output_height]
    linear = back * step[:, None]
    shift = tf.linalg.matvec(back, (low + high) / 2) - tf.linalg.matvec(linear, [output_width / 2, output_height / 2])
    zero, one = tf.zeros_like(turn), tf.ones_like(turn)
    (a, b), (c, d), (x, y) = (tf.unstack(rows, axis=1) for rows in (linear[:, 0], linear[:, 1], shift))
    return _rows([a, b, zero, x], [c, d, zero, y], [zero, zero, one, zero], [zero, zero, zero, one])


@computes("CUSTOM:TransformLandmarks")
def transform_landmarks(points, matrix):
    """points (N,P,2 or 3), matrix (N,4,4): x and y of each point through the matrix's first two rows; z stays."""
    if points.shape[-1] not in (2, 3):
        raise NotImplementedError(f"points of {points.shape[-1]} coordinates")
    moved = tf.einsum("npj,nij->npi", points[..., :2], matrix[:, :2, :2]) + matrix[:, None, :2, 3]
    return tf.concat([moved, points[..., 2:]], axis=-1)


@computes("CUSTOM:TransformTensorBilinear")
def transform_tensor_bilinear(x, matrix, *, output_height, output_width):
    """x (N,H,W,C), matrix (N,4,4) -> (N,output_height,output_width,C): what is found where the matrix leads.

    Pixels lie at the middles of unit squares. Between four of them it is bilinear, outside of them 0.
    """
    rows, columns = tf.meshgrid(tf.range(output_height), tf.range(output_width), indexing="ij")
    middles = tf.cast(tf.stack([columns, rows], axis=-1), x.dtype) + 0.5
    places = tf.einsum("yxj,nij->nyxi", middles, matrix[:, :2, :2]) + matrix[:, None, None, :2, 3] - 0.5
    return _bilinear(x, places, margin=0)


@computes("CUSTOM:Resampler")
def resampler(x, warp):
    """x (N,H,W,C), warp (N,H,W,2) of columns and rows -> (N,H,W,C): bilinear, with zeros around x."""
    return _bilinear(x, warp, margin=1)


def _bilinear(x, places, margin):
    """x (N,H,W,C) at places (N,...,2) of columns and rows; 0 at those that are `margin` or more outside."""
    last = tf.cast(tf.shape(x)[2:0:-1] - 1, x.dtype)  # of a row, of a column
    inside = (places > -margin) & (places < last + margin) if margin else (places >= 0) & (places <= last)
    corner = tf.floor(places)
    part = places - corner
    result = 0.0
    for right in (0, 1):
        for lower in (0, 1):
            at = tf.cast(corner, tf.int32) + [right, lower]
            there = tf.reduce_all((at >= 0) & (at <= tf.cast(last, tf.int32)), axis=-1, keepdims=True)
            value = tf.gather_nd(x, tf.where(there, at, 0)[..., ::-1], batch_dims=1)
            weight = tf.reduce_prod(tf.where([bool(right), bool(lower)], part, 1 - part), axis=-1, keepdims=True)
            result += tf.where(there, value * weight, 0.0)
    return tf.where(tf.reduce_all(inside, axis=-1, keepdims=True), result, 0.0)


def _rows(*rows):
    """Matrices (N,rows,columns) of entries (N,)."""
    return tf.stack([tf.stack(row, axis=-1) for row in rows], axis=-2)
