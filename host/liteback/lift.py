"""FlatModel -> ir.Model: the file's own words, decoded once for every operator.

Here, and nowhere else: both schema generations, option names and enums, fused activations, constants, packed and
string data, quantization parameters. All that is wrong with a file is reported at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from liteback import custom_options, sparse
from liteback.errors import InvalidModel
from liteback.flatbuffer.parse import FlatModel, parse
from liteback.ir import ABSENT, PACKED_BITS, Graph, Model, Node, Quantization, Signature, Tensor, numpy_dtype
from liteback.packing import unpack
from liteback.words import counted

MAX_RANK = 32  # numpy 1's
MAX_SPARSITY = 1024  # elements for each byte of a sparse constant
MAX_ELEMENTS = 1 << 58  # of a tensor: its bytes stay a 64-bit number, whatever its type
MAX_SHARING = 16  # tensors a constant's bytes may serve, on average: each signature's subgraph may hold all of them
_LISTED = 20  # problems a message tells one by one


def _names(enum: type) -> dict[int, str]:
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


OP_NAMES = _names(schema.BuiltinOperator)
ACTIVATIONS = _names(schema.ActivationFunctionType)
DTYPES = {value: name.lower() for value, name in _names(schema.TensorType).items()}

# Option fields that hold an enum: the field's name -> what its numbers mean.
ENUM_OPTIONS: Mapping[str, Mapping[int, str]] = {
    "padding": _names(schema.Padding),
    "mode": _names(schema.MirrorPadMode),
    "weights_format": _names(schema.FullyConnectedOptionsWeightsFormat),
    "in_data_type": DTYPES,
    "out_data_type": DTYPES,
    "output_type": DTYPES,
    "out_type": DTYPES,
    "idx_out_type": DTYPES,
    "quantized_bias_type": DTYPES,
    "combiner": _names(schema.CombinerType),
    "kernel_type": _names(schema.LSTMKernelType),
    "reduce_function": _names(schema.ReduceWindowFunction),
    "algorithm": _names(schema.RngAlgorithm),
}

# Operators that read of a subgraph what it computes, and do not run it: which option names it.
REGIONS: Mapping[str, str] = {
    "STABLEHLO_SCATTER": "update_computation_subgraph_index",
    "STABLEHLO_REDUCE_WINDOW": "body_subgraph_index",
}

# Operators whose option table is not called like themselves. None: the schema has no options for them.
_OPTION_TABLES: Mapping[str, str | None] = {
    **dict.fromkeys(("AVERAGE_POOL_2D", "L2_POOL_2D", "MAX_POOL_2D"), "Pool2DOptions"),
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_ANY", "REDUCE_ALL"),
        "ReducerOptions",
    ),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), "MaximumMinimumOptions"),
    **dict.fromkeys(("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"), "RandomOptions"),
    "L2_NORMALIZATION": "L2NormOptions",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "SequenceRNNOptions",
    "CONV_3D_TRANSPOSE": "Conv3DOptions",
}
_TABLES = {name.lower(): name for name in vars(schema) if name.endswith("Options")}


def options_class(op: str) -> type | None:
    """The object-API class of an operator's options, or None where the schema has none."""
    table = _OPTION_TABLES.get(op) or _TABLES.get(op.replace("_", "").lower() + "options")
    return getattr(schema, table + "T") if table else None


