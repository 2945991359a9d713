"""Facts of boards for tests that need no board."""

from __future__ import annotations

from typing import Any

from liteback_deploy.facts import Facts, Version, parse

SOUND = """\
user=pi
uid=1000
home=/users/pi
os=Debian GNU/Linux 12 (bookworm)
kernel=6.6.31
machine=aarch64
bits=64
glibc=glibc 2.36
clock=1000
ram_kib=900000
disk_kib=2000000
writable=yes
python_path=/usr/bin/python3
python=3.11.2
python_bits=64
libstdcxx=yes
systemd=252
user_manager=yes
sudo=yes
current=
"""


def facts(**changes: Any) -> Facts:
    """A sound Raspberry Pi OS bookworm, 64 bit, with `changes` in the lines of `facts.sh`."""
    lines = dict(line.split("=", 1) for line in SOUND.splitlines())
    lines.update({key: str(value) for key, value in changes.items()})
    return parse("".join(f"{key}={value}\n" for key, value in lines.items()), now=1000)


def board(machine: str, python: str, glibc: str, **changes: Any) -> Facts:
    return facts(machine=machine, python=python, glibc=f"glibc {glibc}" if glibc else "", **changes)


def dotted(version: Version) -> str:
    return ".".join(map(str, version))
