"""The options of custom operators. The schema leaves their form to whoever made the operator.

Most are a flexbuffer map (TensorFlow's own custom operators, the converter's). MediaPipe's are C structs of the
TensorFlow Lite kernels that its operators were made from.
"""

from __future__ import annotations

import struct
from typing import Any

from flatbuffers import flexbuffers

_POOL = ("padding", "stride_w", "stride_h", "filter_width", "filter_height", "activation")
# TfLiteTransposeConvParams and TfLitePoolParams (tensorflow/lite/core/c/builtin_op_data.h, v2.14.0): int32 fields.
_STRUCTS = {
    "Convolution2DTransposeBias": _POOL[:3],
    "MaxPoolingWithArgmax2D": _POOL,
    "MaxUnpooling2D": _POOL,
}
_PADDING = {1: "SAME", 2: "VALID"}  # TfLitePadding, not the schema's Padding


def decode(name: str, payload: bytes) -> dict[str, Any]:
    """The options of the custom operator `name`; {"custom_options": payload} where their form is not known."""
    fields = _STRUCTS.get(name)
    if fields and len(payload) >= 4 * len(fields):
        values = dict(zip(fields, struct.unpack_from(f"<{len(fields)}i", payload), strict=True))
        return {**values, "padding": _PADDING.get(values["padding"], values["padding"])}
    options = _flexbuffer(payload) if payload else {}
    return {"custom_options": payload} if options is None else options


def _flexbuffer(payload: bytes) -> dict[str, Any] | None:
    """The numbers, truths, texts and lists of numbers of a flexbuffer map; None for bytes that are no such map."""
    try:
        root = flexbuffers.GetRoot(bytearray(payload))
        if not root.IsMap:
            return None
        entries = root.AsMap
        if len(entries) > len(payload):
            return None
        return {key.Value: _plain(value) for key, value in zip(entries.Keys, entries.Values, strict=True)}
    except Exception:  # noqa: BLE001  any bytes may come here; the reader raises whatever its arithmetic meets
        return None


def _plain(value: Any) -> Any:
    # One level of lists and no maps: children may be shared, and then a few bytes describe a tree without end.
    if value.IsVector or value.IsTypedVector:
        return tuple(_scalar(v) for v in (value.AsVector if value.IsVector else value.AsTypedVector))
    return _scalar(value)


def _scalar(value: Any) -> Any:
    return value.Value if value.IsBool or value.IsNumeric or value.IsString or value.IsKey else None
