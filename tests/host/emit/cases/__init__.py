"""The cases, one file for each file of `emit/ops`."""

from __future__ import annotations

import importlib
import pkgutil

CASES = [
    case
    for module in pkgutil.iter_modules(__path__)
    for case in importlib.import_module(f"{__name__}.{module.name}").CASES
]
