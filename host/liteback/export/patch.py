"""Write a model's weights back into the .tflite file it came from, in place.

Nothing but the bytes of changed constants is touched: operators, names, signatures, metadata, scales and every offset
stay, and unchanged weights give the identical file. Each changed element becomes code = round(w / scale) + zero_point
at the scale the file records; an element that was not changed keeps its code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback import packing
from liteback.calls import once, reachable
from liteback.emit.build import emit
from liteback.emit.emission import Binding, Emission, check_functional, layer_at, numerics_of
from liteback.emit.names import model_name
from liteback.errors import UsageError
from liteback.export.buffers import Buffers
from liteback.files import read_model
from liteback.flatbuffer.parse import parse
from liteback.ir import CODE_RANGE, PACKED_BITS, Graph, Model, Quantization, Tensor
from liteback.lift import lift
from liteback.numerics.affine import quantize
from liteback.passes.signed_weights import signed_weights
from liteback.sparse import positions
from liteback.words import counted

WRITABLE = frozenset({"float16", "float32", "float64", *CODE_RANGE, "int32", "int64"})


@dataclass(frozen=True)
class Change:
    """A constant that got new values.

    moved: elements that the model has another real value of. changed: those whose code, or number, is another in the
    file; a move of less than half a step changes none. clipped: those beyond the range of the recorded scale,
    or of a float16 constant.
    """

    tensor: int
    name: str
    layer: str
    elements: int
    moved: int
    changed: int
    clipped: int


@dataclass(frozen=True)
class Patched:
    """The new file, and which weights are no longer what `reconstruct` gave."""

    data: bytes
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        return f"<Patched: {counted(len(self.data), 'byte')}, {counted(len(self.changed), 'constant')} changed>"

    @property
    def changed(self) -> tuple[Change, ...]:
        """The constants that are different in the file."""
        return tuple(c for c in self.changes if c.changed)


def patch(model: Any, original: str | Path | bytes) -> Patched:
    """Write the weights of `model`, a reconstruction of `original`, back into its bytes: `data` of what is returned.

    model: a keras.Model that `reconstruct` made, trained further or not. original: the path of the .tflite file, or its
    bytes. The file itself stays as it is.

    Raises:
        UsageError: the model is no reconstruction of that file, or the file has no room for what its weights are now.
        InvalidModel, UnsupportedModel: see `reconstruct`.
    """
    check_functional(model)
    flat = parse(read_model(original))
    lifted = lift(flat)
    lifted = replace(lifted, graphs=tuple(map(signed_weights, lifted.graphs)))  # as they are read, so they are written
    built = _built(model, lifted)
    bindings = [b for b in built.bindings if _layer(built.model, b.layer) is not None]  # without what no output needs
    layers = {b.layer: layer for b in bindings if (layer := _layer(model, b.layer)) is not None}
    _check(bindings, layers)
    buffers, changes = Buffers(flat), list[Change]()
    for binding in bindings:
        variable = layers[binding.layer].weights[binding.position]
        changes += _write(buffers, lifted.graphs[binding.weight.graph], binding, np.asarray(variable))
    buffers.keep_others(_run(lifted, built.graph))
    return Patched(buffers.written(), tuple(changes))


def _run(lifted: Model, root: Graph) -> list[Graph]:
    """The file's graphs that run when `root`, one of them or as a signature has it, does."""
    graphs = list(lifted.graphs)
    graphs[root.index] = replace(graphs[root.index], outputs=root.outputs)
    used = reachable(graphs, root.index)
    return used + once(graphs, used)


def _built(model: Any, lifted: Model) -> Emission:
    """What `reconstruct` gave for `model`: of the signatures it may be, the one whose layers it has."""
    numerics, layers = numerics_of(model), _with_weights(model)
    first, *others = _signatures(model, lifted)
    built = emit(lifted, numerics, first)
    if others and _with_weights(built.model) != layers:
        emissions = (emit(lifted, numerics, key) for key in others)
        return next((e for e in emissions if _with_weights(e.model) == layers), built)
    return built


def _signatures(model: Any, lifted: Model) -> list[str | None]:
    """The signatures that `model` may have been built of; None: the main graph as it is.

    A model's name says its graph. Signatures of the same outputs give the same layers: the first stands for all.
    """
    graph = next((g for g in lifted.graphs if g.index and model.name == model_name(g)), lifted.main)
    found: dict[frozenset[int], str | None] = {}
    if graph is lifted.main:
        found[frozenset(graph.outputs)] = None
    for signature in lifted.signatures:
        if signature.graph == graph.index:
            found.setdefault(frozenset(signature.outputs.values()), signature.key)
    return list(found.values()) or [None]


def _with_weights(model: Any) -> set[str]:
    return {layer.name for layer in model.layers if layer.weights}


def _layer(model: Any, path: str) -> Any:
    try:
        return layer_at(model, path)
    except (ValueError, AttributeError):
        return None


