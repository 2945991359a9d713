"""Every error of a deployment. One tree; `exit_code` is the command's.

DeployError
├── BadRequest ........ 2    an argument or the boards file breaks a rule
├── Unreachable ....... 3    no connection, or the link was lost
│   └── LoginRefused           sshd is there and lets this user not in
├── HostKeyRefused .... 4    the board's host key is unknown, has changed or was revoked
│   └── CertificateRefused     so it is with a certificate of a direct connection
└── Unsuitable ........ 5    the board cannot take the agent, or has none that runs

A message says which rule was broken, where, what was received, and what to do.
"""

from __future__ import annotations


class DeployError(Exception):
    """Something on the way to the board, or on it, went wrong."""

    exit_code = 3


class BadRequest(DeployError):
    """An argument or the boards file breaks a rule."""

    exit_code = 2


class Unreachable(DeployError):
    """No connection to the board, or none any more."""

    exit_code = 3


class LoginRefused(Unreachable):
    """The board's sshd does not let this user in."""


class HostKeyRefused(DeployError):
    """The board's host key is unknown, has changed, or was revoked."""

    exit_code = 4


class CertificateRefused(HostKeyRefused):
    """A certificate of a direct connection is missing, is another than it should be, or has expired."""


class Unsuitable(DeployError):
    """The board as it is cannot take the agent, or has none that runs."""

    exit_code = 5
