"""Bring a TensorFlow Lite model back to Keras, and prove it on the board it runs on.

import liteback

model = liteback.reconstruct("model.tflite")                 # a trainable keras.Model
with liteback.connect("local") as board:                     # or "pi@raspberrypi"
    recording = board.capture("model.tflite", "inputs.npz", "recording")
print(liteback.compare("model.tflite", recording).to_pandas())
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteback.api import calibrate, compare, prove, reconstruct
    from liteback.emit.state import reset_state
    from liteback.errors import LitebackError
    from liteback.export.patch import patch
    from liteback.inspection import inspect
    from liteback.recording import Recording
    from liteback.session.board import connect
    from liteback.twin import load_model

__version__ = "0.1.0"

# Where each public name lives. Loaded on first use, so that `liteback inspect` need not wait for TensorFlow.
_HOMES = {
    "LitebackError": "errors",
    "Recording": "recording",
    "calibrate": "api",
    "compare": "api",
    "connect": "session.board",
    "inspect": "inspection",
    "load_model": "twin",
    "patch": "export.patch",
    "prove": "api",
    "reconstruct": "api",
    "reset_state": "emit.state",
}
__all__ = [
    "LitebackError",
    "Recording",
    "calibrate",
    "compare",
    "connect",
    "inspect",
    "load_model",
    "patch",
    "prove",
    "reconstruct",
    "reset_state",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'liteback' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if "keras" in sys.modules and sys.modules["keras"].backend.backend() == "tensorflow":
    import_module(".twin", __name__)  # `keras.models.load_model` is to know our layers; it is loaded already