def lift(data: bytes | FlatModel) -> Model:
    """Decode a file into the intermediate representation.

    Raises:
        InvalidModel: the file is damaged or breaks a rule of the schema; the message lists everything found.
    """
    flat = data if isinstance(data, FlatModel) else parse(data)
    root, problems = flat.root, list[str]()
    if not root.subgraphs:
        raise InvalidModel("A .tflite file holds at least one subgraph. Received: none. There is nothing to run in it.")
    _check_sharing(flat)
    graphs = tuple(_graph(flat, i, g, problems) for i, g in enumerate(root.subgraphs))
    graphs = tuple(_with_regions(g, graphs, problems) for g in graphs)
    signatures = tuple(_signature(s, graphs, problems) for s in root.signatureDefs or ())
    if problems:
        more = [f"... and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
        listed = "\n".join(f"  - {p}" for p in problems[:_LISTED] + more)
        raise InvalidModel(f"This .tflite file breaks {counted(len(problems), 'rule')} of its schema:\n{listed}")
    return Model(
        sha256=flat.sha256,
        size=len(flat.data),
        version=root.version,
        description=_text(root.description),
        graphs=graphs,
        signatures=signatures,
        metadata=tuple(_text(m.name) for m in root.metadata or ()),
    )


def _check_sharing(flat: FlatModel) -> None:
    """Raises: InvalidModel when the constants would unpack to many times the file."""
    sizes = dict(enumerate(e.size for e in flat.extents))
    total = sum(sizes.get(t.buffer, 0) for g in flat.root.subgraphs for t in g.tensors or ())
    if total > MAX_SHARING * len(flat.data) + (64 << 20):
        raise InvalidModel(
            f"The tensors of a .tflite file share few of its buffers. Received: constants of {total} bytes in a file "
            f"of {len(flat.data)}. It is damaged, or made to exhaust its reader. Copy it again from its source."
        )


def _graph(flat: FlatModel, index: int, raw: Any, problems: list[str]) -> Graph:
    where = f"subgraph {index}"
    count = len(raw.tensors) if raw.tensors is not None else 0
    nodes = []
    for i, operator in enumerate(raw.operators or ()):
        code = operator.opcodeIndex
        if not 0 <= code < len(flat.root.operatorCodes or ()):
            problems.append(f"{where}, operator {i}: operator code {code} does not exist")
            continue
        nodes.append(_node(i, operator, flat.root.operatorCodes[code]))
    graph_inputs, graph_outputs = _ints(raw.inputs), _ints(raw.outputs)
    for what, indices in [
        ("inputs", graph_inputs),
        ("outputs", graph_outputs),
        *((f"operator {n.index} ({n.op})", (*(i for i in n.inputs if i != ABSENT), *n.outputs)) for n in nodes),
    ]:
        wrong = [t for t in indices if not 0 <= t < count]
        if wrong:
            listed = ", ".join(map(str, wrong[:5])) + (" ..." if len(wrong) > 5 else "")
            problems.append(f"{where}, {what}: tensor {listed} does not exist; there are {count}")
    computed = {t for n in nodes for t in n.outputs} | set(graph_inputs)
    tensors = tuple(
        _tensor(flat, f"{where}, tensor {i}", i, t, i in computed, problems) for i, t in enumerate(raw.tensors or ())
    )
    for i, t in enumerate(raw.tensors or ()):
        if isinstance(getattr(t.quantization, "details", None), schema.BlockwiseQuantizationT):
            blocks = _blockwise(t.quantization.details, f"{where}, tensor {i}", tensors[i].shape, tensors, problems)
            tensors = (*tensors[:i], replace(tensors[i], quantization=blocks), *tensors[i + 1 :])
    return Graph(index, _text(raw.name), tensors, tuple(nodes), graph_inputs, graph_outputs)


def _with_regions(graph: Graph, graphs: tuple[Graph, ...], problems: list[str]) -> Graph:
    """A graph whose nodes have the operators of their regions as one more option, `region`."""
    nodes = list(graph.nodes)
    for place, node in enumerate(nodes):
        if node.op not in REGIONS:
            continue
        index = node.options[REGIONS[node.op]]
        if 0 <= index < len(graphs):
            region = tuple(n.op for n in graphs[index].nodes)
            nodes[place] = replace(node, options={**node.options, "region": region})
        else:
            problems.append(
                f"subgraph {graph.index}, operator {node.index} ({node.op}): subgraph {index} does not exist"
            )
    return replace(graph, nodes=tuple(nodes))


def _node(index: int, operator: Any, code: Any) -> Node:
    # Files before TensorFlow 2.4 hold the operator in the one-byte field; newer ones put 127 there for a larger code.
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    op = OP_NAMES.get(number, f"UNKNOWN_{number}")
    if op == "CUSTOM":
        op = f"CUSTOM:{_text(code.customCode)}"
    options = decode_options(op, operator)
    return Node(
        index=index,
        op=op,
        inputs=_ints(operator.inputs),
        outputs=_ints(operator.outputs),
        options={k: v for k, v in options.items() if k != "fused_activation_function"},
        activation=ACTIVATIONS.get(options.get("fused_activation_function", 0), "NONE"),
        version=code.version,
        intermediates=_ints(operator.intermediates),
    )


def decode_options(op: str, operator: Any) -> dict[str, Any]:
    """An operator's options under the schema's own names; its defaults where the file has no option table."""
    if op.startswith("CUSTOM:"):
        custom = operator.customOptions
        return custom_options.decode(op.partition(":")[2], bytes(bytearray(custom if custom is not None else b"")))
    table = operator.builtinOptions if operator.builtinOptions is not None else operator.builtinOptions2
    if table is None:
        default = options_class(op)
        table = default() if default else None
    return {snake(name): _option(snake(name), value) for name, value in vars(table).items()} if table else {}


def _option(name: str, value: Any) -> Any:
    if name in ENUM_OPTIONS and isinstance(value, int):
        return ENUM_OPTIONS[name].get(value, value)
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, (list, np.ndarray)):
        return _ints(value) if all(isinstance(v, (int, np.integer)) for v in value) else tuple(value)
    return value


