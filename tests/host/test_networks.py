"""Every real network and edge case, the whole trip: the certificate, each layer by itself, the identical file back.

The board here is the local agent with tflite-runtime. Eight random samples each: these tests are about arithmetic,
not about accuracy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteback.api import default_numerics
from liteback.comparison.compare import compare
from liteback.comparison.result import Comparison
from liteback.errors import ModelRefused, RunFailed, UnsupportedModel
from liteback.export.patch import patch
from liteback.inputs import random_inputs
from liteback.inspection import inspect
from liteback.lift import lift
from liteback.reconstruction import reconstruction
from liteback.session.board import Board
from liteback.session.capture import capture
from liteback.twin import KerasTwin

SAMPLES = 8
FEW, LARGE = 2, 4 << 20  # samples of a network whose tensors take more than that many bytes a sample
FLOAT_BOUND = 1e-5  # of the tensor's range, for a layer by itself

# What cannot make the whole trip on tflite-runtime 2.14, and why.
REFUSED_BY_LITEBACK = {
    "networks/mobilenet_v1_0.25_128_quant_edgetpu": "CUSTOM:edgetpu-custom-op",
    "edge_cases/add_shared_tensors": "nothing before it computes this input",
    "edge_cases/custom_sinh": "CUSTOM:Sinh",
    "edge_cases/double_flex": "CUSTOM:FlexDouble",
}
REFUSED_BY_THE_RUNTIME = {
    "networks/audio_preprocessor_int8": "SignalWindow",
    "networks/selfie_segmentation": "Convolution2DTransposeBias",
    "edge_cases/static_w8_a16_quantized_attn_vec_einsum": "BATCH_MATMUL",
}
# The runtime corrupts its own heap with it: its results are noise, and malloc aborts the process sooner or later.
CRASHES_THE_RUNTIME = "networks/keyword_scrambled_8bit"
# 2.14 has no kernel for its blockwise weights, and reads beyond its memory: now and then a signal ends it.
READS_BEYOND = "networks/qwen_fc_blockwise_quantized"
# (file, operator): why a layer by itself is farther from the board than the bounds allow.
EXCEPTIONS = {
    ("networks/partly_quantized_mnist", "FULLY_CONNECTED"): "2.14 gives zeros for hybrid weights without a bias",
    ("networks/qwen_fc_blockwise_quantized", "FULLY_CONNECTED"): "2.14 gives zeros for blockwise int4 weights",
    (
        "edge_cases/transpose_conv0",
        "TRANSPOSE_CONV",
    ): "random numbers make no output_shape",
}
SHARED = Path(__file__).parents[3] / "shared" / "models"
FILES = sorted(
    str(p.relative_to(SHARED).with_suffix("")) for d in ("networks", "edge_cases") for p in SHARED.glob(f"{d}/*.tflite")
)
WHOLE_TRIP = [f for f in FILES if f not in {*REFUSED_BY_LITEBACK, *REFUSED_BY_THE_RUNTIME, CRASHES_THE_RUNTIME}]


@contextlib.contextmanager
def where_it_may_crash(name: str) -> Iterator[None]:
    """Skip what the runtime did not survive with the one file that it reads beyond."""
    try:
        yield
    except RunFailed as error:
        if name != READS_BEYOND or "SIGSEGV" not in str(error):
            raise
        pytest.skip(f"2.14 reads beyond the weights of {name}, and was ended by SIGSEGV this time")


def test_the_models_are_here(shared_models: Path) -> None:
    assert len(FILES) >= 58


@pytest.mark.networks
@pytest.mark.parametrize("name", WHOLE_TRIP)
def test_the_trip(name: str, board: Board, tmp_path: Path) -> None:
    data = (SHARED / f"{name}.tflite").read_bytes()
    source = lift(data)
    samples = FEW if inspect(data).capture_bytes > LARGE else SAMPLES
    with where_it_may_crash(name):
        recording = capture(board, source, data, random_inputs(source.main, samples), tmp_path)
    assert recording.manifest.certificate is not None
    assert recording.manifest.certificate.good
    assert recording.manifest.certificate.samples == samples

    emission = reconstruction(data, default_numerics(source))
    result = compare(source.main, recording, KerasTwin.of(emission))
    assert beyond_bounds(result) == {op for file, op in EXCEPTIONS if file == name}
    assert patch(emission.model, data).data == data


@pytest.mark.parametrize("name", REFUSED_BY_LITEBACK)
def test_what_cannot_come_back_is_refused_by_name(name: str, shared_models: Path) -> None:
    with pytest.raises(UnsupportedModel) as refusal:
        reconstruction(shared_models / f"{name}.tflite")
    assert REFUSED_BY_LITEBACK[name] in str(refusal.value)


@pytest.mark.parametrize("name", REFUSED_BY_THE_RUNTIME)
def test_what_the_runtime_refuses_comes_back_all_the_same(name: str, board: Board, shared_models: Path) -> None:
    data = (shared_models / f"{name}.tflite").read_bytes()
    with pytest.raises(ModelRefused) as refusal:
        board.open(board.put_model(data))
    assert REFUSED_BY_THE_RUNTIME[name] in str(refusal.value)
    assert reconstruction(data, default_numerics(lift(data))).model.outputs


def test_a_file_that_crashes_the_runtime_costs_one_session(board: Board, shared_models: Path) -> None:
    data = (shared_models / f"{CRASHES_THE_RUNTIME}.tflite").read_bytes()
    source = lift(data)
    inputs = random_inputs(source.main, 40)
    with contextlib.suppress(RunFailed), board.open(board.put_model(data), tensors=source.main.outputs) as session:
        for sample in range(40):
            session.invoke(sample, inputs[sample])
    assert board.models()
    assert reconstruction(data, default_numerics(source)).model.outputs


def beyond_bounds(result: Comparison) -> set[str]:
    """The operators whose own error is larger than the project promises."""
    found = set()
    for row in result.rows:
        lsb, relative = row.value("isolated", "lsb_max"), row.value("isolated", "max_abs_over_range")
        differ = row.value("isolated", "differ")
        if lsb is not None:
            far = lsb > 1
        elif row.tensor.dtype.startswith(("float", "complex")):
            far = relative is None or relative > FLOAT_BOUND
        else:
            far = differ != 0
        if far:
            found.add(row.op)
    return found
