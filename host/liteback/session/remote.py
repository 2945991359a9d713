"""The agent of a board behind SSH, for `--target user@host`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from liteback.errors import AgentIncompatible, BoardUnreachable, HostKeyError, LitebackError, UsageError
from liteback_deploy import boards, terminal
from liteback_deploy.boards import BoardEntry
from liteback_deploy.connection import AgentLink
from liteback_deploy.direct import DirectLink
from liteback_deploy.endpoint import SshOptions
from liteback_deploy.errors import BadRequest, DeployError, HostKeyRefused, LoginRefused, Unreachable, Unsuitable
from liteback_deploy.ssh import Connection
from liteback_deploy.ssh import connect as ssh_connect
from liteback_deploy.ssh_config import NO_OPTIONS, resolve

_ERRORS: dict[type[DeployError], type[LitebackError]] = {
    BadRequest: UsageError,
    Unreachable: BoardUnreachable,
    HostKeyRefused: HostKeyError,
    Unsuitable: AgentIncompatible,
}


@contextmanager
def deploy_errors() -> Iterator[None]:
    """An error of liteback_deploy inside becomes one of liteback's."""
    try:
        yield
    except DeployError as error:
        raise translated(error) from error


def translated(error: DeployError) -> LitebackError:
    """The error of liteback's own tree, and exit code, for one of liteback_deploy."""
    cause = next((ours for theirs, ours in _ERRORS.items() if isinstance(error, theirs)), BoardUnreachable)
    return cause(str(error))


def board_entry(text: str) -> BoardEntry:
    """The one board that a `--target` names.

    Raises:
        UsageError: it is malformed, a group of several, or the boards file breaks a rule.
    """
    if not isinstance(text, str):
        raise UsageError(f"A target is a text, such as `local` or `pi@raspberrypi`. Received: {text!r}.")
    with deploy_errors():
        return boards.read().one(text)


def remote_board(text: str, options: SshOptions = NO_OPTIONS) -> BoardEntry:
    """A board behind SSH, with what the command line says of the way there.

    Raises:
        UsageError: as `board_entry`, or it is `local`.
    """
    entry = board_entry(text)
    if entry.target.is_local:
        raise UsageError("The local target needs no deployment: its agent is started when it is needed.")
    return replace(entry, ssh=options.over(entry.ssh))


def dialler(entry: BoardEntry) -> Callable[[], Connection]:
    """What makes an SSH connection to a board, each time anew; a person is asked for a password once.

    Raises:
        UsageError: the SSH configuration is malformed.
    """
    with deploy_errors():
        endpoint = resolve(entry.target, entry.ssh)

    def dial() -> Connection:
        try:
            return ssh_connect(endpoint, terminal.ask)
        except LoginRefused:
            terminal.forget()
            raise

    return dial


class RemoteAgent:
    """The link to a board's agent. keys: what TLS needs, where there is no SSH forward beneath."""

    def __init__(self, dial: Callable[[], Connection], first: Connection | None = None, direct: bool = False) -> None:
        """Connect. dial: makes an SSH connection; first: one that is open already, which the link then closes. direct:
        straight to the board's address.

        Raises: BoardUnreachable, HostKeyError, AgentIncompatible.
        """
        with deploy_errors():
            self._link = DirectLink(dial, first) if direct else AgentLink(dial, first)
        self.keys = self._link.keys if isinstance(self._link, DirectLink) else None
        self.address = self._link.address
        self.token = self._link.token

    @property
    def failure(self) -> LitebackError | None:
        """Why the link is down, where trying again will not help."""
        error = self._link.failure
        return translated(error) if isinstance(error, HostKeyRefused | BadRequest) else None

    def wake(self) -> None:
        """The agent is lost: do what it takes to have it back."""
        self._link.wake()

    def stop(self) -> None:
        self._link.close()
