"""What a .tflite file is, and what will and will not come back. Needs no TensorFlow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from liteback.calls import once, reachable
from liteback.emit.verdict import problems, unassigned
from liteback.errors import Problem
from liteback.files import read_model
from liteback.ir import ABSENT, CODE_RANGE, PACKED_BITS, Graph, Model, Node, Tensor
from liteback.lift import lift
from liteback.numerics.coverage import uncovered
from liteback.passes import simplify, simplify_all
from liteback.passes.settled_variables import settled_variables
from liteback.words import counted

# Operators that multiply with a weight, and which inputs are the one and the other: their types tell how a file is
# quantized.
_WEIGHTED = dict.fromkeys(("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "CONV_3D", "BATCH_MATMUL"), (0, 1))
_WEIGHTED |= dict.fromkeys(("TRANSPOSE_CONV", "CONV_3D_TRANSPOSE"), (2, 1))


@dataclass(frozen=True)
class Inspection:
    """A file's graph, its quantization, and the verdict."""

    model: Model
    quantization: str
    unsupported: tuple[Problem, ...]  # of the main graph
    inexact: tuple[Problem, ...]  # what has no exact kernel there
    refused: Mapping[str, tuple[Problem, ...]]  # signatures of other graphs that do not reconstruct -> why

    def __repr__(self) -> str:
        nodes = counted(sum(self.ops.values()), "operator")
        verdict = f"reconstructs in {', '.join(self.numerics)}" if self.numerics else "does not reconstruct"
        return f"<Inspection of {self.model.sha256[:16]}: {nodes}, quantization: {self.quantization}; {verdict}>"

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
        """What one sample's node outputs of the main subgraph take; extents that the file leaves free count as 1."""
        return sum(t.nbytes for t in self._captured())

    @property
    def free_extents(self) -> bool:
        """Whether a sample may take more: an extent behind the first, which counts samples, is free."""
        return any(-1 in t.shape_signature[1:] for t in self._captured())

    def _captured(self) -> list[Tensor]:
        main = self.model.main
        return [main.tensors[t] for n in simplify(main).nodes for t in n.outputs if t != ABSENT]

    @property
    def constant_bytes(self) -> int:
        return sum(t.data.nbytes for g in self.model.graphs for t in g.tensors if t.data is not None)

    def to_json(self) -> dict[str, Any]:
        """What `liteback inspect --json` prints."""
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
                {
                    "key": s.key,
                    "subgraph": s.graph,
                    "inputs": dict(s.inputs),
                    "outputs": dict(s.outputs),
                    "unsupported": [asdict(p) for p in self.refused.get(s.key, ())],
                }
                for s in model.signatures
            ],
            "metadata": list(model.metadata),
            "constant_bytes": self.constant_bytes,
            "capture_bytes_per_sample": self.capture_bytes,
            "free_extents": self.free_extents,
            "reconstructs": not self.unsupported,
            "numerics": list(self.numerics),
            "unsupported": [asdict(p) for p in self.unsupported],
            "inexact": [asdict(p) for p in self.inexact],
            "graphs": [_graph_json(g) for g in model.graphs],
        }


def inspect(model: str | Path | bytes) -> Inspection:
    """What a .tflite file is, and what of it reconstructs: its graph, its quantization, all that stands in the way.

    model: the path of the file, or its bytes. The whole graph is in `model.main` of what is returned.

    Raises:
        UsageError: there is no such file.
        InvalidModel: it is damaged.
    """
    lifted = lift(read_model(model))
    graphs = simplify_all(lifted.graphs)
    main = {g.index for g in _run_by(graphs, 0)}
    found = {g.index: problems(g) + unassigned([g], graphs) for g in graphs}
    inexact = tuple(p for g in simplify_all(lifted.graphs, codes=True) if g.index in main for p in uncovered(g))
    others = {
        s.key: [found[g.index] for g in _run_by(graphs, s.graph)] for s in lifted.signatures if s.graph not in main
    }
    refused = {key: tuple(p for each in lists for p in each) for key, lists in others.items() if any(lists)}
    unsupported = tuple(p for index in sorted(main) for p in found[index])
    return Inspection(lifted, quantization_scheme(lifted), unsupported, inexact, refused)


def _run_by(graphs: Sequence[Graph], root: int) -> list[Graph]:
    """The graphs that run when `root` does; all, where a damaged file does not tell."""
    with suppress(LookupError, TypeError, ValueError):
        used = reachable(graphs, root)
        return [*used, *once(graphs, used)]
    return list(graphs)


def quantization_scheme(model: Model) -> str:
    """How a file is quantized, in the words of TensorFlow Lite's converter."""
    schemes = {scheme for graph in settled_variables(model.graphs, (0,)) for scheme in _schemes(graph)}
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
        x, w = _WEIGHTED.get(node.op, (0, 0))
        if len(node.inputs) > max(x, w) > 0 and ABSENT not in (node.inputs[x], node.inputs[w]):
            yield _scheme(graph, producers, graph.tensors[node.inputs[x]], graph.tensors[node.inputs[w]])


def _scheme(graph: Graph, producers: Mapping[int, Node], x: Tensor, w: Tensor) -> str:
    """The scheme of an operator that multiplies x with the weight w, or "" where w is computed."""
    if w.data is None:
        producer = producers.get(w.index)
        if producer is None or producer.op != "DEQUANTIZE" or producer.inputs[:1] in ((), (ABSENT,)):
            return ""
        stored = graph.tensors[producer.inputs[0]]
        return "float16 weights" if stored.dtype == "float16" else f"{stored.dtype} weights only"
    if w.quantization is None:
        return "float16" if x.dtype == "float16" else "float32"
    channels = "per-channel" if w.quantization.per_channel else "per-tensor"
    granularity = f"in blocks of {w.quantization.block_size}" if w.quantization.block_size else channels
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
        quantization |= {"block_size": q.block_size} if q.block_size else {}
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
