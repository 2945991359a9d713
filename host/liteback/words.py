"""Numbers and names in sentences."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from typing import Any

_BYTE = re.compile("[\udc80-\udcff]")  # how Python holds a byte of a file's name that is no UTF-8


def counted(count: int, noun: str, plural: str = "") -> str:
    """1 sample, 1,200 samples. plural: where it is not the noun and an s."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def some(names: Sequence[str]) -> str:
    """a, b, c and 2 more."""
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def printable(text: str) -> str:
    """A file's name as it can be written everywhere: each byte that is no UTF-8 as `\\xe8`."""
    return _BYTE.sub(lambda byte: f"\\x{ord(byte[0]) - 0xDC00:02x}", text)


def printable_json(value: Any) -> Any:
    """A document whose texts every JSON reader takes: many refuse a lone surrogate, which such a byte would be."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_json(key): printable_json(each) for key, each in value.items()}
    return [printable_json(each) for each in value] if isinstance(value, (list, tuple)) else value


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """What a stream shows of what its encoding has not."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return printable(error.object[error.start : error.end]).encode("ascii", "replace").decode(), error.end


codecs.register_error("printable", _replaced)  # open(..., errors="printable"), text.encode(errors="printable")
