"""The way to a board's agent without SSH beneath: mutual TLS straight to its address, for fast links that are trusted.

SSH comes first all the same: it tells the port and the token, over a host key that is known. What then counts is the
pair of certificates that a deployment made: the board must hold the one, this workstation shows the other.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable

from liteback_deploy import keys
from liteback_deploy.certificates import BOARD
from liteback_deploy.connection import credentials
from liteback_deploy.errors import CertificateRefused, DeployError, Unreachable, Unsuitable
from liteback_deploy.keys import Keys
from liteback_deploy.ssh import Connection

_log = logging.getLogger(__name__)
_SECONDS = 20.0
_EXPIRED = 10  # OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED
_RENEW = "`liteback deploy TARGET --direct` makes new keys, over SSH."


class DirectLink:
    """The address of a board's agent, as gRPC takes it; token: what its calls carry; keys: what TLS needs."""

    def __init__(self, dial: Callable[[], Connection], first: Connection | None = None) -> None:
        """Ask over SSH, then shake hands. dial, first: as `AgentLink` has them.

        Raises:
            DeployError: no connection, no agent, one that takes no direct connections, or a certificate that is wrong.
        """
        self._dial = dial
        self.failure: DeployError | None = None
        self.address, self.token, self.keys = _reach(first or dial())

    def wake(self) -> None:
        """The agent was lost: without systemd only a login starts it again. `failure` is why that did not help."""
        try:
            _reach(self._dial())
            self.failure = None
        except DeployError as error:
            _log.info("not back yet: %s", error)
            self.failure = error

    def close(self) -> None:
        """There is nothing to close: gRPC has the connection."""


def _reach(connection: Connection) -> tuple[str, str, Keys]:
    """Address, token and keys; the SSH connection is closed. Raises: as `DirectLink`."""
    with connection:
        endpoint, serving = connection.endpoint, credentials(connection)
    if not serving.direct:
        raise Unsuitable(
            f"The agent on {endpoint} takes no direct connections. `liteback deploy TARGET --direct` has it take them; "
            "without --direct it is reached through SSH."
        )
    found = keys.kept(endpoint)
    if found is None:
        raise CertificateRefused(
            f"A direct connection to {endpoint} needs the keys that its deployment made; this workstation has none in "
            f"{keys.folder(endpoint)}. {_RENEW}"
        )
    return handshake(endpoint.host, serving.direct, found), serving.token, found


def handshake(host: str, port: int, own: Keys) -> str:
    """Shake hands as gRPC will, which would not say what is wrong; the address that answered.

    Raises:
        CertificateRefused: either side does not take the other's certificate.
        Unreachable: nothing answers, or nothing that speaks TLS.
    """
    where = f"{host}:{port}"
    context = _context(own)
    try:
        with (
            socket.create_connection((host, port), _SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=BOARD) as encrypted,
        ):
            address = _address(encrypted)
            welcome = _greeting(encrypted)
    except ssl.SSLCertVerificationError as error:
        raise _refused(where, error) from error
    except OSError as error:
        raise Unreachable(
            f"The board must be reached directly, and at {where} is not ({error}). Does a firewall or a router stand "
            "between? Without --direct it is reached through SSH."
        ) from error
    if not welcome:
        raise CertificateRefused(
            f"The board at {where} must take this workstation's certificate, and does not. Has another workstation "
            f"deployed since, or is the board's clock years ahead? {_RENEW}"
        )
    return address


def _context(own: Keys) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(own.board)
        context.load_cert_chain(own.client, own.key, password="")
    except OSError as error:
        raise CertificateRefused(f"The keys in {own.folder} are damaged ({error}). {_RENEW}") from error
    return context


def _refused(where: str, error: ssl.SSLCertVerificationError) -> CertificateRefused:
    if error.verify_code == _EXPIRED:
        return CertificateRefused(f"The certificate of the board at {where} has expired. {_RENEW}")
    return CertificateRefused(
        f"The board at {where} must show the certificate that its deployment made. Received: another "
        f"({error.verify_message}). Was it deployed to from another workstation, or set up anew? {_RENEW} If it was "
        "not, somebody else answers there."
    )


def _greeting(encrypted: ssl.SSLSocket) -> bytes:
    """The first byte of a server that takes our certificate; nothing from one that does not.

    In TLS 1.3 the client's certificate is looked at when the client has done its part already.
    """
    try:
        return encrypted.recv(1)
    except (ssl.SSLError, ConnectionError):
        return b""


def _address(connected: socket.socket) -> str:
    """Where it ended up, for gRPC, whose own resolver knows no mDNS names."""
    host, port = socket.getnameinfo(connected.getpeername(), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
    if connected.family == socket.AF_INET6:
        return f"ipv6:[{host.replace('%', '%25')}]:{port}"  # a local address has its interface after a %
    return f"ipv4:{host}:{port}"
