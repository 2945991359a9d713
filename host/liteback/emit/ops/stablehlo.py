"""Windows that are gathered from a tensor and scattered into one, as JAX and PyTorch's converter write them.

Windows lie along all axes of the tensor. Axes of which each window takes the whole stay as they are, the batch among
them; the others become one, along which the elements of windows have places.

Sources: StableHLO's specification; kernels/stablehlo_gather.cc, stablehlo_scatter.cc (v2.21.0).
"""

import math
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from keras import layers, ops

from liteback.emit.batch import UnknownBatch
from liteback.emit.names import is_symbolic
from liteback.emit.ops.common import add, as_shape, numbers_of
from liteback.emit.registry import Layer, computes, emits
from liteback.emit.weight import Weight, plain

ALL_BUT_LAST = (slice(None, -1),)  # Keras wants a tuple


@dataclass(frozen=True)
class Windows:
    """extents: of the tensor. sizes: of a window. single: the axes that windows have not."""

    extents: tuple[int | None, ...]
    sizes: tuple[int | None, ...]
    indexed: tuple[int, ...]  # axis k of `starts`' vectors is this axis of the tensor
    single: tuple[int, ...]

    @property
    def axes(self):
        """Those along which windows differ, or are not the whole."""
        return [a for a in range(len(self.extents)) if a not in self.whole]

    @property
    def whole(self):
        apart = {*self.indexed, *self.single}
        return [a for a, d in enumerate(self.extents) if self.sizes[a] == d and a not in apart]

    @property
    def order(self):
        return [*self.axes, *self.whole]

    def places(self, starts, index_vector_dim, inside):
        """The places of the windows' elements along `axes` as one: (windows..., extents of a window).

        inside: windows are moved so that they lie inside; else an element outside has the place behind the last.
        """
        if not self.indexed:
            raise NotImplementedError("it says of no axis where windows begin")
        known = isinstance(starts, np.ndarray)
        lib, plus, cast = (np, np.add, np.asarray) if known else (ops, add, ops.cast)
        first = lib.transpose(starts, _order(len(starts.shape), index_vector_dim))
        wide = [a for a in self.axes if a not in self.single]
        place, outside = np.int64(0), np.False_
        for axis in self.axes:
            extent, size = self.extents[axis], self.sizes[axis]
            if extent is None or size is None:
                raise UnknownBatch
            at = np.arange(size).reshape([size if a == axis else 1 for a in wide])
            if axis in self.indexed:
                begin = first[..., self.indexed.index(axis)]
                begin = lib.clip(begin, 0, extent - size) if inside else begin
                at = plus(lib.reshape(cast(begin, "int64"), [*_open(begin.shape), *[1] * len(wide)]), at)
            place = plus(lib.multiply(place, extent), at)
            outside = lib.logical_or(outside, lib.logical_or(lib.less(at, 0), lib.greater_equal(at, extent)))
        return place if inside else lib.where(outside, math.prod(self.extents[a] for a in self.axes), place)

    def laid_out(self, x):
        """x as (axes, *whole)."""
        if any(x.shape[a] is None for a in self.axes):
            raise UnknownBatch
        rest = _open([x.shape[a] for a in self.whole])
        return ops.reshape(ops.transpose(x, self.order), [math.prod(x.shape[a] for a in self.axes), *rest])


def _order(rank, last):
    """The axes with one of them as the last."""
    return [*(a for a in range(rank) if a != last), last]


def _open(shape):
    if sum(d is None for d in shape) > 1:
        raise UnknownBatch
    return as_shape(shape)


