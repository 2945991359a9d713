"""Operators of TensorFlow that a file carries as they are (SELECT_TF_OPS): `CUSTOM:FlexErf` is TensorFlow's Erf.

A runtime that is built with the Flex delegate computes them; a model of TensorFlow does so all the same. Their
custom_options are a flexbuffer vector of the operator's name and its NodeDef, serialized (tensorflow/lite/delegates/
flex/kernel.cc, v2.14.0). Needs no TensorFlow.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from flatbuffers import flexbuffers

from liteback.ir import Node

PREFIX = "CUSTOM:Flex"
ANY = f"{PREFIX}..."  # under which all of them are registered


@cache
def known() -> frozenset[str]:
    """TensorFlow's operators on tensors: without state (but for random numbers), handles, functions, or files."""
    return frozenset(resources.files(__package__).joinpath("tensorflow_ops.txt").read_text().split())


def node_def(custom_options: bytes) -> tuple[str, bytes]:
    """The operator's name, and its NodeDef. Raises: ValueError where the options are nothing like that."""
    try:
        entries = flexbuffers.GetRoot(bytearray(custom_options)).AsVector
        name, definition = (bytes(entry.AsStringBytes) for entry in entries)
        return name.decode(), definition
    except Exception as error:  # any bytes may come here; the reader raises whatever its arithmetic meets
        raise ValueError("its options hold no NodeDef") from error


def obstacle(node: Node) -> str | None:
    """Why a node that carries an operator of TensorFlow cannot come back; None where it can."""
    try:
        name, _ = node_def(node.options.get("custom_options", b""))
    except ValueError as error:
        return f"an operator of TensorFlow, but {error}"
    if f"{PREFIX}{name}" != node.op:
        return f"an operator of TensorFlow, but its options are those of {name!r}"
    if name not in known():
        return f"TensorFlow has no operator {name!r} that computes tensors from tensors alone"
    return None
