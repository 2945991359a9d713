"""The quantized single-op cases in exact numerics: bit for bit what a runtime's kernels compute on this machine.

As a script it prints what differs: `python tests/host/exact_conformance.py ../shared/conformance [--kernels builtin]`.
The recorded outputs are those of another release, so each case runs on the agent first.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from conformance import Case, Verdict, cases, feeds

from liteback.errors import LitebackError, ModelRefused, RunFailed
from liteback.lift import lift
from liteback.session.board import Board, RunOptions, connect


@dataclass(frozen=True)
class KernelSet:
    """How to run it, and the profile that names it."""

    options: RunOptions
    profile: str


KERNEL_SETS = {
    "builtin": KernelSet(RunOptions(runtime="tflite_runtime", kernels="builtin"), "tflite_runtime-2.14-builtin-x86_64"),
    "reference": KernelSet(RunOptions(runtime="tflite_runtime", kernels="reference"), "reference"),
    "litert-builtin": KernelSet(
        RunOptions(runtime="ai_edge_litert", kernels="builtin"), "ai_edge_litert-2.3-builtin-x86_64"
    ),
    "litert-xnnpack": KernelSet(
        RunOptions(runtime="ai_edge_litert", kernels="default"), "ai_edge_litert-2.3-xnnpack-x86_64"
    ),
}


def exact_cases(folder: Path) -> Iterator[Case]:
    """What is quantized and runs in tflite-runtime 2.14."""
    return (case for case in cases(folder) if case.quantized and case.facts["runs_tflite_runtime"])


def check_exact(case: Case, board: Board, kernels: KernelSet) -> Verdict | None:
    """Compare every output's bits with what the kernel set gives. None: it does not run the case."""
    from liteback.reconstruction import reconstruct

    data = case.path.read_bytes()
    graph = lift(data).main
    inputs = feeds(graph, case.arrays())
    try:
        with board.open(board.put_model(data), kernels.options, tensors=list(graph.outputs)) as session:
            tensors = session.invoke(0, dict(zip(graph.inputs, inputs, strict=True))).tensors
    except (ModelRefused, RunFailed):
        return None
    try:
        outputs = reconstruct(data, "exact", profile=kernels.profile)(inputs[0] if len(inputs) == 1 else inputs)
    except LitebackError as error:
        return Verdict(False, " ".join(str(error).split())[:400])
    except Exception as error:  # noqa: BLE001  a traceback is a failed case, not a failed run
        return Verdict(False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
    outputs = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    verdicts = [same_bits(np.asarray(v), tensors[t]) for t, v in zip(graph.outputs, outputs, strict=True)]
    return next((v for v in verdicts if not v.ok), Verdict(True))


def same_bits(value: np.ndarray, expected: np.ndarray) -> Verdict:
    """Equal in type, shape and every bit; one NaN is as good as another."""
    if (value.dtype, value.shape) != (expected.dtype, expected.shape):
        return Verdict(False, f"{value.dtype}{value.shape} for {expected.dtype}{expected.shape}")
    same = np.asarray(value == expected)
    if expected.dtype.kind in "fc":
        same |= np.isnan(value) & np.isnan(expected)
    if same.all():
        return Verdict(True)
    error = np.abs(value[~same].astype(np.float64) - expected[~same].astype(np.float64)).max()
    return Verdict(False, f"{(~same).sum()} of {same.size} differ, by up to {error:.3g}", float(error))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--grep", default="", help="only cases whose name or operators contain this")
    parser.add_argument("--kernels", choices=KERNEL_SETS, action="append", help="default: all of tflite-runtime 2.14")
    options = parser.parse_args()
    for name in options.kernels or ("builtin", "reference"):
        tally: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
        with connect("local") as board:
            for case in exact_cases(options.folder):
                if options.grep and options.grep not in case.name and options.grep not in case.facts["ops"]:
                    continue
                verdict = check_exact(case, board, KERNEL_SETS[name])
                for kind in (case.facts["quant"], "all"):
                    tally[kind][0] += verdict is not None and verdict.ok
                    tally[kind][1] += verdict is not None
                    tally[kind][2] += verdict is None
                if verdict is not None and not verdict.ok:
                    print(f"{case.name} [{case.facts['quant']}] {case.facts['ops_all']}: {verdict.reason}", flush=True)
        for kind, (good, total, refused) in sorted(tally.items()):
            print(f"{name}, {kind}: {good} of {total} ({100 * good / max(total, 1):.1f} %); {refused} it does not run")


if __name__ == "__main__":
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.exit(main())