@emits("STABLEHLO_GATHER", weights=["x"])
def gather(x, starts, *, offset_dims, collapsed_slice_dims, start_index_map, index_vector_dim, slice_sizes, context):
    """Windows of x of one size, which begin where `starts` says and are moved so as to lie inside x."""
    extents = context.sources[0].shape
    if any(not 0 <= size <= d for size, d in zip(slice_sizes, extents, strict=True)):
        raise NotImplementedError(f"it takes windows of {list(slice_sizes)} from a tensor of {list(extents)}")
    windows = Windows(extents, slice_sizes, start_index_map, collapsed_slice_dims)
    place = windows.places(starts, index_vector_dim, inside=True)
    # Of what is gathered the axes of `starts` come first, then those of windows, which the result has at offset_dims.
    kept = [a for a in windows.order if a not in collapsed_slice_dims]
    lead = len(place.shape) - sum(a in windows.axes for a in kept)
    others = [a for a in range(lead + len(kept)) if a not in offset_dims]
    target = dict(
        zip([*range(lead), *(lead + kept.index(a) for a in sorted(kept))], [*others, *offset_dims], strict=True)
    )
    order = np.argsort([target[a] for a in range(lead + len(kept))]).tolist()
    if not (isinstance(x, Weight) and x.dtype == "float32" and is_symbolic(place)):
        return ops.transpose(ops.take(windows.laid_out(plain(x)), place, axis=0), order)
    rest = [extents[a] for a in windows.whole]
    table = x.transpose(*windows.order).reshape(-1, math.prod(rest))
    shape, config = [*_open(place.shape), *rest], {"input_dim": table.shape[0], "output_dim": table.shape[1]}
    return Layer(layers.Embedding, place, [table], config, lambda y: ops.transpose(ops.reshape(y, shape), order))


def _scattering(combinations):
    def emitter(
        x,
        starts,
        updates,
        *,
        update_window_dims,
        inserted_window_dims,
        scatter_dims_to_operand_dims,
        index_vector_dim,
        region,
        context=None,
    ):
        """x with windows of `updates` written, or combined with it, where `starts` says; what lies outside is not."""
        if context is not None and not _combines(region, context):
            return NotImplemented
        axes = [a for a in range(len(x.shape)) if a not in inserted_window_dims]
        axis_of = dict(zip(axes, update_window_dims, strict=True))  # of x -> of updates
        sizes = [updates.shape[axis_of[a]] if a in axis_of else 1 for a in range(len(x.shape))]
        windows = Windows(tuple(x.shape), sizes, scatter_dims_to_operand_dims, inserted_window_dims)
        place = windows.places(starts, index_vector_dim, inside=False)
        base, order = windows.laid_out(x), windows.order
        place, values = _rows(windows, axis_of, place, updates)
        count = math.prod(place.shape) if None in base.shape else -1
        values = ops.reshape(values, [count, *_open(base.shape[1:])])
        result = combinations[region](base, ops.reshape(place, (-1,)), values)
        result = ops.reshape(result, _open([x.shape[a] for a in order]))
        return ops.transpose(result, np.argsort(order).tolist())

    return emitter


def _combines(region, context):
    """Whether keras.ops combine as the region does.

    Raises: NotImplementedError where no runtime does.
    """
    if region not in STOCK.keys() | OWN.keys():
        raise NotImplementedError(
            f"its updates are combined by {' and '.join(region)}, for which runtimes have no kernel"
        )
    if region:
        numbers_of(context)
    return region in STOCK


def _rows(windows, axis_of, place, updates):
    """Places and updates, both in the order of `updates`: of several at one place the last counts."""
    of_whole = [axis_of[a] for a in windows.whole]
    rows = [a for a in range(len(updates.shape)) if a not in of_whole]
    between = [axis_of[a] for a in windows.axes if a in axis_of]
    found = [*(a for a in rows if a not in between), *between]
    return ops.transpose(place, [found.index(a) for a in rows]), ops.transpose(updates, [*rows, *of_whole])


def _written(base, place, values):
    longer = ops.pad(base, [(0, 1), *[(0, 0)] * (len(base.shape) - 1)])
    return ops.scatter_update(longer, ops.expand_dims(place, -1), values)[ALL_BUT_LAST]


def _combined(combine, segments):
    def combined(base, place, values):
        return combine(base, segments(values, place, num_segments=base.shape[0] + 1)[ALL_BUT_LAST])

    return combined


STOCK = {
    (): _written,
    ("STABLEHLO_ADD",): _combined(add, ops.segment_sum),
    ("STABLEHLO_MAXIMUM",): _combined(ops.maximum, ops.segment_max),
}
OWN = {
    ("STABLEHLO_MULTIPLY",): _combined(ops.multiply, tf.math.unsorted_segment_prod),
    ("STABLEHLO_MINIMUM",): _combined(ops.minimum, tf.math.unsorted_segment_min),
}
emits("STABLEHLO_SCATTER")(_scattering(STOCK))
computes("STABLEHLO_SCATTER")(_scattering(OWN))
