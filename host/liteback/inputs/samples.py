"""Samples, and the one place where a value becomes what a tensor takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.ir import Graph, Tensor, numpy_dtype
from liteback.numerics.affine import quantize

Sample = Mapping[int, NDArray[Any]]


@dataclass(frozen=True)
class Inputs:
    """Samples for the inputs of a graph, made when they are asked for.

    description: where they come from, in words. count: how many there are. load: number of a sample ->
    {tensor index: codes in the tensor's own dtype and shape}.
    """

    description: str
    count: int
    load: Callable[[int], Sample]

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, sample: int) -> Sample:
        if not 0 <= sample < self.count:
            raise IndexError(f"There are {self.count} samples, numbered from 0. Received: sample={sample}.")
        return self.load(sample)

    def __iter__(self) -> Iterator[Sample]:
        return (self.load(sample) for sample in range(self.count))


class Mismatch(ValueError):
    """A value that a tensor does not take; the message says why, without saying where."""


def fit_shape(value: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """`value` in the tensor's shape; a batch axis of 1 is added where it is left out.

    Raises: Mismatch.
    """
    wanted = open_shape(tensor)
    left_out = value.ndim == len(wanted) - 1 and wanted[0] in (1, -1)
    whole = value[np.newaxis] if left_out else value
    if whole.ndim != len(wanted) or any(w not in (-1, n) for w, n in zip(wanted, whole.shape, strict=True)):
        raise Mismatch(f"a sample of shape {list(value.shape)}")
    return whole


def open_shape(tensor: Tensor) -> tuple[int, ...]:
    """The tensor's shape with -1 for what the data decide."""
    return tensor.shape_signature if len(tensor.shape_signature) == len(tensor.shape) else tensor.shape


def fit_dtype(value: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """`value` in the tensor's dtype: codes as they are, real numbers quantized at its scale, or a cast within
    one kind of number.

    Raises: Mismatch.
    """
    if tensor.dtype == "string":
        return _strings(value)
    dtype = numpy_dtype(tensor.dtype)
    if value.dtype == dtype:
        return np.ascontiguousarray(value)
    if value.dtype.kind == "f" and tensor.is_quantized and tensor.quantization is not None:
        if np.isnan(value).any():
            raise Mismatch("NaN, which no code stands for")
        return quantize(value, tensor.quantization, tensor.dtype)
    if value.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if value.size and not limits.min <= int(value.min()) <= int(value.max()) <= limits.max:
            codes = ": integers are codes; real numbers, as float32, are quantized" if tensor.is_quantized else ""
            raise Mismatch(f"{value.dtype} values from {value.min()} to {value.max()}{codes}")
        return value.astype(dtype)
    if value.dtype.kind == dtype.kind and dtype.kind in "fc":
        with np.errstate(over="ignore"):  # said below
            cast = value.astype(dtype)
        if not np.array_equal(np.isfinite(cast), np.isfinite(value)):
            raise Mismatch(f"{value.dtype} values beyond the range of {dtype}")
        return cast
    real = (
        ": store real numbers, scaled as in training, as float32"
        if value.dtype.kind in "iu" and dtype.kind == "f"
        else ""
    )
    raise Mismatch(f"{value.dtype} values{real}")


def is_quantizing(value: NDArray[Any], tensor: Tensor) -> bool:
    """Whether `fit_dtype` quantizes."""
    return bool(value.dtype.kind == "f" and tensor.is_quantized)


def _strings(value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.kind not in "SUO":
        raise Mismatch(f"{value.dtype} values")
    texts = [text if isinstance(text, bytes) else str(text).encode() for text in value.reshape(-1).tolist()]
    array = np.empty(len(texts), dtype=object)
    array[:] = texts
    return array.reshape(value.shape)


def describe(graph: Graph, position: int) -> str:
    """How a message names an input: its position, name, dtype and shape (? for an extent that is open)."""
    tensor = graph.tensors[graph.inputs[position]]
    shape = ", ".join("?" if n == -1 else str(n) for n in open_shape(tensor))
    return f"in_{position} {tensor.name!r}: {tensor.dtype} [{shape}]"
