"""A comparison as JUnit XML, which every CI system draws."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from xml.etree import ElementTree

from liteback.comparison.result import MODES, Comparison, Mode, Row
from liteback.words import printable

# What XML 1.0 cannot hold, even escaped; a tensor's name is anybody's text.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
NO_GATES: Mapping[str, Sequence[str]] = MappingProxyType({})


def junit(comparison: Comparison, gates: Mapping[str, Sequence[str]] = NO_GATES) -> str:
    """One test suite for each mode, one test case for each layer and mode; and a suite with a case for each gate.

    gates: each of the user's gates -> what breaks it, as `broken_gates` says.
    """
    root = ElementTree.Element("testsuites", name=_text(f"liteback compare {comparison.candidate}"))
    for mode in MODES:
        judged = [row for row in comparison.rows if mode in row.passed]
        failures = sum(_failed(row, mode) for row in judged)
        suite = ElementTree.SubElement(root, "testsuite", name=mode, tests=str(len(judged)), failures=str(failures))
        for row in judged:
            case = ElementTree.SubElement(
                suite, "testcase", name=_text(f"{row.layer} {row.tensor.name}"), classname=f"{mode}.{row.op}"
            )
            if _failed(row, mode):
                ElementTree.SubElement(case, "failure", message=_text(_message(row, mode)))
            elif row.undecided and not row.passed[mode]:
                why = f"undecided: {_message(row, mode)}; compare a fakequant reconstruction"
                ElementTree.SubElement(case, "skipped", message=_text(why))
    if gates:
        failures = sum(map(bool, gates.values()))
        suite = ElementTree.SubElement(root, "testsuite", name="gates", tests=str(len(gates)), failures=str(failures))
    for gate, broken in gates.items():
        case = ElementTree.SubElement(suite, "testcase", name=gate, classname="gates")
        if broken:
            ElementTree.SubElement(case, "failure", message=_text("; ".join(broken)))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _failed(row: Row, mode: Mode) -> bool:
    return not row.passed[mode] and not row.drift and not row.undecided


def _message(row: Row, mode: Mode) -> str:
    if row.metrics(mode) is None:
        return row.note
    names = ("lsb_max", "lsb_differ", "max_abs_over_range", "sqnr_db", "differ")
    values = {name: row.value(mode, name) for name in names}
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)


def _text(value: str) -> str:
    return _NOT_XML.sub("�", printable(value))
