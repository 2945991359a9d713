"""Every quantized case in exact numerics: the kernel set's own bits, or a refusal that names the operator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from emit.case import Arg, Case, Out, codes, const, fixed, ints, rand
from emit.cases import CASES
from emit.exact_cases import EXACT_CASES, TYPES, means
from liteback.emit.build import Emission, emit
from liteback.errors import ModelRefused, UnsupportedModel
from liteback.lift import lift
from liteback.numerics.affine import dequantize, quantize
from liteback.numerics.coverage import uncovered
from liteback.numerics.profile import KernelProfile
from liteback.passes import simplify
from liteback.saving import interface_names, save
from liteback.session.board import Board, RunOptions

PROFILES = {"builtin": "tflite_runtime-2.14-builtin-x86_64", "reference": "reference"}
OPTIONS = {kernels: RunOptions(runtime="tflite_runtime", kernels=kernels) for kernels in PROFILES}
# Where a kernel reads what nobody wrote, no function of its inputs gives its results.
UNDEFINED = {"BIDIRECTIONAL_SEQUENCE_LSTM-hybrid": "2.14 takes the states of joined results in too long steps"}
# (operator, version) that 2.14's set of reference kernels does not have.
NO_REFERENCE = {("BATCH_MATMUL", 4), ("DEQUANTIZE", 5), ("ELU", 1), ("QUANTIZE", 3)}
CONV = next(c for c in CASES if str(c) == "CONV_2D-int8-per-channel")


def _computed(case: Case) -> bool:
    """Whether exact numerics takes the case: it is quantized, 2.14 runs it, and no operator of it is refused."""
    return not case.expected and not case.newer and _covered(case)


def _covered(case: Case) -> bool:
    """Whether the case is quantized, and no operator of it is refused."""
    if not case.quantized:
        return False
    try:
        return not uncovered(simplify(lift(case.model()).main, codes=True))
    except UnsupportedModel:
        return False


@pytest.mark.parametrize("kernels", PROFILES)
@pytest.mark.parametrize("case", [c for c in CASES if _computed(c)], ids=str)
def test_every_code_is_the_kernels(case: Case, kernels: str, board: Board) -> None:
    if str(case) in UNDEFINED:
        with pytest.raises(AssertionError):
            check(case, kernels, board)
    else:
        check(case, kernels, board)


@pytest.mark.slow
@pytest.mark.parametrize("kernels", PROFILES)
@pytest.mark.parametrize("case", EXACT_CASES, ids=str)
def test_every_kind_of_code_is_the_kernels(case: Case, kernels: str, board: Board) -> None:
    check(case, kernels, board)


def check(case: Case, kernels: str, board: Board) -> None:
    if kernels == "reference" and (case.op, case.version) in NO_REFERENCE:
        with pytest.raises(ModelRefused, match="Didn't find op"):
            run_interpreter(case, board, OPTIONS[kernels])
        return
    expected = run_interpreter(case, board, OPTIONS[kernels])
    emission = emission_of(case, expected, kernels)
    for wanted, result in zip(expected, results(emission.model, case), strict=True):
        np.testing.assert_array_equal(result, wanted)
        assert result.dtype == wanted.dtype


def run_interpreter(
    case: Case, board: Board, options: RunOptions, shapes: Sequence[Sequence[int]] | None = None
) -> list[NDArray[Any]]:
    outputs = lift(case.model()).main.outputs
    with board.open(board.put_model(case.model(shapes)), options, tensors=list(outputs)) as session:
        return [session.invoke(0, case.feeds()).tensors[t] for t in outputs]


def emission_of(case: Case, expected: list[NDArray[Any]], kernels: str) -> Emission:
    model = lift(case.model([a.shape for a in expected]))
    return emit(model, "exact", profile=KernelProfile.named(PROFILES[kernels]))


def results(model: Any, case: Case) -> list[NDArray[Any]]:
    feeds = list(case.feeds().values())
    given = model(feeds[0] if len(feeds) == 1 else feeds)
    return [np.asarray(v) for v in (given if isinstance(given, (list, tuple)) else [given])]


def test_what_has_no_exact_kernel_is_refused_by_name() -> None:
    case = next(case for case in CASES if str(case) == "QUANTIZE-uint4")  # results of less than a byte
    with pytest.raises(UnsupportedModel, match="no exact kernel for QUANTIZE/float32/uint4"):
        emit(lift(case.model([(2, 9)])), "exact")


def _litert_s_own() -> Iterator[Case]:
    """What tflite-runtime 2.14 computes otherwise, or not at all."""
    yield from (case for case in CASES if case.newer and _covered(case))
    below = codes(40, 50, scale=0.03, zero_point=7, seed=1)
    assert below.array is not None
    below.array[below.array == 7] = 8  # a division by 0 is refused
    yield Case("DIV", [codes(40, 50, scale=0.05, zero_point=3), below], {}, [Out("int8", 0.1, 3)], version=2)
    x, w = codes(60, 12, dtype="int16", scale=3e-4, zero_point=0), ints(40, 12, low=-127, high=128, dtype="int8")
    scales = np.linspace(0.007, 0.014, 40)
    bias = fixed(
        Arg(ints(40, low=-30000, high=30000, dtype="int64"), scale=(scales * 3e-4).tolist(), zero_point=[0] * 40)
    )
    inputs = [x, fixed(Arg(w, scale=scales.tolist(), zero_point=[0] * 40)), bias]
    yield Case("FULLY_CONNECTED", inputs, {"keep_num_dims": False}, [Out("int16", 2e-3, 0)], version=4)
    x, w = codes(2, 8, 9, 4, dtype="int16", scale=3e-4), fixed(codes(6, 3, 2, 4, scale=0.01))
    bias = fixed(Arg(ints(6, low=-30000, high=30000), scale=3e-6, zero_point=0))
    options = {"padding": "SAME", "stride_h": 2, "stride_w": 3, "quantized_bias_type": "int32"}
    inputs = [const([2, 16, 27, 6], "int32"), w, x, bias]
    yield Case("TRANSPOSE_CONV", inputs, options, [Out("int16", 2e-3, 0)], name="bias-of-32-bits", version=4)


@pytest.mark.parametrize("case", list(_litert_s_own()), ids=str)
def test_codes_of_litert_s_own_kernels(case: Case, board: Board) -> None:
    expected = run_interpreter(case, board, RunOptions(runtime="ai_edge_litert", kernels="builtin"))
    model = lift(case.model([a.shape for a in expected]))
    twin = emit(model, "exact", profile=KernelProfile.named("ai_edge_litert-2.3-builtin-x86_64")).model
    np.testing.assert_array_equal(results(twin, case)[0], expected[0])


@pytest.mark.parametrize("kernels", ["builtin", "xnnpack"])
@pytest.mark.parametrize("case", [case for dtype in TYPES for case in means(dtype)], ids=str)
def test_means_are_those_of_litert(case: Case, kernels: str, board: Board) -> None:
    options = RunOptions(runtime="ai_edge_litert", kernels="builtin" if kernels == "builtin" else "default")
    expected = run_interpreter(case, board, options)
    model = lift(case.model([a.shape for a in expected]))
    twin = emit(model, "exact", profile=KernelProfile.named(f"ai_edge_litert-2.3-{kernels}-x86_64")).model
    np.testing.assert_array_equal(results(twin, case)[0], expected[0])


def test_real_values_become_codes_of_many_scales(board: Board) -> None:
    case = Case("QUANTIZE", [rand(3, 50)], outputs=[Out("int8", [0.02, 0.03, 0.01], [3, 4, 5])], version=3)
    data = case.model([(3, 50)])
    graph = lift(data).main
    (output,) = graph.outputs
    with board.open(board.put_model(data), OPTIONS["builtin"], tensors=[output]) as session:
        expected = session.invoke(0, case.feeds()).tensors[output]
    exact = emit(lift(data), "exact", profile=KernelProfile.named(PROFILES["builtin"])).model
    np.testing.assert_array_equal(results(exact, case)[0], expected)
    rounded = results(emit(lift(data), "fakequant").model, case)[0]
    np.testing.assert_array_equal(rounded, dequantize(expected, graph.tensors[output].quantization))


def test_an_operator_without_an_exact_kernel_is_refused_by_name() -> None:
    case = Case("CUMSUM", [codes(2, 3), const(0, "int32")], outputs=[Out("int8", 0.02, 3)])
    with pytest.raises(UnsupportedModel, match=r"CUMSUM at .*: no exact kernel for CUMSUM/int8"):
        emit(lift(case.model([(2, 3)])), "exact")


def _int8_weights(*shape: int) -> Arg:
    return fixed(Arg(ints(*shape, dtype="int8"), scale=0.02, zero_point=0))


@pytest.mark.parametrize(
    ("case", "shape", "why"),
    [
        (Case("SUM", [codes(2, 0), const([1], "int32")], {}, [Out("int8", 0.1, 4)]), (2,), "of no elements"),
        (
            Case("REDUCE_PROD", [codes(2), const([], "int32")], {}, [Out("int8", 0.1, 4)]),
            (2,),
            "a product over no axis",
        ),
        (Case("BATCH_MATMUL", [rand(2, 3, 4, 5), _int8_weights(2, 1, 5, 2)]), (2, 3, 4, 2), "two batch axes"),
        (
            Case("BATCH_MATMUL", [rand(2, 5, 4), _int8_weights(1, 5, 2)], {"adj_x": True}),
            (2, 4, 2),
            "rows of transposed matrices",
        ),
    ],
    ids=lambda value: str(value) if isinstance(value, Case) else None,
)
def test_what_a_kernel_computes_from_what_is_not_its_own_is_refused(
    case: Case, shape: tuple[int, ...], why: str
) -> None:
    with pytest.raises(UnsupportedModel, match=why):
        emit(lift(case.model([shape])), "exact")


def test_a_variant_that_no_kernel_knows_is_refused() -> None:
    profile = KernelProfile("odd", variants={"CONV_2D": "stochastic"})
    with pytest.raises(UnsupportedModel, match="knows the variants double, half-up, single, float32"):
        emit(lift(CONV.model([(1, 8, 9, 6)])), "exact", profile=profile)


def test_a_clamp_that_lives_in_the_codes_range_is_not_taken_for_an_activation(board: Board) -> None:
    """Read as RELU6, a range that ends at 6.01 would lose its highest code."""
    data, weights = codes(1, 4, 4, 2, dtype="uint8", scale=0.05, zero_point=100), ints(3, 1, 1, 2, low=0, high=256)
    kernel = fixed(Arg(weights.astype(np.uint8), scale=0.02, zero_point=120))
    bias = fixed(Arg(ints(3, low=0, high=1), scale=0.001, zero_point=0))
    case = Case("CONV_2D", [data, kernel, bias], CONV.options, [Out("uint8", 6.01 / 255, 0)])
    expected = run_interpreter(case, board, OPTIONS["builtin"])
    assert 255 in expected[0]
    np.testing.assert_array_equal(results(emission_of(case, expected, "builtin").model, case)[0], expected[0])


def test_a_saved_model_computes_the_same_bits(board: Board, tmp_path: Path) -> None:
    """.keras: loaded with liteback's layers; SavedModel: with TensorFlow alone. Both still hold the constants."""
    expected = run_interpreter(CONV, board, OPTIONS["builtin"])
    emission = emission_of(CONV, expected, "builtin")
    save(emission, tmp_path / "model.keras")
    save(emission, tmp_path / "saved")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    np.testing.assert_array_equal(results(again, CONV)[0], expected[0])
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    (takes,), (gives,) = interface_names(emission.graph)
    given = serve(**{takes: tf.constant(next(iter(CONV.feeds().values())))})
    np.testing.assert_array_equal(given[gives], expected[0])


