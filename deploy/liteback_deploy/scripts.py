"""The shell scripts of `board/`: they travel whole, and what varies reaches them as arguments and standard input."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files

from liteback_deploy.errors import Unsuitable
from liteback_deploy.ssh import RUN_SECONDS, Completed, Connection

# What a failed script says -> what to do; the first that fits.
_REMEDIES = (
    (
        r"cannot listen on \[::\]",
        "Another program has the port, or it is below 1024 and for root alone: `--direct-port` chooses another.",
    ),
    (r"No space left on device|Disk quota exceeded", "Make room on the board (`df -h ~` shows it) and try again."),
    (r"Read-only file system", "Remount it writable, or find out why it is not: `dmesg | tail` on the board."),
    (r"Permission denied", "Is the home folder the user's own? `ls -ld ~ ~/.local` on the board."),
    (r"lingering", "On the board: `sudo loginctl enable-linger $USER`; or deploy with --system."),
    (
        r"sudo: a password is required|sudo: command not found|sudo: not found",
        "--system needs sudo without a password.",
    ),
)


def text(name: str) -> str:
    return (files("liteback_deploy") / "board" / name).read_text(encoding="utf-8")


def argv(name: str, *arguments: str) -> list[str]:
    """The command that runs a script on the board. It begins with what they all share."""
    return ["sh", "-c", text("common.sh") + text(name), "sh", *arguments]


def run(
    connection: Connection, name: str, *arguments: str, data: bytes = b"", timeout: float = RUN_SECONDS
) -> Completed:
    """Run a script on the board. Raises: Unreachable."""
    return connection.run(argv(name, *arguments), data, timeout)


def checked(
    connection: Connection,
    doing: str,
    name: str,
    arguments: Sequence[str] = (),
    data: bytes = b"",
    timeout: float = RUN_SECONDS,
) -> str:
    """Run a script on the board that must succeed; what it says. doing: `unpacking the bundle`.

    Raises:
        Unsuitable: it failed; the message has what it said and the remedy.
        Unreachable: the link was lost.
    """
    result = run(connection, name, *arguments, data=data, timeout=timeout)
    check(result, doing, connection)
    return result.stdout


def check(result: Completed, doing: str, connection: Connection) -> None:
    """Raises: Unsuitable, unless the script succeeded."""
    if result.code:
        said = _last_lines(result.stderr.strip() or result.stdout.strip())
        remedy = next((r for pattern, r in _REMEDIES if re.search(pattern, said)), "`liteback doctor` looks closer.")
        raise Unsuitable(f"{doing} on {connection.endpoint} failed with code {result.code}: {said}\n{remedy}")


def _last_lines(said: str, characters: int = 2000) -> str:
    """The end of what a script said, in whole lines."""
    return said if len(said) <= characters else said[-characters:].partition("\n")[2] or said[-characters:]
