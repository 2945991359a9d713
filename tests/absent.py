"""What a test needs and does not find here: a skip that says so; in CI, which is meant to have it, a failure."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"CI is meant to run this: {reason}")
    pytest.skip(reason)
