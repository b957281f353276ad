"""Certificates for tests, made as they are needed."""

import datetime
import functools
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """PEM of a certificate and of its key."""

    chain: str
    key: str

    def write(self, directory, name):
        """Writes both; their paths."""
        paths = directory / f"{name}.pem", directory / f"{name}.key"
        for path, text in zip(paths, (self.chain, self.key), strict=True):
            path.write_text(text)
        return paths


class Authority:
    """A CA of its own."""

    def __init__(self, name="test CA", days=2):
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        usage = x509.BasicConstraints(ca=True, path_length=None)
        self.pem = _pem(_build(self._name, self._key.public_key(), self._name, self._key, days, [(usage, True)]))

    def issue(self, *names, days=2, key=None, password=None):
        """A certificate for DNS names and addresses; the first is its common name."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        extensions = [(x509.SubjectAlternativeName([_general(name) for name in names]), False)]
        made = _build(subject, key.public_key(), self._name, self._key, days, extensions)
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        return Certificate(_pem(made), pem.decode())


@functools.cache
def authority(name="test CA"):
    """A CA that all tests of a process share."""
    return Authority(name)


def small_rsa_key():
    """A key that Envoy finds too short."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def _general(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _build(subject, public, issuer, signer, days, extensions):
    now = datetime.datetime.now(datetime.UTC)
    end = now + days * DAY
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - DAY)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