def _check(bindings: Sequence[Binding], layers: dict[str, Any]) -> None:
    problems = []
    for b in bindings:
        weights = layers[b.layer].weights if b.layer in layers else ()
        if b.position >= len(weights):
            problems.append(f"{b.layer} is missing")
        elif tuple(weights[b.position].shape) != b.weight.shape:
            problems.append(f"{b.layer}: shape {tuple(weights[b.position].shape)} for {b.weight.shape}")
    problems = list(dict.fromkeys(problems))  # a layer may have several weights
    if problems:
        raise UsageError(
            f"The model is no reconstruction of this .tflite file: {'; '.join(problems[:5])}"
            f"{' and more' if len(problems) > 5 else ''}. Layers keep the names and shapes that they came back with."
        )


def _write(buffers: Buffers, graph: Graph, binding: Binding, variable: NDArray[Any]) -> list[Change]:
    """Put one variable's codes into the file's buffers; what that changes, nothing if it is what it was."""
    tensor = _stored(graph, binding)
    new = binding.weight.restore(variable)
    touched = new != binding.weight.restore(np.asarray((binding.made_of or binding.weight).value))
    if not touched.any():
        buffers.put(graph, tensor.index, binding.layer, None)
        return []
    if tensor.data is None or tensor.dtype not in WRITABLE:
        raise UsageError(f"{binding.layer}: weights of type {tensor.dtype} cannot be written back in place.")
    if not np.isfinite(new).all():
        raise UsageError(f"{binding.layer}: its new weights hold NaN or infinity. Did the training diverge?")
    coded = encode(new, tensor.dtype, binding.weight.quantization)  # the kernel's scale for a bias: bias_scale.py
    # In the shape that the file gives a bias, which may be any: flat_bias.py.
    codes, clipped, touched = (array.reshape(tensor.data.shape) for array in (*coded, touched))
    merged = np.where(touched, codes, tensor.data).astype(tensor.data.dtype)
    counts = [int(elements.sum()) for elements in (touched, merged != tensor.data, clipped & touched)]
    if tensor.is_sparse:
        merged = _kept(merged, tensor, buffers.described(graph, tensor.index).sparsity, binding.layer)
    buffers.put(graph, tensor.index, binding.layer, pack(merged, tensor.dtype))
    return [Change(tensor.index, tensor.name, binding.layer, tensor.data.size, *counts)]


def _stored(graph: Graph, binding: Binding) -> Tensor:
    """The constant of the file that a variable came from: the input of a folded DENSIFY or DEQUANTIZE or both."""
    index, producers = binding.weight.tensor, graph.producers()
    while index in producers:
        index = producers[index].inputs[0]
    return graph.tensors[index]


def _kept(codes: NDArray[Any], tensor: Tensor, sparsity: Any, layer: str) -> NDArray[Any]:
    """The elements of a sparse constant that the file stores, in its order."""
    places = positions(tensor.shape, sparsity)
    zeros = np.ones(codes.size, np.bool_)
    zeros[places] = False
    changed = int(np.count_nonzero(codes.reshape(-1)[zeros]))
    if changed:
        raise UsageError(
            f"{layer}: the file stores its weights sparse, {len(places)} of {codes.size}, and the model has {changed} "
            "others that are no longer zero. Variables of a model fresh from `reconstruct` keep their zeros while they "
            "train, those of one loaded from disk do not: set them to zero again, or freeze the layer."
        )
    return codes.reshape(-1)[places]


def encode(real: NDArray[Any], dtype: str, grid: Quantization | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Real values as the file stores them, and which of them its range clips. grid: None for floating point."""
    if grid is None:
        return _in_floats(real, dtype)
    codes = quantize(real, grid, dtype)
    low, high = CODE_RANGE.get(dtype, (None, None))
    if low is None or high is None:
        return codes, np.zeros(real.shape, np.bool_)
    if dtype == "int8" and not grid.zero_point.any():
        low = -127  # symmetric weights: the kernels' int16 products must not meet -128 * -128
        codes = np.maximum(codes, np.int8(low))
    scale, zero_point = grid.along(real.ndim)
    steps = real / scale + zero_point
    return codes, (steps < low - 0.5) | (steps > high + 0.5)


def _in_floats(real: NDArray[Any], dtype: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Real values as floating-point numbers of a type, and which of them would be infinite there."""
    with np.errstate(over="ignore"):
        stored = real.astype(dtype)
    beyond = ~np.isfinite(stored)
    return np.where(beyond, np.copysign(np.finfo(dtype).max, stored), stored), beyond


def pack(codes: NDArray[Any], dtype: str) -> bytes:
    """A constant's bytes as the file holds them."""
    if dtype in PACKED_BITS:
        return packing.pack(codes, PACKED_BITS[dtype])
    return codes.astype(codes.dtype.newbyteorder("<")).tobytes()