def snake(camel: str) -> str:
    """strideW -> stride_w, dilationHFactor -> dilation_h_factor, idxOutType -> idx_out_type."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", camel).lower()


def _tensor(flat: FlatModel, where: str, index: int, raw: Any, computed: bool, problems: list[str]) -> Tensor:
    shape = _ints(raw.shape)
    signature = _ints(raw.shapeSignature) or shape
    dtype = DTYPES.get(raw.type, f"unknown_{raw.type}")
    if len(signature) != len(shape):
        problems.append(f"{where}: shape {list(shape)} and shape_signature {list(signature)} differ in rank")
    # The extents beside a zero count too: NumPy multiplies all of them.
    if len(shape) > MAX_RANK or any(d < 0 for d in shape) or math.prod(d or 1 for d in shape) > MAX_ELEMENTS:
        problems.append(
            f"{where}: shape {list(shape[:MAX_RANK])} has a negative extent, more than {MAX_RANK} of them, or more "
            f"than {MAX_ELEMENTS} elements"
        )
        shape = signature = ()
    # Buffer 0 is empty by convention; a file without constants may leave the whole list out.
    known = 0 <= raw.buffer < len(flat.extents)
    if not known and raw.buffer != 0:
        problems.append(f"{where}: buffer {raw.buffer} does not exist")
    payload = flat.buffer(raw.buffer) if known else memoryview(b"")
    data = None
    # A tensor with bytes is a constant; so is an empty one that nothing computes.
    if len(payload) or (0 in shape and not computed and not raw.isVariable):
        data = _constant(payload, dtype, shape, where, problems, raw.sparsity)
    quantization = _quantization(raw.quantization, shape, where, problems)
    variable, is_sparse = bool(raw.isVariable), data is not None and raw.sparsity is not None
    return Tensor(index, _text(raw.name), dtype, shape, signature, quantization, data, variable, is_sparse=is_sparse)


def _constant(
    payload: memoryview, dtype: str, shape: tuple[int, ...], where: str, problems: list[str], sparsity: Any
) -> NDArray[Any] | None:
    elements = math.prod(shape)
    if sparsity is not None:
        return _densified(payload, dtype, shape, where, problems, sparsity)
    if dtype == "string":
        return _strings(payload, shape, where, problems)
    itemsize = PACKED_BITS[dtype] / 8 if dtype in PACKED_BITS else _itemsize(dtype)
    if itemsize and len(payload) != int(np.ceil(elements * itemsize)):
        problems.append(f"{where}: {len(payload)} bytes of data for {elements} elements of {dtype}")
        return None
    if dtype in PACKED_BITS:
        return unpack(payload, PACKED_BITS[dtype], numpy_dtype(dtype))[:elements].reshape(shape)
    return np.frombuffer(payload, np.dtype(dtype).newbyteorder("<")).reshape(shape) if itemsize else None


def _densified(
    payload: memoryview, dtype: str, shape: tuple[int, ...], where: str, problems: list[str], sparsity: Any
) -> NDArray[Any] | None:
    """A sparse constant with its zeros. Raises nothing: what is wrong is added to `problems`."""
    if math.prod(shape) > MAX_SPARSITY * len(payload) + (1 << 24):
        problems.append(f"{where}: {len(payload)} bytes of sparse data for {math.prod(shape)} elements")
        return None
    try:
        places = sparse.positions(shape, sparsity)
    except ValueError as error:
        problems.append(f"{where}: its sparsity is damaged: {error}")
        return None
    values = _constant(payload, dtype, (len(places),), where, problems, None)
    if values is None:
        return None
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[places] = values
    return dense.reshape(shape)


def _itemsize(dtype: str) -> int:
    try:
        return np.dtype(dtype).itemsize
    except TypeError:  # resource, variant, and the types numpy has no name for
        return 0


def _strings(payload: memoryview, shape: tuple[int, ...], where: str, problems: list[str]) -> NDArray[Any] | None:
    """TFLite's string buffer: int32 count, count + 1 int32 offsets, the bytes (lite/string_util.h)."""
    count = int(np.frombuffer(payload[:4], "<i4")[0]) if len(payload) >= 4 else -1
    end = 4 + 4 * (count + 1) if 0 <= count <= len(payload) // 4 else 4
    offsets: NDArray[np.int32] = np.frombuffer(payload[4:end], "<i4") if end <= len(payload) else np.empty(0, np.int32)
    if len(offsets) != count + 1 or count != math.prod(shape):
        problems.append(f"{where}: the string buffer is damaged")
        return None
    # Each text once: offsets that overlap would make gigabytes of a small file.
    if not 0 <= offsets[0] <= offsets[-1] <= len(payload) or np.any(offsets[1:] < offsets[:-1]):
        problems.append(f"{where}: an offset of the string buffer leads outside it, or back")
        return None
    texts = [bytes(payload[a:b]) for a, b in pairwise(offsets)]
    return np.array(texts, dtype=object).reshape(shape)


