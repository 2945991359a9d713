"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass

from liteback.comparison.result import Comparison
from liteback.manifest import Manifest


@dataclass(frozen=True)
class RoundTrip:
    """The new file against the old one, both run on the board.

    facts: (what, old, new) in words with units, such as ("median latency", "62.8 ms", "60.1 ms").
    comparison: the new file's tensors against the old file's. notes: further sentences.
    """

    old: str
    new: str
    comparison: Comparison | None = None
    facts: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """One comparison, the manifest of the recording it was made with, and what else was found.

    model: the file's name. notes: further sentences. gates: what broke the user's gates. exact: whether a twin has all
    of the board's codes, and the sentence that says it.
    """

    model: str
    manifest: Manifest
    comparison: Comparison
    gates: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    exact: tuple[bool, str] | None = None
    round_trip: RoundTrip | None = None
