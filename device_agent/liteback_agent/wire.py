"""Server <-> worker: protobuf messages over a socket pair, each behind a byte for its meaning and its length.

The socket's own buffer is the only queue, so a slow client makes the worker wait, whatever the model's size.
"""

from __future__ import annotations

import socket
import struct
from typing import Optional

from liteback_agent.errors import AgentError

_HEADER = struct.Struct("<BI")
_MESSAGE, _FAILURE = 0, 1


class Wire:
    """One end of the socket pair."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._reader = sock.makefile("rb")

    def settimeout(self, seconds: float) -> None:
        """How long the other end may stay silent, in seconds; then `socket.timeout` is raised."""
        self._socket.settimeout(seconds)

    def send(self, message: bytes) -> None:
        self._send(_MESSAGE, message)

    def fail(self, error: AgentError) -> None:
        self._send(_FAILURE, f"{error.kind}\n{error}".encode("utf-8", "replace"))

    def receive(self) -> Optional[bytes]:
        """The next message, or None when the other end is gone.

        Raises:
            AgentError: the other end failed, and said why.
        """
        header = self._reader.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        what, size = _HEADER.unpack(header)
        payload = self._reader.read(size)
        if len(payload) < size:
            return None
        if what == _FAILURE:
            kind, _, message = payload.decode("utf-8").partition("\n")
            raise AgentError(kind, message)
        return payload

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def _send(self, what: int, payload: bytes) -> None:
        self._socket.sendall(_HEADER.pack(what, len(payload)))
        self._socket.sendall(payload)
