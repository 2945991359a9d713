"""Hybrid kernels, of which each runtime has its own: real activations in, integer weights, the very bits out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from exact_conformance import KERNEL_SETS

from emit.case import Arg, Case, Out, codes, const, fixed, rand
from emit.test_exact import results, run_interpreter
from liteback.emit.build import emit
from liteback.errors import UnsupportedModel
from liteback.export.patch import patch
from liteback.ir import CODE_RANGE
from liteback.lift import lift
from liteback.numerics.profile import KernelProfile
from liteback.session.board import Board

SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1, "dilation_h_factor": 1, "dilation_w_factor": 1}
BY_TWO = {**SAME, "stride_h": 2, "stride_w": 2}
DILATED = {**SAME, "dilation_h_factor": 2, "dilation_w_factor": 2}


def weights(*shape: int, axis: int | None = None) -> Arg:
    """axis: has a scale for each of its indices; None: there is one scale."""
    rng = np.random.default_rng(7)
    count = 1 if axis is None else shape[axis]
    array = rng.integers(-127, 128, shape).astype(np.int8)
    scale = (0.01 * rng.uniform(0.7, 1.4, count)).tolist()
    return fixed(Arg(array, scale=scale, zero_point=[0] * count, axis=axis or 0))


def images(channels: int) -> Any:
    return rand(2, 9, 9, channels, low=-1, high=5)


def halves(channels: int) -> Any:
    """Values half way between two codes, where it matters what is added before it is rounded."""
    codes = np.random.default_rng(2).integers(-100, 100, (2, 9, 9, channels)) + 0.5
    codes[:, 0, 0, :2] = -101.3, 153.7  # the range
    return (codes * 0.0173).astype(np.float32)


def bias(count: int) -> Arg:
    return const(rand(count, seed=5))


def convolutions() -> Iterator[Case]:
    kinds = {"3x3": (3, 8, SAME), "1x1": (1, 8, SAME), "1x1-by-two": (1, 8, BY_TWO), "dilated": (3, 8, DILATED)}
    for name, (size, depth, options) in kinds.items():
        for axis in (0, None):
            w = weights(24, size, size, depth, axis=axis)
            yield Case("CONV_2D", [images(8), w, bias(24)], options, name=f"{name}{'-per-channel' * (axis == 0)}")
    yield Case("CONV_2D", [images(8), weights(24, 3, 3, 4, axis=0), bias(24)], SAME, name="groups")
    for channels, options in ((8, SAME), (13, BY_TWO)):
        inputs = [images(channels), weights(1, 3, 3, channels, axis=3), bias(channels)]
        yield Case("DEPTHWISE_CONV_2D", inputs, {**options, "depth_multiplier": 1}, name=f"{channels}-channels")
    inputs = [halves(8), weights(1, 3, 3, 8, axis=3), bias(8)]
    yield Case("DEPTHWISE_CONV_2D", inputs, {**SAME, "depth_multiplier": 1}, name="halves")


def products() -> Iterator[Case]:
    for axis in (0, None):
        for asymmetric in (False, True):
            options = {"keep_num_dims": asymmetric, "asymmetric_quantize_inputs": asymmetric}
            for more in ([], [bias(50)]):
                name = f"{'channels-' * (axis == 0)}{'asymmetric-' * asymmetric}{'bias' * len(more) or 'plain'}"
                x, w = rand(5, 37, low=-1, high=5), weights(50, 37, axis=axis)
                yield Case("FULLY_CONNECTED", [x, w, *more], options, name=name)
    # int8 codes of [-127, 127], byte by byte: the converters that wrote such weights had no -128.
    symmetric = np.random.default_rng(8).integers(-127, 128, (50, 37)).astype(np.int8)
    unsigned = Arg(symmetric.view(np.uint8), scale=0.01, zero_point=128)
    yield Case("FULLY_CONNECTED", [rand(5, 37, low=-1, high=5), fixed(unsigned), bias(50)], {}, name="uint8")
    for units, depth in ((8, 64), (3, 64), (8, 26)):  # a kernel of 4 bits, and too few weights for it
        codes = np.random.default_rng(3).integers(-7, 8, (units, depth)).astype(np.int8)
        for scale in ([0.1], np.linspace(0.05, 0.2, units).tolist()):
            w = fixed(Arg(codes, scale=scale, zero_point=[0] * len(scale), dtype="int4"))
            name = f"4-bits-{units}x{depth}{'-channels' * (len(scale) > 1)}"
            inputs = [rand(5, depth, low=-1, high=5), w, bias(units)]
            yield Case("FULLY_CONNECTED", inputs, {"asymmetric_quantize_inputs": True}, name=name)
    shapes = {"": ((2, 3, 37), (2, 37, 5)), "adj_x": ((2, 37, 3), (2, 37, 5)), "adj_y": ((2, 3, 37), (2, 5, 37))}
    for adjoint, (x, y) in shapes.items():
        for asymmetric in (False, True):
            options = {"asymmetric_quantize_inputs": asymmetric, adjoint or "adj_x": bool(adjoint)}
            name = f"{adjoint or 'plain'}{'-asymmetric' * asymmetric}"
            yield Case("BATCH_MATMUL", [rand(*x, low=-1, high=5), weights(*y)], options, name=name)


def tables() -> Iterator[Case]:
    """What is looked up in, with a scale for each row; 2.14 knows none, and gives zeros."""
    ids = Arg(np.array([4, 0, 4, 2], np.int32))
    for dtype in ("int8", "int4", "int2"):
        low, high = CODE_RANGE[dtype]
        array = np.random.default_rng(3).integers(low, high, (5, 12), endpoint=True).astype(np.int8)
        scales = np.linspace(0.01, 0.07, 5).tolist()
        yield Case(
            "EMBEDDING_LOOKUP", [ids, fixed(Arg(array, scale=scales, zero_point=[0] * 5, dtype=dtype))], name=dtype
        )


@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("case", [*convolutions(), *products(), next(tables())], ids=str)
def test_every_real_value_has_the_kernel_sets_bits(case: Case, kernels: str, board: Board) -> None:
    has_bits(case, kernels, board)


@pytest.mark.parametrize("kernels", KERNEL_SETS)
def test_of_codes_a_product_of_matrices_knows_no_scale_for_each_channel(kernels: str, board: Board) -> None:
    """A quantizer writes it all the same; every code is then that of zero."""
    inputs = [codes(1, 5, 8, scale=0.02), weights(1, 8, 16, axis=2)]
    has_bits(Case("BATCH_MATMUL", inputs, {"adj_x": False, "adj_y": False}, [Out("int8", 0.05, -4)]), kernels, board)


def has_bits(case: Case, kernels: str, board: Board) -> None:
    options, profile = KERNEL_SETS[kernels].options, KERNEL_SETS[kernels].profile
    shapes = [a.shape for a in run_interpreter(case, board, options)]
    expected = run_interpreter(case, board, options, shapes)  # a delegate takes no results of unknown shape
    model = emit(lift(case.model(shapes)), "exact", profile=KernelProfile.named(profile)).model
    for wanted, result in zip(expected, results(model, case), strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_scales_that_are_not_the_outputs_are_refused_by_name() -> None:
    """A converter's slip, scales of the kernel's input channels: no kernel computes with them; real numbers do."""
    model = lift(Case("CONV_2D", [images(8), weights(24, 3, 3, 8, axis=3), bias(24)], SAME).model([(2, 9, 9, 24)]))
    with pytest.raises(UnsupportedModel, match=r"8 scales, along axis 3; a kernel reads one for each of 24 outputs"):
        emit(model, "exact")
    assert emit(model, "float").model.count_params() == 24 * 3 * 3 * 8 + 24


def narrow(dtype: str) -> Case:
    """A dense layer whose weights share bytes."""
    _, high = CODE_RANGE[dtype]  # symmetric, as converters write them: LiteRT's 4-bit kernel cannot do with -8
    codes = np.random.default_rng(9).integers(-high, high, (24, 36), endpoint=True).astype(np.int8)
    scales = np.random.default_rng(9).uniform(0.02, 0.1, 24).tolist()
    kernel = fixed(Arg(codes, scale=scales, zero_point=[0] * 24, dtype=dtype))
    return Case("FULLY_CONNECTED", [rand(5, 36, low=-1, high=5), kernel, bias(24)], {}, version=13)


@pytest.mark.parametrize("kernels", ["litert-builtin", "litert-xnnpack"])
@pytest.mark.parametrize(  # of uint4 there are activations alone
    ("case", "shapes"),
    [(narrow("int4"), [(5, 24)]), (narrow("int2"), [(5, 24)]), *((t, [(4, 12)]) for t in tables())],
    ids=str,
)
def test_narrow_weights(case: Case, shapes: list[tuple[int, ...]], kernels: str, board: Board) -> None:
    options, profile = KERNEL_SETS[kernels].options, KERNEL_SETS[kernels].profile
    (expected,) = run_interpreter(case, board, options, shapes)
    data = case.model(shapes)
    (result,) = results(emit(lift(data), "exact", profile=KernelProfile.named(profile)).model, case)
    np.testing.assert_array_equal(result, expected)
    model = emit(lift(data), "fakequant", profile=KernelProfile.named(profile)).model
    np.testing.assert_allclose(results(model, case)[0], expected, rtol=0, atol=1e-6 * np.ptp(expected))
    assert patch(model, data).data == data


def test_fakequant_quantizes_activations_as_the_named_kernel_set_does(board: Board) -> None:
    case = next(c for c in convolutions() if c.name == "1x1-per-channel")
    kernels = KERNEL_SETS["litert-xnnpack"]
    shapes = [a.shape for a in run_interpreter(case, board, kernels.options)]
    (expected,) = run_interpreter(case, board, kernels.options, shapes)
    model = lift(case.model(shapes))

    def error(profile: KernelProfile | None) -> float:
        (result,) = results(emit(model, "fakequant", profile=profile).model, case)
        return float(np.abs(result - expected).max() / np.ptp(expected))

    assert error(KernelProfile.named(kernels.profile)) < 1e-6
    assert error(None) > 1e-4  # the scale of a whole image, not of each pixel
