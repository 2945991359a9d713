"""Which kernels a board computes with: the names behind `numerics="exact"`.

    {"name": "tflite_runtime-2.14-builtin-x86_64", "runtime": "tflite_runtime", "version": "2.14", "machine": "x86_64",
     "kernels": "builtin", "delegate": "none", "variants": {"CONV_2D/int8": "half-up"}, "nodes": {"12": "double"}}

`variants` says for a class of operators (`OP/type of its first input`, or `OP`; `OP/type_int16` where it is about int16
results only) how its kernel computes; what it does not name is computed as the reference kernel does. `nodes` says it
for single nodes of one model, and comes first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from liteback.errors import UsageError
from liteback.manifest import Manifest


@dataclass(frozen=True)
class KernelProfile:
    """A kernel set by name. version: the leading numbers, "2.14". machine: as `uname -m`; "" for any."""

    name: str
    runtime: str = ""
    version: str = ""
    machine: str = ""
    kernels: str = "builtin"
    delegate: str = "none"
    variants: Mapping[str, str] = field(default_factory=dict)
    nodes: Mapping[int, str] = field(default_factory=dict)

    def variant(self, kind: str, node: int) -> str:
        """How a node computes whose operators' class is `kind`; "" for the reference's way."""
        op, _, dtype = kind.partition("/")
        names = (kind, f"{op}/{dtype.partition('_')[0]}", op)
        return self.nodes.get(node) or next((self.variants[n] for n in names if n in self.variants), "")

    def with_nodes(self, nodes: Mapping[int, str]) -> KernelProfile:
        """The same, with variants of single nodes beside those it has."""
        return replace(self, nodes={**self.nodes, **nodes})

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "nodes": {str(k): v for k, v in self.nodes.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> KernelProfile:
        """Raises: UsageError when `values` are no profile."""
        known = {f.name for f in fields(cls)}
        try:
            if not isinstance(values["name"], str) or set(values) - known:
                raise UsageError(f"A kernel profile has a name, and of {sorted(known)}. Received: {sorted(values)}.")
            variants = {str(k): str(v) for k, v in values.get("variants", {}).items()}
            nodes = {int(k): str(v) for k, v in values.get("nodes", {}).items()}
            texts = {k: str(v) for k, v in values.items() if k not in ("variants", "nodes")}
            return cls(**texts, variants=variants, nodes=nodes)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"A kernel profile has every field in its own type. Received: {error!r}.") from None

    @classmethod
    def named(cls, name: str | Path) -> KernelProfile:
        """A profile that ships with liteback, or one in a JSON file.

        Raises:
            UsageError: there is none of this name, or the file holds none.
        """
        if str(name) in shipped():
            return shipped()[str(name)]
        try:
            return cls.from_json(json.loads(Path(name).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            listed = ", ".join(sorted(shipped()))
            raise UsageError(
                f"A kernel profile is a JSON file, or one of: {listed}. Received: {str(name)!r} ({error})."
            ) from None


@cache
def shipped() -> Mapping[str, KernelProfile]:
    """The profiles that come with liteback, by name."""
    folder = resources.files(__package__) / "profiles"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    profiles = (KernelProfile.from_json(json.loads(f.read_text(encoding="utf-8"))) for f in files)
    return {p.name: p for p in profiles}


def propose(manifest: Manifest) -> KernelProfile:
    """The shipped profile that fits best to what a recording says of its board; a proposal, to be verified.

    The runtime counts first; then kernels and delegate, machine, and version. One for this machine comes before one
    for any.
    """
    kernels, delegate = _kernel_set(manifest)
    machine = str(manifest.board.get("machine", ""))

    def fit(profile: KernelProfile) -> tuple[bool, ...]:
        return (
            profile.runtime == manifest.runtime,
            profile.kernels == kernels,
            profile.delegate == delegate,
            profile.machine in ("", machine),
            manifest.runtime_version.startswith(profile.version),
            profile.machine == machine,
        )

    return max(shipped().values(), key=fit)


def _kernel_set(manifest: Manifest) -> tuple[str, str]:
    """Kernels and delegate that quantized operators get. By default, LiteRT gives them to XNNPACK; 2.14 does not."""
    delegate = manifest.delegate or "none"
    if manifest.kernels != "default" or delegate != "none":
        return manifest.kernels, delegate
    return ("default", "xnnpack") if manifest.runtime == "ai_edge_litert" else ("builtin", "none")