@pytest.mark.parametrize("name", ["LSTM-int8", "RNN-hybrid", "SVDF-int8", "SVDF-hybrid"])
def test_a_state_lasts_in_every_format(name: str, board: Board, tmp_path: Path) -> None:
    """Three steps on the board; the model, the .keras file and the SavedModel go on as it does."""
    case = next(c for c in (*CASES, *EXACT_CASES) if str(c) == name)
    (index, first), *_ = case.feeds().items()
    steps = [np.roll(first, k, axis=-1) for k in range(3)]
    options = RunOptions(runtime="tflite_runtime", kernels="builtin")
    (output,) = lift(case.model()).main.outputs
    with board.open(board.put_model(case.model()), options, tensors=[output]) as session:
        invoked = [session.invoke(0, {index: x}, reset_state=k == 0) for k, x in enumerate(steps)]
    expected = [step.tensors[output] for step in invoked]
    assert not np.array_equal(expected[0], np.roll(expected[1], -1, axis=-1))

    emission = emission_of(case, expected[:1], "builtin")
    save(emission, tmp_path / "model.keras")
    save(emission, tmp_path / "saved")
    again = keras.models.load_model(tmp_path / "model.keras", compile=False)
    serve = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    (takes,), (gives,) = interface_names(emission.graph)
    for run in (emission.model, again, lambda x: serve(**{takes: tf.constant(x)})[gives]):
        np.testing.assert_array_equal([np.asarray(run(x)) for x in steps], expected)


