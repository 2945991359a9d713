"""The boxes as pytest fixtures; `tests/conftest.py` takes them in, so that every test can ask for one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from absent import absent
from board import host
from board.box import Box
from board.namespaces import NamespaceBox
from board.vm import MachineBox


def make(arch: str = "amd64", variant: str = "") -> Box:
    """A box that is still off; skips, or in CI fails, where this machine cannot hold one.

    With LITEBACK_TEST_ARM=vm an arm64 one is a virtual machine: slower, with a kernel of its own; never so in CI.
    """
    kind = "vm" if arch == "arm64" and os.environ.get("LITEBACK_TEST_ARM") == "vm" else arch
    if reason := host.missing(kind):
        absent(reason)
    return MachineBox(variant) if kind == "vm" else NamespaceBox(arch, variant)


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A sound amd64 board, running, for the tests of one module: leave it as it was."""
    with make() as box:
        yield box


@pytest.fixture(scope="module")
def arm_box() -> Iterator[Box]:
    """A sound arm64 board, emulated, running, for the tests of one module."""
    with make("arm64") as box:
        yield box


@pytest.fixture
def new_box() -> Iterator[Callable[..., Box]]:
    """`new_box(variant="no-python")`: a board for one test, running."""
    with contextlib.ExitStack() as boxes:
        yield lambda arch="amd64", variant="": boxes.enter_context(make(arch, variant))
