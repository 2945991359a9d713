"""Ports for servers that are told theirs before they start."""

from __future__ import annotations

import random
import socket

# Below the range that Linux gives to connections (ip_local_port_range, 32768 and up), so that none of
# them takes the port between here and the server's start, or while the server is down.
_PORTS = range(20000, 32000)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
