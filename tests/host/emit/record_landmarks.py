"""Record what MediaPipe makes of the cases: landmarks.npz. Needs its package, and no TensorFlow.

pip install mediapipe==0.10.21 ai-edge-litert
PYTHONPATH=host:proto:tests python -m host.emit.record_landmarks
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mediapipe
import numpy as np
from mediapipe.python import packet_creator, packet_getter
from numpy.typing import NDArray

from emit.landmark_cases import CASES, RECORDED

CONVERT = """
input_stream: "matrix{k}"
node {{ calculator: "TensorConverterCalculator" input_stream: "MATRIX:matrix{k}" output_stream: "TENSORS:tensor{k}"
  options: {{ [mediapipe.TensorConverterCalculatorOptions.ext] {{ row_major_matrix: true }} }} }}
"""
INFER = """
node {{ calculator: "ConcatenateTensorVectorCalculator" {tensors} output_stream: "given" }}
node {{ calculator: "TfLiteCustomOpResolverCalculator" output_side_packet: "OP_RESOLVER:operators" }}
node {{ calculator: "InferenceCalculatorCpu" input_side_packet: "OP_RESOLVER:operators"
  input_stream: "TENSORS:given" output_stream: "TENSORS:results"
  options: {{ [mediapipe.InferenceCalculatorOptions.ext] {{ model_path: "{model}" delegate {{ tflite {{}} }} }} }} }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:results" output_stream: "FLOATS:floats" }}
"""


def run(model: Path, inputs: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
    """The one output of a file, flat."""
    names = range(len(inputs))
    tensors = " ".join(f'input_stream: "tensor{k}"' for k in names)
    text = "".join(CONVERT.format(k=k) for k in names) + INFER.format(tensors=tensors, model=model)
    graph = mediapipe.CalculatorGraph(graph_config=text)
    found: list[Any] = []
    graph.observe_output_stream("floats", lambda _, packet: found.append(packet_getter.get_float_list(packet)))
    graph.start_run()
    for k, array in enumerate(inputs):
        graph.add_packet_to_input_stream(f"matrix{k}", packet_creator.create_matrix(array.reshape(1, -1)).at(0))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    return np.array(found[0], np.float32)


def main() -> None:
    results = {}
    for case, shape in CASES:
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "case.tflite"
            model.write_bytes(case.model([shape]))
            results[str(case)] = run(model, case.inputs).reshape(shape)
    np.savez_compressed(RECORDED, **results)


if __name__ == "__main__":
    main()