@pytest.mark.parametrize(("kind", "activation", "lsb"), [("int8-small", "TANH", 1), ("int8-cifg", "RELU", 2)])
def test_an_integer_lstm_s_activations_are_the_kernels_in_fakequant_too(
    kind: str, activation: str, lsb: int, board: Board
) -> None:
    """It leaves out that of a cell below a half, and knows but tanh, whatever the file says."""
    case = next(c for c in EXACT_CASES if str(c) == f"UNIDIRECTIONAL_SEQUENCE_LSTM-{kind}")
    case = replace(case, options={**case.options, "fused_activation_function": activation})
    (expected,) = run_interpreter(case, board, OPTIONS["builtin"])
    graph = lift(case.model()).main
    takes, gives = (graph.tensors[t].quantization for t in (graph.inputs[0], graph.outputs[0]))
    y = emit(lift(case.model()), "fakequant").model(dequantize(next(iter(case.feeds().values())), takes))
    codes = quantize(np.asarray(y), gives, "int8").astype(int)
    assert np.abs(codes - expected).max() <= lsb
    assert len(np.unique(expected)) > 20


def test_an_exact_model_takes_and_gives_the_files_own_types() -> None:
    model = emit(lift(CONV.model([(1, 8, 9, 6)])), "exact").model
    assert [x.dtype for x in (*model.inputs, *model.outputs)] == ["int8", "int8"]
    assert not model.trainable_weights


def test_an_accumulator_beyond_24_bits_stays_exact(board: Board) -> None:
    """A depth at which float32 would have lost the lowest bits."""
    data, weights = codes(1, 4096, scale=0.01), ints(2, 4096, low=100, high=128, dtype="int8")
    case = Case(
        "FULLY_CONNECTED",
        [data, fixed(Arg(weights, scale=0.004, zero_point=0))],
        {"keep_num_dims": False, "weights_format": "DEFAULT"},
        [Out("int8", 3.3e-5 * 4, 0)],
        version=4,
    )
    expected = run_interpreter(case, board, OPTIONS["reference"])
    np.testing.assert_array_equal(results(emission_of(case, expected, "reference").model, case)[0], expected[0])
