"""A file that would unpack into more than it can honestly hold is refused before it is unpacked."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema

import small_models
from liteback.errors import InvalidModel
from liteback.flatbuffer.verify import _Walk, verify


def test_what_is_beyond_the_budget_is_called_damaged_first() -> None:
    data = small_models.chain(2)
    model = schema.Model.GetRootAsModel(data, 0)
    verify(model, len(data))
    with pytest.raises(InvalidModel, match=r"^The file is damaged, .* lead to more tables than a \.tflite file"):
        _Walk(tables=1, elements=100, bytes=100).table(model)
