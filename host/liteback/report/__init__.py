"""A comparison for people (HTML) and for CI systems (JUnit XML)."""

from __future__ import annotations

from .data import ReportData, RoundTrip
from .html import render
from .junit import junit

__all__ = ["ReportData", "RoundTrip", "junit", "render"]
