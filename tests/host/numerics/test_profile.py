"""Kernel profiles: what ships, what their JSON may hold, which one a recording's facts propose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liteback.errors import UsageError
from liteback.manifest import FORMAT, Manifest
from liteback.numerics.coverage import HYBRID, ON_CODES
from liteback.numerics.operator import EXACT, variants_of
from liteback.numerics.profile import KernelProfile, propose, shipped

UNKNOWN = "unknown"  # a profile's word for what nobody has found out: the operator is refused


def manifest(**facts: Any) -> Manifest:
    """A manifest of these facts; the rest does not matter here."""
    known = {"runtime": "tflite_runtime", "runtime_version": "2.14.0", "kernels": "builtin", "delegate": "", **facts}
    board = {"machine": known.pop("machine", "x86_64")}
    rest: dict[str, Any] = {"threads": 1, "agent_version": "0", "inputs": "", "samples": 0, "passes": ()}
    return Manifest(FORMAT, "0" * 64, "now", board, **known, **rest)


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_profile_names_variants_that_kernels_know(name: str) -> None:
    variants = shipped()[name].variants
    assert [k for k, v in variants.items() if v not in (*variants_of(k), UNKNOWN)] == []


def test_every_kernel_has_a_variant_of_the_reference() -> None:
    assert variants_of("CONV_2D/int8")[0] == "double"
    assert all(any(registered.variants.values()) for registered in EXACT.values())


def test_inspect_knows_which_operators_have_an_exact_kernel() -> None:
    """`coverage` answers without loading TensorFlow; what it lists is what is registered."""
    assert variants_of("CONV_2D/int8")  # loads the kernels
    assert {op for op, registered in EXACT.items() if registered.variants[""]} == ON_CODES
    assert {op for op, registered in EXACT.items() if registered.variants.get("float32")} == HYBRID


def test_a_class_without_a_kernel_has_no_variants() -> None:
    assert variants_of("RESHAPE/int8") == ()
    assert variants_of("ADD/float32") == ()


def test_a_node_comes_before_its_class_and_a_type_before_the_operator() -> None:
    profile = KernelProfile("p", variants={"ADD": "double", "ADD/int8": "xnnpack"}).with_nodes({7: "single"})
    kinds = [("ADD/int8", 7), ("ADD/int8", 8), ("ADD/uint8", 8), ("MUL/int8", 8)]
    assert [profile.variant(kind, node) for kind, node in kinds] == ["single", "xnnpack", "double", ""]


def test_a_profile_survives_its_json(tmp_path: Path) -> None:
    profile = shipped()["tflite_runtime-2.14-builtin-x86_64"].with_nodes({3: "double"})
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(profile.to_json()))
    assert KernelProfile.named(path) == profile


@pytest.mark.parametrize(
    "text", ["{}", "[]", "nonsense", '{"name": "x", "rounding": "up"}', '{"name": "x", "nodes": {"a": "b"}}']
)
def test_a_file_that_is_no_profile_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(UsageError, match="kernel profile"):
        KernelProfile.named(path)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"tflite_runtime-2\.14-builtin-aarch64"):
        KernelProfile.named("pi")


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ({}, "tflite_runtime-2.14-builtin-x86_64"),
        ({"kernels": "default"}, "tflite_runtime-2.14-builtin-x86_64"),
        ({"machine": "aarch64"}, "tflite_runtime-2.14-builtin-aarch64"),
        ({"machine": "aarch64", "kernels": "default"}, "tflite_runtime-2.14-builtin-aarch64"),
        ({"machine": "aarch64", "kernels": "reference"}, "tflite_runtime-2.14-reference-aarch64"),
        ({"machine": "armv7l", "kernels": "reference"}, "reference"),
        ({"runtime": "ai_edge_litert", "runtime_version": "2.3.0"}, "ai_edge_litert-2.3-builtin-x86_64"),
        (
            {"runtime": "ai_edge_litert", "runtime_version": "2.3.0", "kernels": "default"},
            "ai_edge_litert-2.3-xnnpack-x86_64",
        ),
    ],
)
def test_the_facts_propose_a_profile(facts: dict[str, Any], name: str) -> None:
    assert propose(manifest(**facts)).name == name
