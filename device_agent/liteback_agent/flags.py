"""The agent's flags, and the rules that keep it safe."""

from __future__ import annotations

import argparse
import ipaddress
import os
import stat
from typing import Callable, Optional, Tuple

import grpc

from liteback_agent import VERSION

_MIN_TOKEN = 16  # characters
_MOST_BYTES = (1 << 63) - 1
_MOST_SECONDS = 1e6
_MOST_SESSIONS = 1000  # a thread each
_TLS = ("tls_listen", "tls_cert", "tls_key", "tls_client_ca")


class FlagError(Exception):
    """A flag breaks a rule."""


def parser() -> argparse.ArgumentParser:
    """What the command line may say; what it must not, the functions below refuse."""
    parser = argparse.ArgumentParser(prog="liteback-agent", description="Serve the board's interpreter.")
    parser.add_argument("--version", action="version", version=VERSION)
    parser.add_argument("--listen", default="127.0.0.1:0", help="HOST:PORT (0: any free one) or unix:PATH")
    parser.add_argument("--address-file", help="where to write the address that is listened on")
    parser.add_argument("--tls-listen", help="HOST:PORT that the network reaches, with mutual TLS")
    parser.add_argument("--tls-cert", help="PEM file of the agent's certificate")
    parser.add_argument("--tls-key", help="PEM file of its private key; mode 600")
    parser.add_argument("--tls-client-ca", help="PEM file of the certificates that clients must have, or come from")
    parser.add_argument("--token-file", required=True, help="what every call must carry; mode 600")
    parser.add_argument("--store", required=True, help="folder of the models")
    size, seconds, sessions = _whole(0, _MOST_BYTES), _seconds, _whole(1, _MOST_SESSIONS)
    parser.add_argument("--store-quota", type=size, default=2 << 30, help="bytes (default: %(default)s)")
    parser.add_argument("--memory-limit", type=size, default=0, help="bytes a worker (default: the board's RAM)")
    parser.add_argument("--invoke-limit", type=seconds, default=120.0, help="seconds a step (default: %(default)s)")
    parser.add_argument("--max-sessions", type=sessions, default=4, help="workers at once (default: %(default)s)")
    parser.add_argument("--exit-with-parent", action="store_true", help="stop when standard input reaches its end")
    return parser


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdigit() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"it is a whole number from {least} to {most}. Received: {text!r}")
        return int(text)

    return read


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST_SECONDS:  # NaN is not, either
        raise argparse.ArgumentTypeError(f"it is a number above 0, up to {_MOST_SECONDS:g}. Received: {text!r}")
    return value


def loopback_address(listen: str) -> str:
    """The address if only this machine can reach it.

    Raises:
        FlagError: it is open to the network, or is no address.
    """
    host, _, port = listen.rpartition(":")
    if host == "unix" and port:
        return listen
    host = host.strip("[]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not (loopback and _is_port(port)):
        raise FlagError(
            "--listen takes a loopback HOST:PORT or unix:PATH. A network address needs mutual TLS, with --tls-listen; "
            f"or reach the agent through an SSH forward. Received: {listen!r}"
        )
    return listen


def read_token(path: str) -> str:
    """The token of the deployment, from a file that only its owner can read.

    Raises:
        FlagError: the file is missing, open to others, or holds no token.
    """
    token = _private("--token-file", path).decode("ascii", "replace").strip()
    if len(token) < _MIN_TOKEN:
        raise FlagError(f"A token has {_MIN_TOKEN} characters or more. Received: {len(token)} in {path}")
    return token


def network(flags: argparse.Namespace) -> Optional[Tuple[str, grpc.ServerCredentials]]:
    """The address that the network reaches and the credentials that a client there must match; None: there is none.

    Raises:
        FlagError: not all of the four flags are there, the key is open to others, or the files do not fit together.
    """
    given = [name for name in _TLS if getattr(flags, name)]
    if not given:
        return None
    if len(given) < len(_TLS):
        missing = ", ".join("--" + name.replace("_", "-") for name in _TLS if name not in given)
        raise FlagError(f"A network address needs mutual TLS, with all four of its flags. Missing: {missing}")
    host, _, port = flags.tls_listen.rpartition(":")
    if not (host and _is_port(port)):
        raise FlagError(f"--tls-listen takes HOST:PORT. Received: {flags.tls_listen!r}")
    key = _private("--tls-key", flags.tls_key)
    _check_fit(flags)
    certificate, clients = (
        _read(f, p) for f, p in (("--tls-cert", flags.tls_cert), ("--tls-client-ca", flags.tls_client_ca))
    )
    return flags.tls_listen, grpc.ssl_server_credentials([(key, certificate)], clients, require_client_auth=True)


def _check_fit(flags: argparse.Namespace) -> None:
    """gRPC takes any bytes for a certificate, and then refuses every client without a word.

    Raises:
        FlagError: a file is no PEM, or the key is another certificate's.
    """
    import ssl  # a stripped Python may lack it, and needs it for this alone

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(flags.tls_cert, flags.tls_key, password="")
        context.load_verify_locations(flags.tls_client_ca)
    except OSError as error:
        raise FlagError(
            f"--tls-cert, --tls-key and --tls-client-ca are PEM files, and the key is the certificate's: {error}"
        ) from error


def _private(flag: str, path: str) -> bytes:
    """A file that only its owner can read. Raises: FlagError."""
    content = _read(flag, path)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise FlagError(f"{flag} must be for its owner alone: chmod 600 {path}. Received: mode {mode:o}")
    return content


def _read(flag: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise FlagError(f"{flag} cannot be read: {error}") from error


def _is_port(text: str) -> bool:
    return text.isdigit() and int(text) < 65536
