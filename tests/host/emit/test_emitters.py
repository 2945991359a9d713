"""Every emitter against the interpreter: cases are data, the agent's runtime is the oracle.

A case becomes a file with one operator. The agent runs it; the file, now with the shapes that came back, is
reconstructed and fed the same. Floats agree to 1e-5 of their range, quantized results to one LSB, all else exactly.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from emit.case import Arg, Case, Out, codes
from emit.cases import CASES
from liteback.emit.build import emit
from liteback.emit.gaps import GAPS
from liteback.emit.registry import EMITTERS, EXTRAS, KERNELS, supported_ops
from liteback.emit.verdict import KNOWN_OPS
from liteback.errors import LitebackError, UnsupportedModel
from liteback.ir import Graph, Tensor
from liteback.lift import decode_options, lift, options_class
from liteback.numerics.affine import dequantize, quantize
from liteback.session.board import Board, RunOptions


@pytest.mark.parametrize("case", CASES, ids=str)
def test_emitter_agrees_with_the_interpreter(case: Case, board: Board, tmp_path: Path) -> None:
    expected = list(case.expected) or run_interpreter(case, board)
    if case.limitation is None:
        check(case, expected, tmp_path)
        return
    try:
        check(case, expected, tmp_path)
    except (AssertionError, LitebackError):
        return
    pytest.fail(f"{case} agrees by now: take its limitation away ({case.limitation.reason})")


def run_interpreter(case: Case, board: Board) -> list[NDArray[Any]]:
    sha256 = board.put_model(case.model())
    outputs = lift(case.model()).main.outputs
    options = RunOptions(runtime="ai_edge_litert", kernels="builtin") if case.newer else RunOptions()
    with board.open(sha256, options, tensors=list(outputs)) as session:
        return [session.invoke(0, case.feeds()).tensors[t] for t in outputs]


def check(case: Case, expected: list[NDArray[Any]], folder: Path) -> None:
    """The model agrees with the interpreter, as it is and as it is when it was saved and loaded."""
    model = lift(case.model([a.shape for a in expected]))
    emission = emit(model, "fakequant" if case.quantized else "float")
    emission.model.save(folder / "model.keras")
    check_model(emission.model, case, model.main, expected)
    check_model(keras.saving.load_model(folder / "model.keras"), case, model.main, expected)


def check_model(model: keras.Model, case: Case, graph: Graph, expected: list[NDArray[Any]]) -> None:
    feeds = [real(array, graph.tensors[t]) for t, array in case.feeds().items()]
    results = model(feeds[0] if len(feeds) == 1 else feeds)
    results = results if isinstance(results, (list, tuple)) else [results]
    for t, result, wanted, symbol in zip(graph.outputs, results, expected, model.outputs, strict=True):
        assert len(symbol.shape) == wanted.ndim
        assert all(a in (None, b) for a, b in zip(symbol.shape, wanted.shape, strict=True))
        agree(np.asarray(result), wanted, graph.tensors[t], case.tolerance)


def real(codes: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    return codes if tensor.quantization is None else dequantize(codes, tensor.quantization)


def agree(result: NDArray[Any], wanted: NDArray[Any], tensor: Tensor, tolerance: float | None) -> None:
    assert result.shape == wanted.shape
    if tensor.quantization is not None:
        codes = quantize(result, tensor.quantization, tensor.dtype)
        lsb = np.abs(codes.astype(np.int64) - wanted.astype(np.int64)).max(initial=0)
        assert lsb <= (1 if tolerance is None else tolerance)
    elif wanted.dtype.kind in "fc":
        span = np.ptp(np.abs(wanted)) if wanted.size else 0.0
        bound = (1e-5 if tolerance is None else tolerance) * max(float(span), 1e-6)
        np.testing.assert_allclose(result, wanted, rtol=0, atol=bound)
        assert result.dtype == wanted.dtype
    else:
        np.testing.assert_array_equal(result, wanted)
        assert result.dtype.kind == "O" or result.dtype == wanted.dtype


def test_what_is_quantized_to_int32_is_on_its_grid() -> None:
    case = Case("QUANTIZE", [codes(2, 9, dtype="int16", scale=2e-4)], outputs=[Out("int32", 0.5, 0)], version=2)
    model = lift(case.model([(2, 9)]))
    (feed,) = (real(array, model.main.tensors[t]) for t, array in case.feeds().items())
    result = np.asarray(emit(model, "fakequant").model(feed))
    np.testing.assert_array_equal(result, 0.5 * np.round(feed / 0.5))


def test_codes_of_many_scales_are_refused_where_the_kernel_takes_one() -> None:
    """The runtime gives such a tensor the scale 0, and the kernel its zero point for every element."""
    many = Arg(codes(5, 3).array, scale=[0.05, 0.08, 0.03], zero_point=[0, 0, 0], axis=1)
    case = Case("TANH", [many], outputs=[Out("int8", 1 / 128, 0)])
    with pytest.raises(UnsupportedModel, match=r"TANH at #0 in0: it is computed at run time and has a scale for each"):
        emit(lift(case.model([(5, 3)])), "float")


def test_every_operator_of_the_schema_is_supported_or_a_declared_gap() -> None:
    operators = {name for name in vars(schema.BuiltinOperator) if name.isupper()}
    builtin = {op for op in supported_ops() if not op.startswith("CUSTOM:")} - {"CONSTANT"}
    assert builtin | set(GAPS) == operators
    assert not builtin & set(GAPS), "a gap that is supported by now"


def test_inspect_knows_what_the_registry_has() -> None:
    """`verdict` answers without loading TensorFlow; what it takes for supported is what is registered."""
    assert supported_ops() - {"CONSTANT"} == KNOWN_OPS


@pytest.mark.parametrize("op", sorted(supported_ops()))
def test_an_emitter_names_the_options_of_the_schema(op: str) -> None:
    """A keyword that is neither an option nor an extra would never be passed."""
    cls = options_class(op)
    if cls is None:
        return

    class Bare:
        builtinOptions = None
        builtinOptions2 = None

    known = set(decode_options(op, Bare())) | set(EXTRAS)
    for table in (EMITTERS, KERNELS):
        if op in table:
            assert table[op].keywords <= known
