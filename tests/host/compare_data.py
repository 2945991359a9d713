"""A small network made by hand, a recording of it, and a candidate whose faults a test chooses.

# input int8 --(0) RELU--> #1 --(1) CONV_2D--> #2 --(2) ADD (#1, #2)--> #3 --(3) DEQUANTIZE--> #4 float
# output
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from liteback.ir import Graph, Node, Quantization, Tensor
from liteback.numerics.affine import dequantize, quantize
from liteback.recording import FORMAT, Certificate, Manifest, Recording, RecordingWriter

SHAPE = (1, 4, 10)
SCALES = {0: 0.1, 1: 0.1, 2: 0.2, 3: 0.25}
Fault = Callable[[np.ndarray], np.ndarray]


def a_tensor(index: int, dtype: str = "int8", scale: float | None = None, zero_point: int = 0) -> Tensor:
    quantization = scale and Quantization(np.float32([scale]), np.array([zero_point], np.int64))
    return Tensor(index, f"t{index}", dtype, SHAPE, SHAPE, quantization or None)


GRAPH = Graph(
    index=0,
    name="main",
    tensors=(*(a_tensor(i, "int8", scale) for i, scale in SCALES.items()), a_tensor(4, "float32")),
    nodes=(
        Node(0, "RELU", (0,), (1,)),
        Node(1, "CONV_2D", (1,), (2,)),
        Node(2, "ADD", (1, 2), (3,)),
        Node(3, "DEQUANTIZE", (3,), (4,)),
    ),
    inputs=(0,),
    outputs=(4,),
)

REAL: Mapping[int, Callable[..., np.ndarray]] = {
    0: lambda x: np.maximum(x, 0),
    1: lambda x: x * np.linspace(-1.5, 1.5, 10, dtype=np.float32) + 0.01,
    2: lambda x, y: x + y,
    3: lambda x: x,
}


def run(codes: np.ndarray) -> dict[int, np.ndarray]:
    """The "device": every tensor's codes."""
    values = {0: codes}
    for node in GRAPH.nodes:
        out = GRAPH.tensors[node.outputs[0]]
        real = REAL[node.index](*(real_value(t, values[t]) for t in node.inputs))
        values[out.index] = quantize(real, out.quantization, out.dtype) if out.quantization else real
    return values


def real_value(index: int, array: np.ndarray) -> np.ndarray:
    quantization = GRAPH.tensors[index].quantization
    return array if quantization is None or array.dtype.kind == "f" else dequantize(array, quantization)


class FakeTwin:
    """Computes in real values what the device computes in codes.

    faults: tensor index -> what befalls its value. hidden: tensors it does not show.
    """

    name = "twin"
    numerics = "float"
    layers: Mapping[str, str] = {}

    def __init__(self, faults: Mapping[int, Fault] | None = None, hidden: frozenset[int] = frozenset()) -> None:
        self._faults = faults or {}
        self._hidden = hidden

    def cumulative(self, inputs: Mapping[int, Any]) -> dict[int, Any]:
        values = {t: real_value(t, array) for t, array in inputs.items()}
        return self._run(values, values)

    def isolated(self, device: Mapping[int, Any]) -> dict[int, Any]:
        return self._run({t: real_value(t, array) for t, array in device.items()}, {})

    def _run(self, sources: Mapping[int, Any], shown: dict[int, Any]) -> dict[int, Any]:
        for node in GRAPH.nodes:
            out = node.outputs[0]
            value = REAL[node.index](*(sources[t] for t in node.inputs))
            shown[out] = self._faults.get(out, lambda v: v)(value)
        return {t: v for t, v in shown.items() if t not in self._hidden}


def record(path: Path, samples: int = 2, tensors: tuple[int, ...] = (1, 2, 3, 4), **settings: Any) -> Recording:
    """A complete, certified recording of GRAPH, made without a board. settings: fields of the manifest."""
    model = b"a model"
    values = {
        "format": FORMAT,
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "created": "2026-01-02T03:04:05Z",
        "board": {"board": "Raspberry Pi 4 Model B", "hostname": "pi4", "machine": "aarch64"},
        "runtime": "tflite_runtime",
        "runtime_version": "2.14.0",
        "kernels": "default",
        "delegate": "",
        "threads": 1,
        "agent_version": "0.1.0",
        "inputs": "RANDOM numbers, seed 0",
        "samples": samples,
        "passes": (tensors,),
    }
    writer = RecordingWriter.create(path, model, Manifest(**{**values, **settings}))
    for sample in range(samples):
        codes = np.random.default_rng(sample).integers(-100, 100, SHAPE).astype(np.int8)
        device = run(codes)
        writer.write_inputs(sample, {0: codes})
        writer.write(sample, 0, {t: device[t] for t in tensors}, 1_000_000)
    return writer.finish(Certificate(samples, True, (), True, True))
