"""The keys that known_hosts files have of a host: plain, hashed and wildcard names, and revoked keys.

Format: sshd(8), section SSH_KNOWN_HOSTS FILE FORMAT. paramiko's own reader knows neither wildcards nor markers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path


@dataclass(frozen=True)
class KnownKey:
    """A line that is about the host. blob: the public key as SSH sends it."""

    type: str
    blob: bytes
    revoked: bool
    file: Path
    line: int


def known_as(host: str, port: int) -> str:
    """The name under which a host's keys are kept: `host`, or `[host]:port` for a port other than 22."""
    return host if port == 22 else f"[{host}]:{port}"


def known_keys(files: Iterable[Path], name: str) -> list[KnownKey]:
    """Every key that the files have for `name`; a file that is not there has none."""
    return [key for file in files if file.is_file() for key in _read(file, name.lower())]


def fingerprint(blob: bytes) -> str:
    """SHA256:... as `ssh-keygen -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def line_for(name: str, key_type: str, blob: bytes) -> str:
    """The line of a known_hosts file that makes `name` known by this key."""
    return f"{name} {key_type} {base64.b64encode(blob).decode('ascii')}"


def _read(file: Path, name: str) -> Iterator[KnownKey]:
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        # A certificate authority's key is no host's key, and paramiko takes no host certificates.
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        if _names(words[0], name):
            try:
                yield KnownKey(words[1], base64.b64decode(words[2], validate=True), bool(marker), file, number)
            except binascii.Error:
                continue


def _names(field: str, name: str) -> bool:
    """Whether the first field of a line, a hashed name or a list of patterns, is about `name`."""
    if field.startswith("|1|"):
        return _is_hash_of(field, name)
    patterns = field.lower().split(",")
    if any(_matches(p[1:], name) for p in patterns if p.startswith("!")):
        return False
    return any(_matches(p, name) for p in patterns if not p.startswith("!"))


def _matches(pattern: str, name: str) -> bool:
    # Of a shell's pattern only * and ? count here; [ is the bracket around a host with a port.
    return fnmatchcase(name, pattern.replace("[", "[[]"))


def _is_hash_of(field: str, name: str) -> bool:
    """|1|salt|HMAC-SHA1(salt, name)"""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in field.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
