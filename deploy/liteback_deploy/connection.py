"""The way from this machine to a board's agent: an SSH forward that comes back after a cut.

A port of 127.0.0.1 is listened on for as long as the link lives. Each connection to it becomes a channel to the agent's
port on the board, over an SSH connection that is made anew when the one before has died. What went over the old one is
lost; gRPC connects again, and whoever called decides whether to call again.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from liteback_deploy import scripts
from liteback_deploy.errors import DeployError, Unreachable, Unsuitable
from liteback_deploy.ssh import Connection

_log = logging.getLogger(__name__)
_BLOCK = 64 << 10
_NO_AGENT, _NOT_RUNNING = 3, 4  # exit codes of credentials.sh


class Serving(NamedTuple):
    """Where an agent is on its board. port: of 127.0.0.1; token: what its calls carry; direct: its port for direct
    connections, or 0."""

    port: int
    token: str
    direct: int


class AgentLink:
    """A forward to the agent of a board. address: where it is on this machine; token: what its calls carry."""

    def __init__(self, dial: Callable[[], Connection], first: Connection | None = None) -> None:
        """Connect. dial: makes an SSH connection, each time anew. first: one that is open already; the link closes it.

        Raises:
            DeployError: no connection, no agent, or sshd forwards nothing.
        """
        self._dial = dial
        self._lock = threading.Lock()
        self._connection = first or dial()
        try:
            self._port, self.token, _ = credentials(self._connection)
            self._connection.open_tcp(self._port).close()  # is it allowed, and does something listen?
        except BaseException:
            self._connection.close()
            raise
        self.failure: DeployError | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True, name="liteback-forward").start()

    def wake(self) -> None:
        """Nothing: whoever connects to the forward makes a new SSH connection, which starts the agent."""

    def close(self) -> None:
        # A thread that waits in accept() wakes up by the shutdown, not by the close.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._connection.close()

    def _accept(self) -> None:
        while True:
            try:
                local, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(local,), daemon=True, name="liteback-forward").start()

    def _serve(self, local: socket.socket) -> None:
        """Carry one connection to the agent and back, until either side ends."""
        with local:
            try:
                channel = self._channel()
            except DeployError as error:
                _log.info("no forward: %s", error)
                self.failure = error
                return
            self.failure = None
            # The link may end just as the channel is closed, which would then tell the other side.
            with contextlib.suppress(OSError, EOFError), contextlib.closing(channel):
                back = threading.Thread(target=_pump, args=(channel, local), daemon=True)
                back.start()
                _pump(local, channel)
                back.join()

    def _channel(self) -> Any:
        with self._lock:
            if not self._connection.alive:
                self._connection.close()
                self._connection = self._dial()
                self._port = credentials(self._connection).port
            try:
                return self._connection.open_tcp(self._port)
            except Unreachable:
                # The agent may have been started again, at another port.
                self._port = credentials(self._connection).port
                return self._connection.open_tcp(self._port)


def credentials(connection: Connection) -> Serving:
    """Where the agent of a board is, and what it wants to be told.

    Raises:
        Unsuitable: there is no agent, or it does not run.
    """
    result = scripts.run(connection, "credentials.sh")
    where = connection.endpoint
    if result.code == _NO_AGENT:
        raise Unsuitable(f"There is no agent on {where}. `liteback deploy` installs one.")
    if result.code == _NOT_RUNNING:
        raise Unsuitable(
            f"The agent on {where} does not run: `liteback agent logs` says why, `agent restart` starts it."
        )
    scripts.check(result, "reading the agent's address", connection)
    token, address, direct = result.stdout.split()[-3:]
    return Serving(int(address.rpartition(":")[2]), token, int(direct))


def _pump(source: Any, sink: Any) -> None:
    """Bytes one way until the source ends; then both ends are told."""
    with contextlib.suppress(OSError, EOFError):
        for data in iter(lambda: source.recv(_BLOCK), b""):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError, EOFError):
            end.shutdown(socket.SHUT_RDWR)
