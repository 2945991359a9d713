"""What the board is: everything in the Info message, as far as it can be known without help."""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
import socket
import struct
import subprocess
import sys
from typing import Callable, Dict, List

from liteback_agent import VERSION
from liteback_proto import PROTOCOL, agent_pb2

RUNTIMES = ("tflite_runtime", "ai_edge_litert")  # in the order of preference
# Debian's packages leave an egg-info: tflite_runtime-2.5.0.post1-py3.7.egg-info
_METADATA = re.compile(rf"(?P<name>{'|'.join(RUNTIMES)})-(?P<version>[^-]+)(-.*)?\.(dist|egg)-info")


def info(store: str, limits: agent_pb2.Limits) -> agent_pb2.Info:
    """The Info message; what cannot be found out stays empty."""
    cpu, memory = _table("/proc/cpuinfo"), _table("/proc/meminfo")
    bits = 8 * struct.calcsize("P")
    return agent_pb2.Info(
        agent_version=VERSION,
        protocol=PROTOCOL,
        hostname=socket.gethostname(),
        board=_read("/proc/device-tree/model") or _read("/sys/class/dmi/id/product_name"),
        os=_table("/etc/os-release", "=").get("PRETTY_NAME", "").strip('"'),
        kernel=platform.release(),
        machine=_userland(platform.machine(), bits),
        bits=bits,
        libc=_attempt(lambda: os.confstr("CS_GNU_LIBC_VERSION") or ""),
        python=platform.python_version(),
        cpu=cpu.get("model name") or cpu.get("Model") or cpu.get("Hardware", ""),
        cpu_features=(cpu.get("flags") or cpu.get("Features", "")).split(),
        cpu_count=os.cpu_count() or 0,
        ram_bytes=_kib(memory.get("MemTotal", "")),
        ram_available_bytes=_kib(memory.get("MemAvailable", "")),
        disk_free_bytes=shutil.disk_usage(store).free,
        temperature_c=max(map(_celsius, glob.glob("/sys/class/thermal/thermal_zone*/temp")), default=0.0),
        throttled=_throttled(),
        runtimes=runtimes(),
        limits=limits,
    )


def ram_bytes() -> int:
    """All of the board's RAM; 0 if it is not known."""
    return _kib(_table("/proc/meminfo").get("MemTotal", ""))


def runtimes() -> List[agent_pb2.Runtime]:
    """The installed runtimes, by their metadata: the server never imports one."""
    found: Dict[str, str] = {}
    for folder in filter(os.path.isdir, sys.path):
        for entry in os.listdir(folder):  # importlib.metadata needs Python 3.8
            match = _METADATA.fullmatch(entry)
            if match:
                found.setdefault(match["name"], match["version"])
    return [agent_pb2.Runtime(name=name, version=found[name]) for name in RUNTIMES if name in found]


def _userland(machine: str, bits: int) -> str:
    """A 32-bit userland on a 64-bit kernel is common on a Raspberry Pi; wheels follow the userland."""
    return {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine) if bits == 32 else machine


def _attempt(read: Callable[[], str]) -> str:
    try:
        return read().strip("\0\n ")
    except (OSError, ValueError):
        return ""


def _read(path: str) -> str:
    def read() -> str:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()

    return _attempt(read)


def _table(path: str, separator: str = ":") -> Dict[str, str]:
    """`key: value` lines; the first of each key counts."""
    table: Dict[str, str] = {}
    for line in _read(path).splitlines():
        key, _, value = line.partition(separator)
        table.setdefault(key.strip(), value.strip())
    return table


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024 if text else 0


def _celsius(path: str) -> float:
    text = _read(path)
    return int(text) / 1000 if text.lstrip("-").isdigit() else 0.0


def _throttled() -> str:
    command = shutil.which("vcgencmd")
    if not command:
        return ""
    try:
        return (
            subprocess.run(
                [command, "get_throttled"],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=2,
                check=False,
            )
            .stdout.decode("ascii", "replace")
            .strip()
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
