"""What commands print, drawn without running them."""

from __future__ import annotations

import io
from typing import Any

import tflite_build as build
from liteback.cli import tables
from liteback.cli.terminal import Terminal
from liteback.inspection import inspect

NAMED = "w[/][red]b :x:"  # what a console would take for styles and pictures


def shown(draw: Any, *arguments: Any, width: int = 100) -> str:
    console = Terminal()
    console.file, console.width = io.StringIO(), width
    draw(console, *arguments)
    text: str = console.file.getvalue()
    return text


def tiny(name: str) -> bytes:
    tensors = [build.Tensor([1, 8], name=name), build.Tensor([1, 8], name="y")]
    graph = build.Subgraph(tensors, [build.Op("RELU", [0], [1])], [0], [1])
    return build.build_model(graph, description=name)


def test_names_are_shown_as_they_are() -> None:
    text = shown(tables.inspection, f"{NAMED}.tflite", inspect(tiny(NAMED)), True)
    assert text.count(NAMED) == 3  # the file's, its description, its input's


def test_what_does_not_fit_goes_on_in_its_column() -> None:
    lines = shown(tables.inspection, "m.tflite", inspect(tiny("long " * 30)), False, width=60).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("input"))
    assert lines[at + 1].startswith(" " * 14 + "long")
