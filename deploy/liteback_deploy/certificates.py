"""Key pairs with certificates of their own: what either side of a direct connection shows, and the other expects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

BOARD = "board.liteback"  # the name that a board's certificate is for, wherever the board is
WORKSTATION = "workstation.liteback"
DAYS = 730
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate, PEM."""

    key: bytes
    certificate: bytes


def make(name: str, days: float = DAYS) -> Pair:
    """A new P-256 key, and a certificate that it signs itself, for so many days from now.

    It is no authority: who trusts it trusts this very certificate, and nothing that its key might sign. It has no
    beginning, since a board without a clock may live in the past: the key did not exist then.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if name == BOARD else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_EPOCH)
        .not_valid_after(datetime.now(timezone.utc) + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(private, certificate.public_bytes(serialization.Encoding.PEM))


def days_left(certificate: bytes) -> float:
    """Until a certificate expires; negative: since it has. Raises: ValueError, where it is none."""
    until = x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    return (until - datetime.now(timezone.utc)) / timedelta(days=1)
