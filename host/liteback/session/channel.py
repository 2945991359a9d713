"""The gRPC channel to an agent: to an address of this machine as it is, to a board's own with mutual TLS."""

from __future__ import annotations

import grpc

from liteback_deploy.certificates import BOARD
from liteback_deploy.keys import Keys

_OPTIONS = [
    ("grpc.max_receive_message_length", 16 << 20),  # chunks are smaller
    ("grpc.enable_http_proxy", 0),  # the address is this machine's own, or a board's beside it
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 3000),
]
# Without an SSH connection beneath nobody else notices that the link is cut.
_DIRECT_OPTIONS = [
    ("grpc.ssl_target_name_override", BOARD),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),  # no limit: a step may take minutes
    ("grpc.keepalive_timeout_ms", 60_000),  # as the agent's: an answer waits behind what is buffered
]


def open_channel(address: str, keys: Keys | None) -> grpc.Channel:
    """A channel to an agent's gRPC address. keys: what TLS needs where the address is not of this machine.

    It connects when it is first used, and again whenever the connection is lost.
    """
    if keys is None:
        return grpc.insecure_channel(address, options=_OPTIONS)
    files = (keys.board, keys.key, keys.client)
    credentials = grpc.ssl_channel_credentials(*(path.read_bytes() for path in files))
    return grpc.secure_channel(address, credentials, options=_OPTIONS + _DIRECT_OPTIONS)
