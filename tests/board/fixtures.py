"""The boxes as pytest fixtures; `tests/conftest.py` takes them in, so that every test can ask for one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pytest

from absent import absent
from board import host
from board.namespaces import NamespaceBox


def present(arch: str) -> None:
    """Skip, or in CI fail, where there can be no box of `arch`."""
    if reason := host.missing(arch):
        absent(reason)


@pytest.fixture(scope="module")
def box() -> Iterator[NamespaceBox]:
    """A sound amd64 board, running, for the tests of one module: leave it as it was."""
    present("amd64")
    with NamespaceBox() as box:
        yield box


@pytest.fixture(scope="module")
def arm_box() -> Iterator[NamespaceBox]:
    """A sound arm64 board, emulated, running, for the tests of one module."""
    present("arm64")
    with NamespaceBox("arm64") as box:
        yield box


@pytest.fixture
def new_box() -> Iterator[Callable[..., NamespaceBox]]:
    """`new_box(variant="no-python")`: a board for one test, running."""
    with contextlib.ExitStack() as boxes:

        def make(arch: str = "amd64", variant: str = "") -> NamespaceBox:
            present(arch)
            return boxes.enter_context(NamespaceBox(arch, variant))

        yield make
