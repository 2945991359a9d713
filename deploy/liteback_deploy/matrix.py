"""Which packages a board gets: the compatibility matrix, as data.

Each line was resolved against the package index with the tags that `platforms` names (tests/deploy/test_matrix.py does
it again). tflite-runtime comes first; ai-edge-litert where it has no wheel, from Python 3.12 on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from liteback_deploy.errors import BadRequest, Unsuitable
from liteback_deploy.facts import Facts, Version

MACHINES = ("aarch64", "armv7l", "x86_64")
_OLDEST_GLIBC = 17  # of the manylinux tags


@dataclass(frozen=True)
class Runtime:
    """A release of a runtime. glibc: machine -> the oldest minor version (of glibc 2) that its wheels run on."""

    package: str
    version: str
    pythons: tuple[Version, ...]
    glibc: Mapping[str, int]
    also: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        return self.package.replace("-", "_")


def _pythons(first: int, last: int) -> tuple[Version, ...]:
    return tuple((3, minor) for minor in range(first, last + 1))


_LITERT_NEEDS = (
    "backports-strenum==1.2.8",
    "flatbuffers==25.12.19",
    "tqdm==4.70.1",
)
# In the order of preference.
RUNTIMES = (
    Runtime("tflite-runtime", "2.14.0", _pythons(9, 11), {"x86_64": 17, "aarch64": 34, "armv7l": 34}),
    Runtime("tflite-runtime", "2.13.0", _pythons(8, 10), {"x86_64": 17, "aarch64": 17, "armv7l": 17}),
    Runtime("tflite-runtime", "2.11.0", _pythons(7, 7), {"x86_64": 17, "aarch64": 17, "armv7l": 17}),
    Runtime(
        "ai-edge-litert",
        "2.3.0",
        _pythons(10, 14),
        {"x86_64": 27, "aarch64": 27},
        (*_LITERT_NEEDS, "ml-dtypes==0.5.4"),
    ),
    Runtime("ai-edge-litert", "2.1.0", _pythons(9, 9), {"x86_64": 27, "aarch64": 27}, _LITERT_NEEDS),
)


@dataclass(frozen=True)
class Support:
    """What the agent needs on a Python beside the runtime."""

    grpcio: str
    protobuf: str
    numpy: str
    typing_extensions: str = ""

    def pins(self) -> list[str]:
        pins = [
            f"grpcio=={self.grpcio}",
            f"grpcio-health-checking=={self.grpcio}",
            f"protobuf=={self.protobuf}",
        ]
        return pins + ([f"typing-extensions=={self.typing_extensions}"] if self.typing_extensions else [])


_CURRENT = Support("1.85.1", "7.36.2", "1.26.4", "4.16.0")
# tflite-runtime was built against numpy 1; ai-edge-litert takes both, and Python 3.13 has no numpy 1.
SUPPORT: Mapping[Version, Support] = {
    (3, 7): Support("1.62.3", "4.24.4", "1.21.6"),
    (3, 8): Support("1.70.0", "5.29.6", "1.24.4"),
    (3, 9): Support("1.80.1", "6.33.6", "1.26.4", "4.16.0"),
    (3, 10): _CURRENT,
    (3, 11): _CURRENT,
    (3, 12): _CURRENT,
    (3, 13): Support("1.85.1", "7.36.2", "2.4.6", "4.16.0"),
    (3, 14): Support("1.85.1", "7.36.2", "2.4.6", "4.16.0"),
}
# The package index has no numpy for 32-bit ARM; the board's own distribution has.
_NUMPY_OF_THE_BOARD = ("armv7l",)


@dataclass(frozen=True)
class Selection:
    """What goes to a board. pins: exact requirements. board_numpy: numpy is the board's own package."""

    runtime: Runtime
    machine: str
    python: Version
    glibc: Version
    pins: tuple[str, ...]
    board_numpy: bool

    @property
    def platforms(self) -> tuple[str, ...]:
        """pip's --platform tags, the newest first: pip derives none from another."""
        minors = range(self.glibc[1], _OLDEST_GLIBC - 1, -1)
        manylinux = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        return (*manylinux, f"manylinux2014_{self.machine}", f"linux_{self.machine}")

    @property
    def abis(self) -> tuple[str, ...]:
        """pip's --abi tags."""
        major, minor = self.python
        return (f"cp{major}{minor}{'m' if minor <= 7 else ''}", "abi3", "none")


def select(facts: Facts, runtime: str = "") -> Selection:
    """The packages for a board. runtime: `tflite_runtime`, `ai_edge_litert`, or empty: the first that fits.

    Raises:
        BadRequest: there is no such runtime.
        Unsuitable: nothing fits; the message says what is in the way.
    """
    names = dict.fromkeys(r.module for r in RUNTIMES)
    if runtime and runtime not in names:
        raise BadRequest(f"--runtime is {' or '.join(names)}. Received: {runtime!r}.")
    wanted = [r for r in RUNTIMES if runtime in ("", r.module)]
    python = facts.python[:2]
    fitting = [r for r in wanted if python in r.pythons and _glibc_is(facts, r)]
    if not fitting or python not in SUPPORT:
        raise Unsuitable(_in_the_way(facts, wanted, runtime))
    chosen, support = fitting[0], SUPPORT[python]
    board_numpy = facts.machine in _NUMPY_OF_THE_BOARD
    pins = [f"{chosen.package}=={chosen.version}", *chosen.also, *support.pins()]
    if not board_numpy:
        pins.append(f"numpy=={support.numpy}")
    return Selection(chosen, facts.machine, python, facts.glibc, tuple(sorted(pins)), board_numpy)


def _glibc_is(facts: Facts, runtime: Runtime) -> bool:
    floor = runtime.glibc.get(facts.machine)
    return floor is not None and facts.glibc >= (2, floor)


def _in_the_way(facts: Facts, wanted: list[Runtime], runtime: str) -> str:
    """Which of machine, glibc, Python and runtime keeps every wheel away, and what to do."""
    found = f"Received: {facts.machine}, glibc {_dotted(facts.glibc) or 'none'}, Python {_dotted(facts.python)}."
    what = runtime or "A runtime"
    here = [r for r in wanted if facts.machine in r.glibc]
    if facts.machine not in MACHINES:
        return f"The architecture is in the way: there are wheels for {', '.join(MACHINES)}. {found}"
    if not facts.glibc:
        return (
            f"The C library is in the way: there are wheels for glibc alone, not for musl. {found} "
            "Use a Debian-like system on the board."
        )
    if not here:
        return (
            f"The runtime is in the way: {what} has no wheel for {facts.machine}. {found} "
            "Leave --runtime away, or use the board's 64-bit system."
        )
    python = facts.python[:2]
    fit = [r for r in here if python in r.pythons]
    if not fit:
        pythons = sorted({p for r in here for p in r.pythons if _glibc_is(facts, r)})
        shown = ", ".join(map(_dotted, pythons))
        return (
            f"Python is in the way: {what} has wheels for {facts.machine} on Python {shown}. {found} Use a system "
            "release with one of these"
            + (", or the board's 64-bit system, for which there are more." if facts.machine == "armv7l" else ".")
        )
    floor = min(r.glibc[facts.machine] for r in fit)
    return (
        f"glibc is in the way: on {facts.machine} with Python {_dotted(python)} {what} needs glibc 2.{floor} or newer. "
        f"{found} Upgrade the board's system."
    )


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
