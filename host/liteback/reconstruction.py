"""A .tflite file -> a Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from liteback.emit.build import emit
from liteback.emit.emission import Emission, Numerics
from liteback.emit.state import Memory
from liteback.errors import UnsupportedModel, UsageError
from liteback.files import read_model
from liteback.ir import Model
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile

SERVED = "serving_default"  # the signature that is called of a SavedModel where none is named


def reconstruct(
    model: str | Path | bytes,
    numerics: Numerics = "float",
    signature: str | None = None,
    profile: KernelProfile | str | Path | None = None,
) -> Any:
    """Bring a .tflite file back as a trainable `keras.Model`.

    model: the path of a .tflite file, or its bytes.
    numerics: `float`: stock Keras layers, weights dequantized; `fakequant`: the same with fake-quantization at the
    device's recorded scales between the layers. Both take and give real values (float32) where the file has codes.
    `exact`: integer arithmetic, every tensor bit-identical to what a named kernel set computes; it takes and gives
    the file's own types, and does not train.
    profile: the kernel set of `exact`, and of the activations that hybrid kernels quantize in `fakequant`: a
    `KernelProfile`, the name of one that ships (`profile.shipped()`), or the path of its JSON. None: the reference
    kernels.
    signature: the key of one of the file's signatures: its graph, with inputs and outputs in the signature's order and
    under its names. None: the main graph, with its own order and names.

    What a model remembers from call to call is kept in its `memory` layer; `liteback.reset_state(model)` puts it back
    to its initial values. Recurrent layers over whole sequences begin each one anew.

    Raises:
        UsageError: there is no such file, numerics, signature or profile.
        InvalidModel: the file is damaged.
        UnsupportedModel: with everything that stands in the way of its reconstruction.
    """
    return reconstruction(model, numerics, signature, profile).model


def reconstruction(
    model: str | Path | bytes,
    numerics: Numerics = "float",
    signature: str | None = None,
    profile: KernelProfile | str | Path | None = None,
) -> Emission:
    """`reconstruct`, with the correspondence between model and file."""
    kernels = _kernels(numerics, profile)
    return emit(lift(read_model(model)), numerics, signature, kernels)


def signature_reconstructions(
    model: str | Path | bytes, numerics: Numerics = "float", profile: KernelProfile | str | Path | None = None
) -> tuple[dict[str, Emission], dict[str, UnsupportedModel]]:
    """Signature key -> the reconstruction of its graph; `serving_default` is what a SavedModel serves by default.

    And those that do not reconstruct, as one that restores variables from a disk, with what stands in the way.

    That is what the file itself calls so, or its one signature; a file with others, or none, serves its main graph.
    What one of the models stores, the others find, as the signatures of an interpreter do.
    """
    kernels = _kernels(numerics, profile)
    source = lift(read_model(model))
    graphs = [s.graph for s in source.signatures]
    default = serving_signature(source)
    first = emit(source, numerics, default, kernels, graphs)
    found, refused = {default: first} if default else {}, dict[str, UnsupportedModel]()
    for key in (s.key for s in source.signatures if s.key not in found):
        try:
            found[key] = emit(source, numerics, key, kernels, graphs)
        except UnsupportedModel as error:
            refused[key] = error
    found[SERVED] = first
    variables: dict[str, Any] = {}
    for layer in (layer for emission in found.values() for layer in emission.model.layers):
        if isinstance(layer, Memory):
            layer.share(variables)
    return found, refused


def _kernels(numerics: str, profile: KernelProfile | str | Path | None) -> KernelProfile | None:
    """The kernel set to compute as.

    Raises:
        UsageError: there is no such numerics or profile, or the two do not go together.
    """
    if numerics not in get_args(Numerics):
        raise UsageError(f"numerics is one of {', '.join(get_args(Numerics))}. Received: {numerics!r}.")
    if profile is not None and numerics == "float":
        raise UsageError("A kernel profile is for exact and fakequant numerics. Received: 'float' with a profile.")
    if profile is None or isinstance(profile, KernelProfile):
        return profile
    if not isinstance(profile, (str, Path)):
        raise UsageError(
            "A profile is a KernelProfile, the name of one that ships, or the path of its JSON. "
            f"Received: {type(profile).__name__}."
        )
    return KernelProfile.named(profile)


def serving_signature(source: Model) -> str | None:
    """The key of the signature that a SavedModel of a file serves by default; None: its main graph as it is.

    The file's own default, or its only one.
    """
    keys = [signature.key for signature in source.signatures]
    return SERVED if SERVED in keys else keys[0] if len(keys) == 1 else None
