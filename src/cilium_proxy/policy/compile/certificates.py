"""Certificates and keys: what TLS could not use, found before Envoy is asked.

Texts never quote what they are about: it may be a private key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates

MIN_RSA_BITS = 2048
"""Envoy takes no shorter RSA keys."""

_CURVES = ("secp256r1", "secp384r1", "secp521r1")


class CertificateError(ValueError):
    """Cannot be used. The text says why; `fix` what to do."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


def check_chain(pem: bytes) -> Sequence[Certificate]:
    """The certificates of a server, its own first. Raises CertificateError."""
    chain = _certificates(pem)
    key = chain[0].public_key()
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise CertificateError(
                f"has an RSA key of {key.key_size} bits", f"issue it for at least {MIN_RSA_BITS} bits"
            )
    elif not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise CertificateError("has a key that Envoy does no TLS with", "issue it for RSA or for a curve such as P-256")
    return chain


def check_key(pem: bytes, chain: Sequence[Certificate]) -> None:
    """The private key of the chain's first certificate. Raises CertificateError."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise CertificateError("is encrypted", "write it without a password: `openssl pkey -in KEY -out NEW`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(
            "is not a private key in PEM", "give the key that the certificate was made for"
        ) from None
    ours, theirs = (
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (key.public_key(), chain[0].public_key())
    )
    if ours != theirs:
        raise CertificateError("is not the key of tls.crt", "put the server's own certificate first, and its key here")


def check_authorities(pem: bytes) -> None:
    """Certificates of CAs. Raises CertificateError when there is none that something could chain to today."""
    found = _certificates(pem)
    now = datetime.now(UTC)
    if not any(one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in found):
        which = "has expired" if len(found) == 1 else "have all expired"
        last = max(one.not_valid_after_utc for one in found)
        if last >= now:
            raise CertificateError("is not valid yet", "wait, or give the CA that is in use now")
        raise CertificateError(f"{which}, the last on {last:%Y-%m-%d}", "give the CA that is in use now")


def expiry(chain: Sequence[Certificate]) -> str | None:
    """Why clients refuse a server's certificate today; None: its time is right."""
    now = datetime.now(UTC)
    if chain[0].not_valid_after_utc < now:
        return f"expired on {chain[0].not_valid_after_utc:%Y-%m-%d}"
    if chain[0].not_valid_before_utc > now:
        return f"is not valid before {chain[0].not_valid_before_utc:%Y-%m-%d}"
    return None


def _certificates(pem: bytes) -> Sequence[Certificate]:
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise CertificateError(
            "holds no certificates in PEM that parse", "it must begin with -----BEGIN CERTIFICATE-----"
        ) from None
