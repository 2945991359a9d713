"""Record what the aarch64 wheel's kernels make of networks and hybrid operators, as hashes in two JSON files.

    PYTHONPATH=tests:tests/host python -m arm.record_networks ../shared [NETWORK ...]

The kernels are emulated, which takes minutes for a large network; so this is done once, of eight samples, and what is
kept of a tensor is a hash of its values in all of them. The exact twin has to come to the same hashes. The inputs are
random ones that are made anew each time; their hashes are kept beside the others. Of the hybrid conformance cases it is
the outputs. NETWORK: record only these again.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conformance import Case, feeds
from exact_conformance import exact_cases
from numpy.typing import NDArray

from arm.fixtures import interpreter, userland
from liteback.inputs import Inputs, random_inputs
from liteback.lift import lift
from liteback.session.board import Board, RunOptions
from liteback.session.local import LocalAgent
from liteback_deploy.target import LOCAL

SAMPLES = 8
RECORDED = Path(__file__).parent / "networks.json"
HYBRIDS = Path(__file__).parent / "hybrids.json"
NETWORKS = [
    "coco_ssd_mobilenet_v1_1.0_quant_2018_06_29",
    "conv0",
    "deeplabv3_mnv2_dm05_pascal_quant",
    "detection",
    "hello_world_int8",
    "keyword_spotting_pacman",
    "micro_speech_quantized",
    "mobilenet_v1_0.25_128_quant",
    "model_ToyCar_quant_fullint",
    "model_ToyCar_quant_fullint_micro_intio",
    "movenet_single_pose_lightning_ptq",
    "okay_nabu",
    "pretrainedResnet_quant",
    "rock_paper_scissors",
    "trained_lstm_int8",
]


def samples_of(network: bytes) -> Inputs:
    """The inputs of the recording."""
    return random_inputs(lift(network).main, SAMPLES, seed=1)


def hashes(samples: Iterable[Mapping[int, NDArray[Any]]]) -> dict[str, str]:
    """tensor index -> a hash of its types, shapes and values in all samples, one after the other."""
    found: dict[int, Any] = {}
    for tensors in samples:
        for index, array in tensors.items():
            state = found.setdefault(index, hashlib.blake2b(digest_size=8))
            state.update(f"{array.dtype.str}{array.shape}".encode())
            state.update(array.tobytes())
    return {str(index): state.hexdigest() for index, state in sorted(found.items())}


def record(board: Board, path: Path) -> dict[str, str]:
    """The hashes of the inputs and of every tensor that the board's kernels compute."""
    data = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(runtime="tflite_runtime", kernels="builtin")
        recording = board.capture(data, samples_of(data), Path(folder) / "recording", options=options)
        assert recording.manifest.certificate is not None
        assert recording.manifest.certificate.good
        return hashes(recording.tensors(sample) for sample in range(SAMPLES))


def record_case(board: Board, case: Case, kernels: str) -> dict[str, str]:
    """The hashes of the case's outputs."""
    options = RunOptions(runtime="tflite_runtime", kernels=kernels)
    data = case.path.read_bytes()
    graph = lift(data).main
    with board.open(board.put_model(data), options, tensors=list(graph.outputs)) as session:
        inputs = dict(zip(graph.inputs, feeds(graph, case.arrays()), strict=True))
        return hashes([session.invoke(0, inputs).tensors])


def hybrid_cases(conformance: Path) -> dict[str, Case]:
    """Real data and quantized weights."""
    found = (c for c in exact_cases(conformance) if c.facts["quant"] in ("dynamic_range", "int4_hybrid"))
    return {case.name: case for case in found}


def main(shared: Path, names: list[str]) -> None:
    known = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        agent = LocalAgent(store=Path(place) / "store", python=str(interpreter(userland(), Path(place))))
        try:
            with Board(LOCAL, agent.address, agent.token) as board:
                for name in names or NETWORKS:
                    start = time.monotonic()
                    known[name] = record(board, shared / "models" / "networks" / f"{name}.tflite")
                    print(f"{name}: {len(known[name])} tensors, {time.monotonic() - start:.0f} s", flush=True)
                    write(RECORDED, known)
                if not names:
                    cases = hybrid_cases(shared / "conformance").items()
                    sets = ("builtin", "reference")
                    write(HYBRIDS, {k: {name: record_case(board, case, k) for name, case in cases} for k in sets})
        finally:
            agent.stop()


def write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
