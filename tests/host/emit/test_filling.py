"""Variables take the file's values without a copy on the way, and are nobody else's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from liteback.emit.variables import assign
from liteback.ir import Quantization
from liteback.numerics.affine import dequantize
from liteback.numerics.aligned import aligned, is_aligned
from liteback.reconstruction import reconstruction
from tflite_build import Op, Subgraph, Tensor, build_model

PEAK = """
import sys
import keras
from liteback.reconstruction import reconstruct

def status(field):  # bytes
    line = next(line for line in open("/proc/self/status") if line.startswith(field))
    return int(line.split()[1]) * 1024

keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # VmHWM begins anew
model = reconstruct(sys.argv[1])
print(status("VmHWM") - before)
"""


def dense(weight: NDArray[Any]) -> bytes:
    """One FULLY_CONNECTED; a hybrid one where the weight is int8."""
    units, depth = weight.shape
    grid = {"scale": 0.5, "zero_point": 0} if weight.dtype == np.int8 else {}
    kernel = Tensor([units, depth], str(weight.dtype), weight, **grid)
    tensors = [Tensor([1, depth]), kernel, Tensor([1, units])]
    return build_model(
        Subgraph(tensors, [Op("FULLY_CONNECTED", [0, 1], [2], schema.FullyConnectedOptionsT())], [0], [2])
    )


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_what_a_large_weight_takes(dtype: str, tmp_path: Path) -> None:
    """The file and its real values, both once."""
    weight = np.ones((3072, 3072), dtype)
    path = tmp_path / "dense.tflite"
    path.write_bytes(dense(weight))
    told = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True).stdout
    real = weight.size * 4
    assert real <= int(told) <= (weight.nbytes + real) * 1.2


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_training_changes_the_variable_alone(dtype: str) -> None:
    weight = np.arange(256 * 128).reshape(256, 128).astype(dtype)
    emission = reconstruction(dense(weight))
    (binding,) = emission.bindings
    kernel = emission.model.get_layer(binding.layer).kernel
    before = binding.weight.value.copy()
    kernel.assign_add(keras.ops.ones_like(kernel))
    np.testing.assert_array_equal(kernel.numpy(), before + 1)
    np.testing.assert_array_equal(binding.weight.value, before)
    np.testing.assert_array_equal(binding.weight.restore(before) / (0.5 if dtype == "int8" else 1), weight)


@pytest.mark.parametrize("kind", ["aligned", "not aligned", "read-only", "not in a row", "of another type", "small"])
def test_every_array_arrives(kind: str) -> None:
    values = aligned(np.random.default_rng(0).standard_normal((300, 200)), np.float32)
    if kind == "not aligned":
        values = values.reshape(-1)[1:-199].reshape(299, 199 + 1)
    elif kind == "read-only":
        values.flags.writeable = False
    elif kind == "not in a row":
        values = values.T
    elif kind == "of another type":
        values = values.astype(np.int32)
    elif kind == "small":
        values = values[:2, :2]
    variable = keras.Variable(np.zeros(values.shape, values.dtype), dtype=str(values.dtype))
    expected = values.copy()
    assign(variable, values)
    del values
    np.testing.assert_array_equal(variable.numpy(), expected)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        assign(keras.Variable(np.zeros((2, 3), np.float32)), np.zeros((300, 200), np.float32))


@pytest.mark.parametrize("shape", [(), (5,), (64, 33)])
def test_aligned(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).integers(-9, 9, shape).astype(np.int8)
    copy = aligned(values, np.float32)
    assert is_aligned(copy)
    assert copy.dtype == np.float32
    assert copy.flags.c_contiguous
    np.testing.assert_array_equal(copy, values)
    assert is_aligned(dequantize(values, Quantization(np.float32([0.5]), np.int64([1]), 0)))
