"""What a .tflite file is, and what will and will not come back. Needs no TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .emit.verdict import problems
from .errors import Problem
from .files import read_model
from .ir import ABSENT, CODE_RANGE, PACKED_BITS, Graph, Model, Node, Tensor
from .lift import lift
from .numerics.coverage import uncovered
from .passes import simplify, simplify_all

# Operators that multiply with a weight: their types tell how a file is quantized.
_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D", "BATCH_MATMUL")


@dataclass(frozen=True)
class Inspection:
    """A file's graph, its quantization, and the verdict."""

    model: Model
    quantization: str
    unsupported: tuple[Problem, ...]
    inexact: tuple[Problem, ...]  # what has no exact kernel

    @property
    def numerics(self) -> tuple[str, ...]:
        """The numerics that it reconstructs in; `exact` only where there are codes to be equal in."""
        if self.unsupported:
            return ()
        coded = any(t.is_quantized and t.dtype in CODE_RANGE for g in self.model.graphs for t in g.tensors)
        return ("float", "fakequant", "exact") if coded and not self.inexact else ("float", "fakequant")

    @property
    def ops(self) -> dict[str, int]:
        """Operator -> how often, over all subgraphs, the most frequent first."""
        return dict(Counter(n.op for g in self.model.graphs for n in g.nodes).most_common())

    @property
    def capture_bytes(self) -> int:
        """What one sample's node outputs of the main subgraph take."""
        main = self.model.main
        return sum(main.tensors[t].nbytes for n in simplify(main).nodes for t in n.outputs if t != ABSENT)

    @property
    def constant_bytes(self) -> int:
        return sum(t.data.nbytes for g in self.model.graphs for t in g.tensors if t.data is not None)

    def to_json(self) -> dict[str, Any]:
        model, main = self.model, self.model.main
        return {
            "sha256": model.sha256,
            "bytes": model.size,
            "description": model.description,
            "subgraphs": len(model.graphs),
            "nodes": sum(len(g.nodes) for g in model.graphs),
            "ops": self.ops,
            "quantization": self.quantization,
            "inputs": [_tensor_json(main.tensors[t]) for t in main.inputs],
            "outputs": [_tensor_json(main.tensors[t]) for t in main.outputs],
            "signatures": [
                {"key": s.key, "subgraph": s.graph, "inputs": dict(s.inputs), "outputs": dict(s.outputs)}
                for s in model.signatures
            ],
            "metadata": list(model.metadata),
            "constant_bytes": self.constant_bytes,
            "capture_bytes_per_sample": self.capture_bytes,
            "reconstructs": not self.unsupported,
            "numerics": list(self.numerics),
            "unsupported": [asdict(p) for p in self.unsupported],
            "inexact": [asdict(p) for p in self.inexact],
            "graphs": [_graph_json(g) for g in model.graphs],
        }


def inspect(model: str | Path | bytes) -> Inspection:
    """Read a .tflite file.

    Raises:
        UsageError: there is no such file.
        InvalidModel: it is damaged.
    """
    lifted = lift(read_model(model))
    found = tuple(p for g in simplify_all(lifted.graphs) for p in problems(g))
    inexact = tuple(p for g in simplify_all(lifted.graphs, codes=True) for p in uncovered(g))
    return Inspection(lifted, quantization_scheme(lifted), found, inexact)


def quantization_scheme(model: Model) -> str:
    """How a file is quantized, in the words of TensorFlow Lite's converter."""
    schemes = {scheme for graph in model.graphs for scheme in _schemes(graph)}
    schemes.discard("")
    # A file with per-channel convolutions has its FULLY_CONNECTED weights per tensor: that is one scheme.
    schemes -= {s.replace("per-channel", "per-tensor") for s in schemes if "per-channel" in s}
    if len(schemes) == 1:
        return schemes.pop()
    if schemes:
        return "mixed: " + ", ".join(sorted(schemes))
    quantized = any(t.is_quantized and t.dtype != "int32" for g in model.graphs for t in g.tensors)
    return "quantized, no weights" if quantized else "none"


def _schemes(graph: Graph) -> Iterator[str]:
    producers = graph.producers()
    for node in graph.nodes:
        if node.op in _WEIGHTED and len(node.inputs) >= 2 and ABSENT not in node.inputs[:2]:
            yield _scheme(graph, producers, *(graph.tensors[t] for t in node.inputs[:2]))


def _scheme(graph: Graph, producers: Mapping[int, Node], x: Tensor, w: Tensor) -> str:
    """The scheme of an operator that multiplies x with the weight w, or "" where w is computed."""
    if w.data is None:
        producer = producers.get(w.index)
        if producer is None or producer.op != "DEQUANTIZE" or producer.inputs[:1] in ((), (ABSENT,)):
            return ""
        stored = graph.tensors[producer.inputs[0]]
        return "float16 weights" if stored.dtype == "float16" else f"{stored.dtype} weights only"
    if w.quantization is None:
        return "float32"
    granularity = "per-channel" if w.quantization.per_channel else "per-tensor"
    if x.dtype == "float32":
        return f"dynamic-range {w.dtype} {granularity}"
    if x.dtype == "int16":
        return f"int16x8 {granularity}"
    narrow = f", {w.dtype} weights" if w.dtype in PACKED_BITS else ""
    return f"full {x.dtype}{narrow} {granularity}"


def _tensor_json(tensor: Tensor) -> dict[str, Any]:
    quantization = None
    if tensor.quantization is not None:
        q = tensor.quantization
        quantization = {"scale": q.scale.tolist(), "zero_point": q.zero_point.tolist(), "axis": q.axis}
    return {
        "tensor": tensor.index,
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": list(tensor.shape_signature),
        "bytes": tensor.nbytes,
        "constant": tensor.is_constant,
        "quantization": quantization,
    }


def _graph_json(graph: Graph) -> dict[str, Any]:
    return {
        "name": graph.name,
        "nodes": [
            {
                "node": n.name,
                "op": n.op,
                "inputs": list(n.inputs),
                "outputs": list(n.outputs),
                "activation": n.activation,
            }
            for n in graph.nodes
        ],
        "tensors": [_tensor_json(t) for t in graph.tensors],
    }
