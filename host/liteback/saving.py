"""Writing a reconstruction to disk: .keras, .h5, or a SavedModel."""

from __future__ import annotations

import logging
import math
import os
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from keyword import kwlist
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from liteback.emit.emission import Emission
from liteback.errors import MACHINE_DENIES, UsageError
from liteback.files import check_file, check_folder
from liteback.ir import Graph

_SERVED = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")  # what TensorFlow takes as the name of an operation
_RESERVED = frozenset({*kwlist, "self"})  # what a function of Python, or TensorFlow's own, cannot call an input
_HDF5_GROUP = 8 << 10  # bytes, at most, that a file takes for each layer and variable beside its numbers
NO_SIGNATURES: Mapping[str, Emission] = {}


def save(emission: Emission, path: Path, signatures: Mapping[str, Emission] = NO_SIGNATURES) -> None:
    """Write the model in the format its name asks for: .keras, .h5 / .hdf5, or a folder (SavedModel).

    Written beside and renamed: `path` never holds half a model. signatures: for a SavedModel, the models behind the
    file's own signatures; `emission` is the one behind `serving_default`.

    Raises:
        UsageError: the ending is none of these, the format cannot hold the model, or `path` cannot be written.
    """
    check_output(path)
    writer = _WRITERS.get(path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _beside(path) as fresh:
            if writer is not None:
                writer(emission, fresh)
            else:
                _write_saved_model({"serving_default": emission, **signatures}, fresh)
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        if isinstance(error, OSError) or _denied(error):
            raise UsageError(f"Cannot write {str(path)!r}: {_denied(error) or error}.") from error
        raise


def _denied(error: Exception) -> str | None:
    """What the machine denies, in its own words: HDF5 and TensorFlow put theirs around these, in errors of any kind."""
    return next((words for words in map(os.strerror, MACHINE_DENIES) if words in str(error)), None)


def check_output(path: Path) -> None:
    """What `save` asks of a path, to be asked before there is a model. Raises: UsageError."""
    if not path.suffix:
        check_folder(path, "a SavedModel", "saved_model.pb")
    elif path.suffix in _WRITERS:
        check_file(path)
    else:
        raise UsageError(
            f"The ending says the format: .keras, .h5, or none for a SavedModel folder. Received: {path.name!r}."
        )


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A path of the same ending in a folder beside `path`; what is there afterwards takes `path`'s place."""
    with tempfile.TemporaryDirectory(prefix=f".{path.stem[:40]}.", dir=path.parent) as folder:
        fresh = Path(folder) / f"model{path.suffix}"
        yield fresh
        if path.is_dir():
            shutil.move(path, Path(folder) / "replaced")
        fresh.replace(path)


def _write_keras(emission: Emission, path: Path) -> None:
    """What `model.save` writes; that keeps all weights in memory once more, and this does not.

    The parts stay beside `path`, in the folder that `_beside` removes.
    """
    folder = path.with_suffix("")
    _reserve(path, emission.model)
    keras.saving.save_model(emission.model, folder, zipped=False)
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(part, part.relative_to(folder))


def _write_h5(emission: Emission, path: Path) -> None:
    if emission.keras_ops:
        listed = ", ".join(emission.keras_ops[:5])
        raise UsageError(
            f"The .h5 format holds layers only; this model also needs {len(emission.keras_ops)} operations of "
            f"keras.ops ({listed}{', ...' if len(emission.keras_ops) > 5 else ''}). Save it as .keras instead."
        )
    absl = logging.getLogger("absl")  # where Keras calls its own format old
    level = absl.level
    absl.setLevel(logging.ERROR)
    _reserve(path, emission.model)
    try:
        emission.model.save(path)
    finally:
        absl.setLevel(level)


def _reserve(path: Path, model: keras.Model) -> None:
    """Have a disk that is full say so now: HDF5, told while it closes a file, takes the whole process with it.

    Raises: OSError.
    """
    weights = sum(math.prod(variable.shape) * tf.as_dtype(variable.dtype).size for variable in model.variables)
    size = weights + _HDF5_GROUP * (len(model.variables) + len(model.layers))
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in MACHINE_DENIES:  # else the file system does not know how to reserve
                raise
    path.unlink()


_WRITERS: Mapping[str, Callable[[Emission, Path], None]] = {
    ".keras": _write_keras,
    ".h5": _write_h5,
    ".hdf5": _write_h5,
}


def _write_saved_model(endpoints: Mapping[str, Emission], path: Path) -> None:
    archive = keras.export.ExportArchive()
    for model in {id(e.model): e.model for e in endpoints.values()}.values():
        archive.track(model)
    for key, emission in endpoints.items():
        inputs, _ = interface_names(emission.graph)
        tensors = zip(emission.model.inputs, inputs, strict=True)
        specs = [tf.TensorSpec(x.shape, x.dtype, name=name) for x, name in tensors]
        archive.add_endpoint(key, _serving(emission), input_signature=specs)
    archive.write_out(str(path), verbose=False)


def _serving(emission: Emission) -> Callable[..., dict[str, Any]]:
    """A model as a function from its inputs, in order, to its outputs by name."""

    def serve(*tensors: Any) -> dict[str, Any]:
        results = emission.model(tensors[0] if len(tensors) == 1 else list(tensors))
        results = results if isinstance(results, (list, tuple)) else [results]
        return dict(zip(interface_names(emission.graph)[1], results, strict=True))

    return serve


def interface_names(graph: Graph) -> tuple[list[str], list[str]]:
    """The names of a graph's inputs and outputs as a SavedModel's signature takes them, each once.

    Those of the file's signature stay as they are where TensorFlow takes them. A tensor's name is a converter's: of
    that, what Python could call a variable. In Python, where a signature is a function, the input `x.1` is the keyword
    `x_1`; there, what differs in upper and lower case alone is the same, too.
    """
    inputs = _served([graph.tensors[t].name for t in graph.inputs], "input", graph.input_names)
    outputs = _served([graph.tensors[t].name for t in graph.outputs], "output", graph.output_names)
    return _distinct(inputs, lambda name: keyword(name).lower(), _RESERVED), _distinct(outputs, str)


def keyword(name: str) -> str:
    """What TensorFlow calls a signature's input in Python: `x_1` for `x.1`, `arg_1x` for `1x`."""
    plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return f"arg_{plain}" if plain[:1].isdigit() else plain


def _served(tensors: Sequence[str], kind: str, own: Sequence[str]) -> list[str]:
    names = [_identifier(name) or f"{kind}_{k}" for k, name in enumerate(own or tensors)]
    return [name if _SERVED.fullmatch(name) else plain for name, plain in zip(own or names, names, strict=True)]


def _distinct(names: Sequence[str], form: Callable[[str], str], reserved: Collection[str] = ()) -> list[str]:
    """The names with a number behind those that occur twice in some form, or are reserved."""
    times = Counter(map(form, names))
    taken = {f for f in times if times[f] == 1}
    distinct = []
    for k, name in enumerate(names):
        if times[form(name)] > 1 or name in reserved:
            name = next(free for n in count(k) if form(free := f"{name}_{n}") not in taken)
            taken.add(form(name))
        distinct.append(name)
    return distinct


def _identifier(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name.removesuffix(":0")).strip("_")
