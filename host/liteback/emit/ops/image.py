"""Resizing images, and moving elements between space, depth and batch."""

import math

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.ops.common import dtype_of
from liteback.emit.registry import Layer, computes, emits

SPATIAL = (1, 2)
FIXED_POINT = ("int8", "int16")  # RESIZE_BILINEAR of these types finds its places in integers


@emits("RESIZE_BILINEAR", static=["size"])
def resize_bilinear(x, size, *, align_corners, half_pixel_centers, out):
    """x (N,H,W,C), size (2,) -> (N,h,w,C)."""
    if None in x.shape[1:3] or dtype_of(x) != "float32":
        return NotImplemented
    grows = [int(n) % m == 0 for n, m in zip(size, x.shape[1:3], strict=True)]
    if all(grows) and half_pixel_centers and not align_corners and out.dtype not in FIXED_POINT:
        factors = tuple(int(n) // m for n, m in zip(size, x.shape[1:3], strict=True))
        return Layer(layers.UpSampling2D, x, config={"size": factors, "interpolation": "bilinear"})
    for axis, n, m in zip(SPATIAL, size, x.shape[1:3], strict=True):
        around = _neighbours(m, n, align_corners, half_pixel_centers, out.dtype in FIXED_POINT)
        low, high, share = map(np.asarray, around)
        x = _blend(x, low, high, share, axis)
    return x


@computes("RESIZE_BILINEAR")
def resize_bilinear_kernel(x, size, *, align_corners, half_pixel_centers, out):
    """The same with extents that are known at run time only, or of integers that have no scale."""
    y = tf.cast(x, tf.float32)
    for axis in SPATIAL:
        extent, fixed_point = tf.shape(x)[axis], out.dtype in FIXED_POINT
        y = _blend(y, *_neighbours(extent, size[axis - 1], align_corners, half_pixel_centers, fixed_point), axis)
    return tf.cast(tf.sign(y) * tf.floor(tf.abs(y) + 0.5), x.dtype) if y.dtype != x.dtype else y


def _blend(x, low, high, share, axis):
    """(1 - share) * the elements at `low` + share * those at `high`."""
    below, above = ops.take(x, low, axis=axis), ops.take(x, high, axis=axis)
    return below + (above - below) * ops.reshape(share, (-1, *[1] * (3 - axis)))


def _neighbours(extent, size, align_corners, half_pixel_centers, fixed_point):
    """For each of `size` results: the elements around its place, and how far beyond the first of them it is.

    Source: ComputeInterpolationValues (tensorflow/lite/kernels/internal/reference/resize_bilinear.h, v2.14.0).
    """
    half = 0.5 if half_pixel_centers else 0.0
    if fixed_point:
        place = _fixed_places(extent, size, align_corners, half_pixel_centers)
    else:
        place = _places(extent, size, align_corners, half) - half
    last = ops.cast(extent, "int32") - 1
    low = ops.maximum(ops.cast(ops.floor(place), "int32"), 0)
    high = ops.minimum(ops.cast(ops.ceil(place), "int32"), last)
    return low, high, place - ops.cast(low, "float32")


@emits("RESIZE_NEAREST_NEIGHBOR", static=["size"])
def resize_nearest_neighbor(x, size, *, align_corners, half_pixel_centers):
    """x (N,H,W,C), size (2,) -> (N,h,w,C)."""
    if None in x.shape[1:3]:
        return NotImplemented
    extents = x.shape[1:3]
    nearest = [
        np.asarray(_nearest(m, n, align_corners, half_pixel_centers)) for n, m in zip(size, extents, strict=True)
    ]
    factors = tuple(len(index) // m for index, m in zip(nearest, extents, strict=True))
    repeated = [np.repeat(np.arange(m), f) for m, f in zip(extents, factors, strict=True)]
    if all(np.array_equal(a, b) for a, b in zip(nearest, repeated, strict=True)) and str(x.dtype) == "float32":
        return Layer(layers.UpSampling2D, x, config={"size": factors, "interpolation": "nearest"})
    return ops.take(ops.take(x, nearest[0], axis=1), nearest[1], axis=2)


@computes("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest_neighbor_kernel(x, size, *, align_corners, half_pixel_centers):
    """The same with extents that are known at run time only."""
    for axis in SPATIAL:
        index = _nearest(tf.shape(x)[axis], size[axis - 1], align_corners, half_pixel_centers)
        x = tf.gather(x, index, axis=axis)
    return x


def _nearest(extent, size, align_corners, half_pixel_centers):
    """For each of `size` results, the element that it is.

    Source: GetNearestNeighbor (tensorflow/lite/kernels/internal/reference/resize_nearest_neighbor.h, v2.14.0).
    """
    place = _places(extent, size, align_corners, 0.5 if half_pixel_centers else 0.0)
    index = ops.floor(place + 0.5 if align_corners else place)
    return ops.minimum(ops.cast(index, "int32"), ops.cast(extent, "int32") - 1)


def _fixed_places(extent, size, align_corners, half_pixel_centers):
    """i * scale in 1/1024ths of an element, as the integer kernels have it (ComputeInterpolationValuesInteger)."""
    extent, size = ops.cast(extent, "int32"), ops.cast(size, "int32")
    scale = (1024 * extent + size // 2) // size
    if align_corners:
        gaps = ops.maximum(size - 1, 1)
        scale = ops.where(size > 1, (1024 * (extent - 1) + gaps // 2) // gaps, scale)
    place = ops.arange(size, dtype="int32") * scale
    if half_pixel_centers:
        place = place + scale // 2 - 512
    return ops.cast(place, "float32") / 1024


def _places(extent, size, align_corners, offset):
    """(i + offset) * scale for i of [0, size), in float32 as the kernels have it."""
    steps = ops.cast(ops.arange(size, dtype="int32"), "float32")
    extent, size = ops.cast(extent, "float32"), ops.cast(size, "float32")
    scale = extent / size
    if align_corners:
        scale = ops.where(size > 1, (extent - 1) / ops.maximum(size - 1, 1), scale)
    return (steps + offset) * scale


@emits("SPACE_TO_DEPTH")
def space_to_depth(x, *, block_size):
    """x (N, H*b, W*b, C) -> (N, H, W, b*b*C)."""
    if None in x.shape[1:]:
        return NotImplemented
    _, height, width, channels = x.shape
    y = ops.reshape(x, (-1, height // block_size, block_size, width // block_size, block_size, channels))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, (-1, height // block_size, width // block_size, channels * block_size**2))


@computes("SPACE_TO_DEPTH")
def space_to_depth_kernel(x, *, block_size):
    """The same with extents that are known at run time only."""
    return tf.nn.space_to_depth(x, block_size) if block_size > 1 else tf.identity(x)


@emits("DEPTH_TO_SPACE")
def depth_to_space(x, *, block_size):
    """x (N, H, W, b*b*C) -> (N, H*b, W*b, C)."""
    if None in x.shape[1:]:
        return NotImplemented
    _, height, width, channels = x.shape
    y = ops.reshape(x, (-1, height, width, block_size, block_size, channels // block_size**2))
    y = ops.transpose(y, (0, 1, 3, 2, 4, 5))
    return ops.reshape(y, (-1, height * block_size, width * block_size, channels // block_size**2))


@computes("DEPTH_TO_SPACE")
def depth_to_space_kernel(x, *, block_size):
    """The same with extents that are known at run time only."""
    return tf.nn.depth_to_space(x, block_size) if block_size > 1 else tf.identity(x)


@emits("SPACE_TO_BATCH_ND", static=["block_shape", "paddings"])
def space_to_batch_nd(x, block_shape, paddings):
    """x (N, H, [W,] C), zeros around it (paddings), and each block's places laid out along the batch."""
    if None in x.shape[1:]:
        return NotImplemented
    blocks, rank = [int(b) for b in block_shape], len(block_shape)
    x = ops.pad(x, [[0, 0], *[[int(a), int(b)] for a, b in paddings], *[[0, 0]] * (len(x.shape) - 1 - rank)])
    batch, inner = _or_rest(x.shape[0]), [n // b for n, b in zip(x.shape[1 : 1 + rank], blocks, strict=True)]
    rest = x.shape[1 + rank :]
    y = ops.reshape(x, (batch, *[d for n, b in zip(inner, blocks, strict=True) for d in (n, b)], *rest))
    within, outside = [2 + 2 * i for i in range(rank)], [1 + 2 * i for i in range(rank)]
    y = ops.transpose(y, (*within, 0, *outside, *range(1 + 2 * rank, len(y.shape))))
    return ops.reshape(y, (_or_rest(x.shape[0], math.prod(blocks)), *inner, *rest))


def _or_rest(batch, times=1):
    """How many there are, or the -1 that lets a reshape find out."""
    return -1 if batch is None else batch * times


@computes("SPACE_TO_BATCH_ND")
def space_to_batch_nd_kernel(x, block_shape, paddings):
    """The same with extents, blocks or paddings that are known at run time only."""
    return tf.space_to_batch_nd(x, block_shape, paddings)


@emits("BATCH_TO_SPACE_ND", static=["block_shape", "crops"])
def batch_to_space_nd(x, block_shape, crops):
    """The inverse of SPACE_TO_BATCH_ND, with `crops` cut away."""
    if None in x.shape[1:]:
        return NotImplemented
    blocks, rank = [int(b) for b in block_shape], len(block_shape)
    batch = _or_rest(x.shape[0] and x.shape[0] // math.prod(blocks))
    inner, rest = x.shape[1 : 1 + rank], x.shape[1 + rank :]
    y = ops.reshape(x, (*blocks, batch, *inner, *rest))
    places = [axis for i in range(rank) for axis in (rank + 1 + i, i)]
    y = ops.transpose(y, (rank, *places, *range(1 + 2 * rank, len(y.shape))))
    extents = [n * b for n, b in zip(inner, blocks, strict=True)]
    y = ops.reshape(y, (batch, *extents, *rest))
    if not np.any(crops):
        return y
    return y[(slice(None), *(slice(int(a), n - int(b)) for (a, b), n in zip(crops, extents, strict=True)))]


@computes("BATCH_TO_SPACE_ND")
def batch_to_space_nd_kernel(x, block_shape, crops):
    """The same with extents, blocks or crops that are known at run time only."""
    return tf.batch_to_space(x, block_shape, crops)
