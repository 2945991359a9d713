"""A comparison for people (HTML) and for CI systems (JUnit XML)."""

from __future__ import annotations

from liteback.report.data import ReportData, RoundTrip
from liteback.report.html import render
from liteback.report.junit import junit

__all__ = ["ReportData", "RoundTrip", "junit", "render"]
