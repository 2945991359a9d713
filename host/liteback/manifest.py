"""What a recording says of itself: what ran where, how, on which inputs, and whether it counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from liteback.errors import UsageError

FORMAT = 1


@dataclass(frozen=True)
class Certificate:
    """Whether the taps left alone what they measure.

    outputs_equal: in every pass and sample the tapped model's outputs have the bits of the untouched model's.
    differing: names of the outputs that do not. shared_equal: tensors that two passes captured agree by hash.
    deterministic: the untouched model, run again, gives the same bits.
    """

    samples: int
    outputs_equal: bool
    differing: tuple[str, ...]
    shared_equal: bool
    deterministic: bool

    @property
    def good(self) -> bool:
        return self.samples > 0 and self.outputs_equal and self.shared_equal and self.deterministic

    @property
    def problem(self) -> str:
        """What the certificate lacks, and what to do, in sentences; empty where it is good."""
        if self.good:
            return ""
        if not self.deterministic:
            return (
                "the model does not repeat itself: untouched, run again on the same inputs, it gave other bits. "
                "If it draws random numbers, no layer can be compared; else try --threads 1, or --kernels reference."
            )
        differing = f" (the output {', '.join(self.differing)} has other bits)" if self.differing else ""
        return (
            f"the taps changed what they measure{differing}. "
            "Capture anew with --kernels builtin, or tap fewer tensors with --select."
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "differing": list(self.differing), "good": self.good}


@dataclass(frozen=True)
class Manifest:
    """What ran where, how and on what.

    inputs: where the inputs came from, in words. passes: the tensor indices that each pass captures.
    untappable: (name, reason). invoke_ns: one number per sample for "plain" and for each pass ("0", "1",
    ...). files: name -> sha256.
    """

    format: int
    model_sha256: str
    created: str
    board: Mapping[str, Any]
    runtime: str
    runtime_version: str
    kernels: str
    delegate: str
    threads: int
    agent_version: str
    inputs: str
    samples: int
    passes: tuple[tuple[int, ...], ...]
    untappable: tuple[tuple[str, str], ...] = ()
    certificate: Certificate | None = None
    invoke_ns: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**values, "certificate": self.certificate.to_json() if self.certificate else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Manifest:
        """Raises: UsageError when `values` are not a manifest, or one of another format."""
        try:
            if values["format"] != FORMAT:
                raise UsageError(
                    f"This liteback reads recordings of format {FORMAT}. Received: {values['format']!r}. "
                    "Record again, or use the liteback that made it."
                )
            return cls(**{f.name: _READERS[f.type](values[f.name]) for f in fields(cls)})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"A manifest has every field in its own type. Received: {error!r}.") from None


def _certificate(values: Any) -> Certificate | None:
    if values is None:
        return None
    fields_ = {f.name: values[f.name] for f in fields(Certificate)}
    return Certificate(**{**fields_, "differing": tuple(map(str, fields_["differing"]))})


# By the field's annotation, which `from __future__ import annotations` keeps as text.
_READERS: Mapping[Any, Any] = {
    "int": int,
    "str": str,
    "Mapping[str, Any]": lambda v: dict(v.items()),
    "Mapping[str, str]": lambda v: {str(k): str(x) for k, x in v.items()},
    "Mapping[str, tuple[int, ...]]": lambda v: {str(k): tuple(map(int, x)) for k, x in v.items()},
    "tuple[tuple[int, ...], ...]": lambda v: tuple(tuple(map(int, x)) for x in v),
    "tuple[tuple[str, str], ...]": lambda v: tuple((str(name), str(reason)) for name, reason in v),
    "Certificate | None": _certificate,
}
