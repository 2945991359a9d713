"""A path, or arrays -> Inputs."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liteback.errors import UsageError
from liteback.inputs import media
from liteback.inputs.samples import (
    Inputs,
    Mismatch,
    Sample,
    describe,
    fit_dtype,
    fit_shape,
    is_quantizing,
    open_shape,
)
from liteback.ir import CODE_RANGE, Graph, Signature, Tensor, numpy_dtype
from liteback.numerics.affine import dequantize
from liteback.words import counted, printable

Range = tuple[float, float]
Arrays = Mapping[str, NDArray[Any]]


def read_inputs(
    source: Path | str | Arrays | NDArray[Any],
    graph: Graph,
    limit: int | None = None,
    *,
    signatures: Sequence[Signature] = (),
    value_range: Range | None = None,
    sample_rate: int = 16000,
) -> Inputs:
    """The first `limit` samples (all where None) of a file, a folder or arrays, as the graph's inputs take them.

    - `.npz`: one array per input, named by tensor name, by a signature's name or `in_K`; `.npy`: the only
      input. The leading axis counts samples; the tensor's batch axis of 1 may be left out. Real numbers for a
      quantized tensor are quantized at its scale.
    - arrays in memory: a mapping as an `.npz` holds it, or the array of the only input.
    - a folder of images, for one input (1, H, W, 1 or 3): resized; uint8 and int8 tensors take the pixels as
      codes (int8: pixel - 128), unless `value_range` is given; others take the pixels scaled to `value_range`
      (default 0 to 1), quantized where the tensor is.
    - a folder of WAV files, for one input of one axis: mono at `sample_rate` per second, cut or padded; int16
      without a scale takes PCM codes, others take the waveform scaled to `value_range` (default -1 to 1).

    Raises: UsageError that lists everything that does not fit.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"The number of samples is positive. Received: {limit}.")
    path = Path(source) if isinstance(source, (str, Path)) else None
    if path is not None and path.is_dir():
        return _folder(path, graph, limit, value_range, sample_rate)
    if value_range is not None:
        given = "arrays" if path is None else path
        raise UsageError(f"An input range scales images and sounds; arrays are taken as they are. Received: {given}.")
    arrays = _in_memory(source) if path is None else _load(path)
    return _arrays(arrays, path, graph, limit, signatures)


def _arrays(
    named: Arrays, path: Path | None, graph: Graph, limit: int | None, signatures: Sequence[Signature]
) -> Inputs:
    """path: where the arrays are from; None: from memory."""
    problems: list[str] = []
    arrays = _by_position(named, graph, signatures, problems)
    samples: dict[int, list[NDArray[Any]]] = {}
    for position, array in sorted(arrays.items()):
        try:
            samples[position] = _split(array[:limit] if array.ndim else array, graph.tensors[graph.inputs[position]])
        except Mismatch as error:
            problems.append(f"{describe(graph, position)} does not take {error}")
    counts = {position: len(values) for position, values in samples.items()}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} for in_{position}" for position, count in counts.items())
        problems.append(f"every input has the same number of samples, not {listed}")
    _raise(problems, path, graph)
    quantizing = [p for p, array in arrays.items() if is_quantizing(array, graph.tensors[graph.inputs[p]])]
    count = min(counts.values())
    note = "".join(
        f", in_{p} quantized at the tensor's scale{_clipped(arrays[p][:limit], graph.tensors[graph.inputs[p]])}"
        for p in sorted(quantizing)
    )
    return Inputs(
        f"{'arrays' if path is None else printable(path.name)}, {counted(count, 'sample')}{note}",
        count,
        lambda i: {graph.inputs[p]: values[i] for p, values in samples.items()},
    )


def _clipped(array: NDArray[Any], tensor: Tensor) -> str:
    """How much of an array lies beyond the codes' range: all of it, where 0..255 is given and 0..1 was meant."""
    if tensor.quantization is None or tensor.dtype not in CODE_RANGE:
        return ""
    low, high = dequantize(np.array(CODE_RANGE[tensor.dtype]), tensor.quantization)
    half = (high - low) / (CODE_RANGE[tensor.dtype][1] - CODE_RANGE[tensor.dtype][0]) / 2
    beyond = 100 * np.mean((array < low - half) | (array > high + half))
    share = f"{beyond:.0f} %" if beyond >= 1 else "less than 1 %"
    return f" ({share} of it clipped to {low:.4g}..{high:.4g})" if beyond else ""


