"""Small .tflite files, straight from the schema: no TensorFlow, no converter, no runtime.

build_model(
    Subgraph(
        tensors=[Tensor([1, 4]), Tensor([1, 4]), Tensor([1, 4])],
        ops=[Op("ADD", [0, 1], [2], schema.AddOptionsT())],
        inputs=[0, 1],
        outputs=[2],
    )
)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

TYPES = {
    "float32": schema.TensorType.FLOAT32,
    "float16": schema.TensorType.FLOAT16,
    "float64": schema.TensorType.FLOAT64,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
    "int64": schema.TensorType.INT64,
    "string": schema.TensorType.STRING,
    "bool": schema.TensorType.BOOL,
    "int16": schema.TensorType.INT16,
    "complex64": schema.TensorType.COMPLEX64,
    "int8": schema.TensorType.INT8,
    "uint64": schema.TensorType.UINT64,
    "resource": schema.TensorType.RESOURCE,
    "variant": schema.TensorType.VARIANT,
    "uint32": schema.TensorType.UINT32,
    "uint16": schema.TensorType.UINT16,
    "int4": schema.TensorType.INT4,
    "uint4": schema.TensorType.UINT4,
    "int2": schema.TensorType.INT2,
}


@dataclass(frozen=True)
class Tensor:
    """data: the constant's array, or its bytes as in the file. scale: one, or one per slice of `axis`.

    blocks: how many elements of the last axis share a scale, and the tensor that holds these.
    """

    shape: Sequence[int]
    dtype: str = "float32"
    data: NDArray[Any] | bytes | None = None
    name: str = ""
    scale: Sequence[float] | float = ()
    zero_point: Sequence[int] | int = ()
    axis: int = 0
    variable: bool = False
    shape_signature: Sequence[int] | None = None
    sparsity: Any = None
    blocks: tuple[int, int] | None = None


@dataclass(frozen=True)
class Op:
    """op: the schema's name, or `CUSTOM:name`.

    options: an object of the schema's object API, or a custom op's bytes.
    mutating: for each input, whether the op changes it (a variable tensor).
    """

    op: str
    inputs: Sequence[int]
    outputs: Sequence[int]
    options: Any = None
    version: int = 1
    intermediates: Sequence[int] = ()
    mutating: Sequence[bool] = ()


@dataclass(frozen=True)
class Subgraph:
    tensors: Sequence[Tensor]
    ops: Sequence[Op]
    inputs: Sequence[int]
    outputs: Sequence[int]
    name: str = "main"


@dataclass(frozen=True)
class Signature:
    key: str
    inputs: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)
    subgraph: int = 0


def build_model(
    *subgraphs: Subgraph,
    signatures: Sequence[Signature] = (),
    description: str = "",
    old_codes_only: bool = False,
) -> bytes:
    """The file. old_codes_only: as before TF 2.4, the operator stands in `deprecated_builtin_code` alone."""
    model = schema.ModelT(version=3, description=description, operatorCodes=[], subgraphs=[])
    model.buffers = [schema.BufferT()]  # buffer 0 is empty by the schema's rule
    codes: dict[tuple[str, int], int] = {}
    for subgraph in subgraphs:
        part = schema.SubGraphT(name=subgraph.name, inputs=list(subgraph.inputs), outputs=list(subgraph.outputs))
        part.tensors = [_tensor(spec, model.buffers) for spec in subgraph.tensors]
        part.operators = []
        for op in subgraph.ops:
            index = codes.setdefault((op.op, op.version), len(codes))
            part.operators.append(_operator(op, index))
        model.subgraphs.append(part)
    model.operatorCodes = [_operator_code(name, version, old_codes_only) for name, version in codes]
    model.signatureDefs = [_signature(spec) for spec in signatures] or None
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tensor(spec: Tensor, buffers: list[Any]) -> Any:
    tensor = schema.TensorT(shape=list(spec.shape), type=TYPES[spec.dtype], name=spec.name or None)
    tensor.isVariable, tensor.hasRank = spec.variable, True
    if spec.shape_signature is not None:
        tensor.shapeSignature = list(spec.shape_signature)
    tensor.sparsity = spec.sparsity
    if spec.data is not None:
        data = spec.data if isinstance(spec.data, bytes) else np.asarray(spec.data, spec.dtype).tobytes()
        tensor.buffer = len(buffers)
        # An array, not a list: the object API packs it at once, not byte by byte.
        buffers.append(schema.BufferT(data=np.frombuffer(data, np.uint8)))
    scale = np.atleast_1d(np.asarray(spec.scale, np.float32))
    if scale.size:
        zero_point = np.broadcast_to(np.asarray(spec.zero_point if spec.zero_point != () else 0), scale.shape)
        tensor.quantization = schema.QuantizationParametersT(
            scale=scale.tolist(), zeroPoint=zero_point.tolist(), quantizedDimension=spec.axis
        )
    if spec.blocks is not None:
        size, scales = spec.blocks
        tensor.quantization = schema.QuantizationParametersT(
            detailsType=schema.QuantizationDetails.BlockwiseQuantization,
            details=schema.BlockwiseQuantizationT(scales=scales, zeroPoints=-1, blockSize=size),
        )
    return tensor


def _operator(spec: Op, code: int) -> Any:
    operator = schema.OperatorT(opcodeIndex=code, inputs=list(spec.inputs), outputs=list(spec.outputs))
    operator.intermediates = list(spec.intermediates) or None
    operator.mutatingVariableInputs = list(spec.mutating) or None
    if isinstance(spec.options, bytes):
        operator.customOptions = np.frombuffer(spec.options, np.uint8)
    elif spec.options is not None:
        name = type(spec.options).__name__.removesuffix("T")
        if hasattr(schema.BuiltinOptions, name):
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = spec.options
        else:
            operator.builtinOptions2Type = getattr(schema.BuiltinOptions2, name)
            operator.builtinOptions2 = spec.options
    return operator


def _operator_code(name: str, version: int, old_only: bool) -> Any:
    kind, _, custom = name.partition(":")
    code = getattr(schema.BuiltinOperator, kind)
    # 127 in the old, one-byte field says that the code stands in the new one.
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(code, 127),
        builtinCode=0 if old_only else code,
        customCode=custom or None,
        version=version,
    )


def _signature(spec: Signature) -> Any:
    return schema.SignatureDefT(
        signatureKey=spec.key,
        subgraphIndex=spec.subgraph,
        inputs=[schema.TensorMapT(name=name, tensorIndex=index) for name, index in spec.inputs.items()],
        outputs=[schema.TensorMapT(name=name, tensorIndex=index) for name, index in spec.outputs.items()],
    )
