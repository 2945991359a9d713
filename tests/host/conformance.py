"""The single-op conformance cases: reconstruct each, run it, compare with the interpreter's recorded outputs.

As a script it prints what fails: `python tests/host/conformance.py ../shared/conformance [--grep conv] [--gaps]`.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from liteback.errors import LitebackError
from liteback.ir import CODE_RANGE, Graph, Tensor, numpy_dtype
from liteback.lift import lift
from liteback.numerics.affine import dequantize, quantize

FLOAT_TOLERANCE = 1e-5  # of the range of the expected values


@dataclass(frozen=True)
class Case:
    """A file, and what index.json says of it."""

    path: Path
    facts: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.facts["model"]).removeprefix("cases/").removesuffix(".tflite")

    @property
    def numerics(self) -> str:
        return "fakequant" if self.quantized else "float"

    @property
    def quantized(self) -> bool:
        return self.facts["quant"] not in ("none", "float16")

    def arrays(self) -> dict[str, np.ndarray]:
        """in_K: the inputs; tfl_K: what TensorFlow 2.21's interpreter gives."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=True) as archive:
            return dict(archive)


@dataclass(frozen=True)
class Verdict:
    """ok, or why not. error: LSB for quantized outputs, a share of the range for floats."""

    ok: bool
    reason: str = ""
    error: float = 0.0


def cases(folder: Path) -> Iterator[Case]:
    for facts in json.loads((folder / "index.json").read_text()):
        if not facts["nondeterministic"]:
            yield Case(folder / facts["model"], facts)


def check(case: Case) -> Verdict:
    """Reconstruct the case in the numerics of its quantization and compare every output."""
    from liteback.reconstruction import reconstruct

    arrays, graph = case.arrays(), lift(case.path.read_bytes()).main
    inputs = [_real(codes, graph.tensors[t]) for codes, t in zip(feeds(graph, arrays), graph.inputs, strict=True)]
    try:
        model = reconstruct(case.path, case.numerics)  # type: ignore[arg-type]
        outputs = model(inputs[0] if len(inputs) == 1 else inputs)
    except LitebackError as error:
        return Verdict(False, " ".join(str(error).split())[:400])
    except Exception as error:  # noqa: BLE001  a traceback is a failed case, not a failed run
        return Verdict(False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    worst = Verdict(True)
    for k, (t, value) in enumerate(zip(graph.outputs, outputs, strict=True)):
        span = float(case.facts["range"] or 0)
        verdict = _compare(np.asarray(value), arrays[f"tfl_{k}"], graph.tensors[t], span, _step(graph, t))
        worst = verdict if not verdict.ok or verdict.error > worst.error else worst
        if not worst.ok:
            return Verdict(False, f"output {k}: {worst.reason}", worst.error)
    return worst


def feeds(graph: Graph, arrays: dict[str, np.ndarray]) -> list[np.ndarray]:
    """The inputs of the graph, in order. One that no operator reads may be missing; any value will do."""
    return [arrays.get(f"in_{k}", _zeros(graph.tensors[t])) for k, t in enumerate(graph.inputs)]


def _zeros(tensor: Tensor) -> np.ndarray:
    return np.zeros(tensor.shape, numpy_dtype(tensor.dtype))


def _real(codes: np.ndarray, tensor: Tensor) -> np.ndarray:
    quantized = tensor.quantization is not None and tensor.dtype in CODE_RANGE
    return dequantize(codes, tensor.quantization) if quantized else codes  # type: ignore[arg-type]


def _step(graph: Graph, index: int) -> float:
    """The real size of one LSB where a float output is a dequantized tensor, else 0."""
    producer = graph.producers().get(index)
    source = graph.tensors[producer.inputs[0]] if producer is not None and producer.op == "DEQUANTIZE" else None
    return float(source.quantization.scale[0]) if source is not None and source.quantization is not None else 0.0


def _compare(value: np.ndarray, expected: np.ndarray, tensor: Tensor, span: float, step: float) -> Verdict:
    if value.shape != expected.shape:
        return Verdict(False, f"shape {value.shape} for {expected.shape}")
    if tensor.quantization is not None and tensor.dtype in CODE_RANGE:
        codes = quantize(value, tensor.quantization, tensor.dtype) if value.dtype.kind == "f" else value
        lsb = int(np.abs(codes.astype(np.int64) - expected.astype(np.int64)).max(initial=0))
        return Verdict(lsb <= 1, f"{lsb} LSB", lsb)
    if expected.dtype.kind not in "fc":
        same = value.astype(object) == expected.astype(object)
        return Verdict(bool(np.all(same)), f"{int(np.sum(~np.asarray(same, bool)))} of {expected.size} elements differ")
    if value.dtype != expected.dtype:
        return Verdict(False, f"dtype {value.dtype} for {expected.dtype}")
    with np.errstate(invalid="ignore"):
        same = (value == expected) | (np.isnan(value) & np.isnan(expected))
        error = np.where(same, 0.0, np.abs(value - expected)).max(initial=0)
    # Values that are all equal span nothing: then their size is the measure.
    size = span or float(np.abs(expected[np.isfinite(expected)]).max(initial=0))
    bound = max(FLOAT_TOLERANCE * size, 0.0 if span else 1e-6)
    # One LSB, and both values' own rounding to float32: 2 * 2**-24 * 2**15 steps at an int16 code's end.
    bound = max(bound, 1.004 * step)
    return Verdict(bool(error <= bound), f"error {error / (size or 1):.2e} of range", float(error / (size or 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--grep", default="", help="only cases whose name or operators contain this")
    parser.add_argument("--quiet", action="store_true", help="only the summary")
    options = parser.parse_args()
    tally: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    for case in cases(options.folder):
        if options.grep and options.grep not in case.name and options.grep not in case.facts["ops"]:
            continue
        verdict = check(case)
        tally[case.facts["quant"]][0] += verdict.ok
        tally[case.facts["quant"]][1] += 1
        if not verdict.ok and not options.quiet:
            print(f"{case.name} [{case.facts['quant']}] {case.facts['ops_all']}: {verdict.reason}", flush=True)
    for quant, (good, total) in sorted(tally.items()):
        print(f"{quant}: {good} of {total}")


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.exit(main())
