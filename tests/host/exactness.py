"""Whether the exact twin is the device, element by element."""

from __future__ import annotations

from liteback.comparison.compare import compare
from liteback.comparison.result import MODES
from liteback.emit.build import emit
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile
from liteback.recording import Recording
from liteback.twin import KerasTwin


def differing(recording: Recording, profile: KernelProfile) -> dict[str, float]:
    """mode and node -> the share of codes that differ, where any does."""
    model = lift(recording.model_bytes())
    twin = KerasTwin.of(emit(model, "exact", profile=profile))
    comparison = compare(model.main, recording, twin)
    quantized = [row for row in comparison.rows if row.tensor.is_quantized]
    assert quantized
    found = {}
    for row in quantized:
        for mode in MODES:
            metrics = getattr(row, mode)
            assert metrics is not None, f"{row.node} was not compared"
            if metrics.lsb_max != 0:
                found[f"{mode} {row.node}"] = metrics.lsb_differ
    return found