def _in_memory(source: Any) -> Arrays:
    """Arrays by name, as `_load` gives them. Raises: UsageError."""
    if isinstance(source, np.ndarray):
        return {"": source}
    if not isinstance(source, Mapping) or not all(isinstance(name, str) for name in source):
        raise UsageError(
            "Inputs are a path, an array, a mapping from names to arrays, or `liteback.inputs.Inputs`. "
            f"Received: {type(source).__name__}."
        )
    return {name: np.asarray(array) for name, array in source.items()}


def _load(path: Path) -> Arrays:
    """Arrays by name; the name is empty for the one array of an .npy."""
    if path.suffix not in (".npy", ".npz"):
        raise UsageError(
            "Inputs are an .npz or .npy file, or a folder of images or WAV files. "
            f"Received: {path}{'' if path.exists() else ', which does not exist'}."
        )
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return {"": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        # What numpy does not know it takes for a pickle.
        why = "it is damaged, or holds Python objects" if "pickle" in str(error) else error
        raise UsageError(f"{path} cannot be read as {path.suffix}: {why}.") from None


def _by_position(
    arrays: Arrays, graph: Graph, signatures: Sequence[Signature], problems: list[str]
) -> dict[int, NDArray[Any]]:
    """Arrays by the position of their input; adds what is missing, extra or doubled to `problems`."""
    positions = _names(graph, signatures)
    if set(arrays) == {""} and len(graph.inputs) == 1:
        return {0: arrays[""]}
    found: dict[int, NDArray[Any]] = {}
    for name, array in arrays.items():
        position = positions.get(name)
        if position is None:
            problems.append(
                f"no input is called {name!r}" if name else "one array without a name is the only input of a model"
            )
        elif position in found:
            problems.append(f"{name!r} is a second array for in_{position}")
        else:
            found[position] = array
    problems += [f"{describe(graph, p)} is missing" for p in range(len(graph.inputs)) if p not in found]
    return found


def _names(graph: Graph, signatures: Sequence[Signature]) -> dict[str, int]:
    """Every name an input goes by -> its position. A tensor name that two inputs share names neither."""
    tensor_names = [graph.tensors[t].name for t in graph.inputs]
    once = [name for name, count in Counter(tensor_names).items() if name and count == 1]
    names = {name: tensor_names.index(name) for name in once}
    for signature in signatures:
        if signature.graph == graph.index:
            names |= {n: graph.inputs.index(t) for n, t in signature.inputs.items() if t in graph.inputs}
    return names | {f"in_{k}": k for k in range(len(graph.inputs))}


def _split(array: NDArray[Any], tensor: Tensor) -> list[NDArray[Any]]:
    """The samples along the leading axis, each as the tensor takes it. Raises: Mismatch."""
    if array.ndim == 0 or len(array) == 0:
        why = "it has no samples" if array.ndim else "its leading axis counts samples"
        raise Mismatch(f"an array of shape {list(array.shape)}: {why}")
    return [fit_dtype(fit_shape(np.asarray(value), tensor), tensor) for value in array]


def _raise(problems: Sequence[str], path: Path | None, graph: Graph) -> None:
    """path: where the inputs are from; None: arrays in memory. Raises: UsageError, where there are problems."""
    if not problems:
        return
    where = "The arrays" if path is None else f"The inputs in {path}"
    expected = "\n".join(f"  {describe(graph, p)}" for p in range(len(graph.inputs)))
    listed = "\n".join(f"  - {p}" for p in problems)
    of_arrays = "\nAn array's leading axis counts samples; its name is the input's, a signature's, or in_K."
    raise UsageError(
        f"{where} do not fit the model:\n{listed}\n"
        f"The model takes, for each sample:\n{expected}{'' if path is not None and path.is_dir() else of_arrays}"
    )


def _folder(path: Path, graph: Graph, limit: int | None, value_range: Range | None, rate: int) -> Inputs:
    files = sorted(p for p in path.rglob("*") if p.is_file())
    images = [p for p in files if p.suffix.lower() in media.IMAGES][:limit]
    sounds = [p for p in files if p.suffix.lower() in media.SOUNDS][:limit]
    if bool(images) == bool(sounds):
        raise UsageError(
            f"A folder of inputs holds images ({', '.join(media.IMAGES)}) "
            f"or sounds ({', '.join(media.SOUNDS)}). Received: {path} with {'both' if images else 'neither'}."
        )
    if len(graph.inputs) != 1:
        raise UsageError(
            f"A folder feeds a model of one input. Received: a model of {len(graph.inputs)}. "
            "Put the inputs into an .npz file, one array for each."
        )
    check = media.check_image if images else media.check_sound
    _raise([problem for p in images + sounds if (problem := check(p))], path, graph)
    if images:
        return _images(path, images, graph, value_range)
    return _sounds(path, sounds, graph, value_range, rate)


def _images(path: Path, files: Sequence[Path], graph: Graph, value_range: Range | None) -> Inputs:
    tensor = graph.tensors[graph.inputs[0]]
    shape = open_shape(tensor)
    if len(shape) != 4 or shape[0] not in (1, -1) or shape[3] not in (1, 3):
        _raise(["images go to an input of shape [1, height, width, 1 or 3]"], path, graph)
    height, width, channels = shape[1:]
    as_codes = value_range is None and (not tensor.is_quantized or tensor.dtype in ("int8", "uint8"))
    as_codes = as_codes and numpy_dtype(tensor.dtype).kind in "iu"
    first_code = CODE_RANGE[tensor.dtype][0] if tensor.dtype == "int8" else 0

    def load(sample: int) -> Sample:
        pixels = media.read_image(files[sample], height, width, channels)[np.newaxis]
        if as_codes:
            return {tensor.index: (pixels.astype(np.int64) + first_code).astype(numpy_dtype(tensor.dtype))}
        return {tensor.index: _scaled(pixels / 255, value_range or (0.0, 1.0), tensor, path, graph)}

    load(0)  # what does not fit is said now, not in the middle of a capture
    form = "pixels as codes" if as_codes else _form(value_range or (0.0, 1.0), tensor)
    size = "x".join("?" if n == -1 else str(n) for n in (height, width))
    return Inputs(f"{counted(len(files), 'image')} of {printable(path.name)}/, {size}, {form}", len(files), load)


def _sounds(path: Path, files: Sequence[Path], graph: Graph, value_range: Range | None, rate: int) -> Inputs:
    tensor = graph.tensors[graph.inputs[0]]
    shape = open_shape(tensor)
    if len(shape) > 1 and shape[0] == -1:
        shape = (1, *shape[1:])
    long = [n for n in shape if n != 1]
    if len(long) > 1 or tensor.dtype == "string":
        _raise(["sounds go to an input of one axis; put features of sounds into an .npz file"], path, graph)
    length = long[0] if long else 1
    as_codes = value_range is None and tensor.dtype == "int16" and not tensor.is_quantized

    def load(sample: int) -> Sample:
        wave = media.read_sound(files[sample], length, rate)
        wave = wave.reshape([wave.size if n == length else 1 for n in shape])
        if as_codes:
            return {tensor.index: np.clip(np.round(wave * 2**15), *CODE_RANGE["int16"]).astype(np.int16)}
        return {tensor.index: _scaled((wave + 1) / 2, value_range or (-1.0, 1.0), tensor, path, graph)}

    load(0)
    form = "PCM codes" if as_codes else _form(value_range or (-1.0, 1.0), tensor)
    return Inputs(f"{counted(len(files), 'sound')} of {printable(path.name)}/, {rate} Hz, {form}", len(files), load)


def _scaled(unit: NDArray[Any], to: Range, tensor: Tensor, path: Path, graph: Graph) -> NDArray[Any]:
    """`unit` in [0, 1] scaled to the range `to`, in the tensor's dtype."""
    try:
        return fit_dtype((to[0] + (to[1] - to[0]) * unit).astype(np.float32), tensor)
    except Mismatch as error:
        _raise([f"{describe(graph, 0)} does not take {error}, as which images and sounds are read"], path, graph)
        raise


def _form(to: Range, tensor: Tensor) -> str:
    return f"scaled to {to[0]:g}..{to[1]:g}" + (", quantized at the tensor's scale" if tensor.is_quantized else "")
