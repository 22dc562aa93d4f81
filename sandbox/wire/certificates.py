"""TLS for the loopback: an authority of the sandbox's own, and a certificate of WhatsApp's hosts signed by it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "web.whatsapp.com"
_AUTHORITY = "loopback sandbox CA"
_NAMES = (HOST, "*.whatsapp.com", "*.whatsapp.net", "localhost")
_AUTHORITY_DAYS, _LEAF_DAYS = 3650, 365
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority: its certificate, which clients trust by SSL_CERT_FILE, and its key. PEM text."""

    certificate: str
    key: str

    @classmethod
    def new(cls) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_AUTHORITY, key.public_key(), _AUTHORITY_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        return cls(builder.sign(key, hashes.SHA256()).public_bytes(_PEM).decode(), _private_pem(key))

    def good_until(self) -> dt.datetime:
        return x509.load_pem_x509_certificate(self.certificate.encode()).not_valid_after_utc

    def server_context(self) -> ssl.SSLContext:
        """A context for a server of WhatsApp's hosts, with a certificate made now."""
        key = ec.generate_private_key(ec.SECP256R1())
        signer = serialization.load_pem_private_key(self.key.encode(), None)
        if not isinstance(signer, ec.EllipticCurvePrivateKey):
            raise TypeError("the authority's key is not of the kind that the sandbox makes")
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in _NAMES]
        names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = _builder(HOST, key.public_key(), _LEAF_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        leaf = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(signer, hashes.SHA256())
        return _context(leaf.public_bytes(_PEM).decode() + _private_pem(key))


def _builder(subject: str, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(_AUTHORITY))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def _context(chain_and_key: str) -> ssl.SSLContext:
    """OpenSSL reads keys from files only; this one is gone before anybody connects."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="sandbox-tls-") as folder:
        file = Path(folder, "server.pem")
        file.touch(mode=0o600)
        file.write_text(chain_and_key, "utf-8")
        context.load_cert_chain(file)
    return context