def _quantization(raw: Any, shape: tuple[int, ...], where: str, problems: list[str]) -> Quantization | None:
    """None where the file gives no scale: min/max alone (a converter's leftovers) quantize nothing."""
    if raw is None or raw.scale is None or len(raw.scale) == 0:
        return None
    scale = np.asarray(raw.scale, np.float32)
    zero_point = np.asarray(raw.zeroPoint if raw.zeroPoint is not None else 0, np.int64).reshape(-1)
    if zero_point.size not in (0, 1, scale.size):
        problems.append(f"{where}: {zero_point.size} zero points for {scale.size} scales")
        return None
    zero_point = np.resize(zero_point, scale.size)  # of none: zeros
    if not np.all(np.isfinite(scale) & (scale >= 0)):
        problems.append(f"{where}: a scale is negative, infinite or no number")
        return None
    axis = int(raw.quantizedDimension)
    if scale.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scale.size):
        problems.append(f"{where}: {scale.size} scales along axis {axis} of shape {list(shape)}")
        return None
    return Quantization(scale, zero_point, axis)


def _blockwise(
    raw: Any, where: str, shape: tuple[int, ...], tensors: tuple[Tensor, ...], problems: list[str]
) -> Quantization | None:
    """Scales (and zero points) that are kept in other tensors of the graph, one for each block of the last axis."""
    size = int(raw.blockSize)
    blocks = (*shape[:-1], shape[-1] // size) if shape and size > 0 and shape[-1] % size == 0 else None
    wanted = [raw.scales] + ([raw.zeroPoints] if raw.zeroPoints >= 0 else [])
    if blocks is None:
        problems.append(f"{where}: blocks of {size} elements do not divide shape {list(shape)}")
        return None
    values = []
    for t in wanted:
        data = tensors[t].data if 0 <= t < len(tensors) else None
        if data is None or data.size != math.prod(blocks):
            problems.append(f"{where}: tensor {t} does not hold one value for each block of {size} elements")
            return None
        values.append(data.reshape(blocks))
    zero_points = values[1].astype(np.int64) if len(values) > 1 else np.zeros(blocks, np.int64)
    return Quantization(values[0].astype(np.float32), zero_points, axis=len(shape) - 1, block_size=size)


def _signature(raw: Any, graphs: tuple[Graph, ...], problems: list[str]) -> Signature:
    key = _text(raw.signatureKey)
    if not 0 <= raw.subgraphIndex < len(graphs):
        problems.append(f"signature {key!r}: subgraph {raw.subgraphIndex} does not exist")
    entries = [{_text(e.name): int(e.tensorIndex) for e in part or ()} for part in (raw.inputs, raw.outputs)]
    count = len(graphs[raw.subgraphIndex].tensors) if 0 <= raw.subgraphIndex < len(graphs) else 0
    for name, t in (*entries[0].items(), *entries[1].items()):
        if not 0 <= t < count:
            problems.append(f"signature {key!r}, {name!r}: tensor {t} does not exist; there are {count}")
    return Signature(key, int(raw.subgraphIndex), *entries)


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in values) if values is not None else ()


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
