"""What `--target` means.

local                    an agent process on this machine
user@host, user@host:22  a board over SSH
name                     an SSH alias, or a board of the boards file
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TARGET = re.compile(r"(?:(?P<user>[^@:/\s]+)@)?(?P<host>\[[0-9A-Fa-f:]+\]|[^@:/\s\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True)
class Target:
    """A parsed `--target`. user and port are None where the SSH configuration decides them."""

    host: str
    user: str | None = None
    port: int | None = None

    @property
    def is_local(self) -> bool:
        return self == LOCAL

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port else ""
        return f"{user}{self.host}{port}"


LOCAL = Target("local")


def parse_target(text: str) -> Target:
    """`user@host:port` -> Target.

    Raises:
        ValueError: the text is none of the forms above; the message says so and shows the forms.
    """
    match = _TARGET.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    # A host that begins with a dash would be read as an option by ssh.
    if match is None or match["host"].startswith("-") or (port is not None and not 0 < port < 65536):
        raise ValueError(
            f"A target is `local`, `user@host[:port]`, an SSH alias or a name of the boards file. Received: {text!r}"
        )
    return Target(match["host"].strip("[]"), match["user"], port)
