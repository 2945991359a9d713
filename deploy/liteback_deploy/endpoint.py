"""Where SSH connects to, after `~/.ssh/config` has had its say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

METHODS = (
    "publickey",
    "keyboard-interactive",
    "password",
)  # what a login can prove itself by here, as OpenSSH orders it


@dataclass(frozen=True)
class SshOptions:
    """What a command line adds to the configuration, spelt as ssh spells it: -p -i -J -F."""

    port: int | None = None
    identity: Path | None = None
    jump: str | None = None
    config: Path | None = None

    def over(self, other: SshOptions) -> SshOptions:
        """These options, and `other`'s where these say nothing."""
        return SshOptions(
            self.port or other.port,
            self.identity or other.identity,
            self.jump or other.jump,
            self.config or other.config,
        )

    def arguments(self) -> list[str]:
        """The options as ssh takes them."""
        given = (("-p", self.port), ("-i", self.identity), ("-J", self.jump), ("-F", self.config))
        return [str(word) for flag, value in given if value is not None for word in (flag, value)]


@dataclass(frozen=True)
class Endpoint:
    """One hop, resolved. Times are in seconds.

    known_as: the name under which known_hosts has the host's keys. identities: private key files in the order in which
    they are tried. agent: the socket of the SSH agent, or empty: ask none. jumps: the hops before this one, the
    nearest first. methods: of METHODS, those that the configuration allows, the preferred first.
    """

    host: str
    port: int
    user: str
    known_as: str
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: str = ""
    jumps: tuple[Endpoint, ...] = ()
    proxy_command: str = ""
    connect_seconds: float = 30.0
    batch: bool = False
    methods: tuple[str, ...] = METHODS

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}"
