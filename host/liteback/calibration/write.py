"""A calibration on disk."""

from __future__ import annotations

import json
from pathlib import Path

from liteback.calibration.calibrate import Calibration
from liteback.files import write_output
from liteback.saving import save


def write(result: Calibration, folder: Path) -> None:
    """Leave profile.json, calibration.json, and corrected.keras where a correction was kept.

    Raises:
        UsageError: the folder cannot be written.
    """
    write_output(folder / "profile.json", json.dumps(result.profile.to_json(), indent=1) + "\n")
    write_output(folder / "calibration.json", json.dumps(result.to_json(), indent=1) + "\n")
    corrected = folder / "corrected.keras"
    if result.corrections.emission is not None:
        save(result.corrections.emission, corrected)
    else:
        corrected.unlink(missing_ok=True)  # of an earlier calibration
