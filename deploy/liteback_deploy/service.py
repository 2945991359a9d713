"""How the agent is kept running: a unit of the user's systemd, one of the system's, or a shell loop without systemd."""

from __future__ import annotations

import hashlib
from typing import Literal

from liteback_deploy.facts import Facts

Kind = Literal["user", "system", "background"]

_BACKOFF_SINCE = 254  # systemd's RestartSteps

_COMMON = """\
[Unit]
Description=liteback agent
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=always
{backoff}
TimeoutStopSec=10
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
MemoryMax=80%
TasksMax=512
# A worker that is killed for its memory costs one session, not the agent.
OOMPolicy=continue
{more}
[Install]
WantedBy={target}
"""
# What a user's systemd cannot do without namespaces of its own. Devices stay: an Edge TPU is one.
_SYSTEM = """\
User={user}
ProtectSystem=strict
ReadWritePaths={root}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
"""


def kind(facts: Facts, system: bool = False) -> Kind:
    """The service a board gets: what was asked for, what it has, else what it can have."""
    if system or facts.service == "system":
        return "system"
    return "user" if facts.systemd else "background"


def unit(facts: Facts, wanted: Kind) -> str:
    """The text of the unit; empty without systemd."""
    if wanted == "background":
        return ""
    root = _escaped(f"{facts.home}/.local/share/liteback")
    steps = "RestartSec=1\nRestartSteps=6\nRestartMaxDelaySec=60"
    return _COMMON.format(
        command=_quoted(f"{root}/agent/current/agent"),
        backoff=steps if facts.systemd >= _BACKOFF_SINCE else "RestartSec=2",
        more=_SYSTEM.format(user=facts.user, root=_quoted(root)) if wanted == "system" else "",
        target="multi-user.target" if wanted == "system" else "default.target",
    )


def is_installed(facts: Facts, wanted: Kind, text: str) -> bool:
    """Whether the board has this very service, and will have it after a reboot."""
    if facts.service != wanted:
        return False
    if wanted == "user" and not facts.linger:
        return False
    return wanted == "background" or facts.unit_sum == hashlib.sha256(text.encode()).hexdigest()


def _escaped(path: str) -> str:
    """systemd expands %-specifiers and $-variables."""
    return path.replace("%", "%%").replace("$", "$$")


def _quoted(path: str) -> str:
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"' if set(path) & set(" \"\\'") else path
