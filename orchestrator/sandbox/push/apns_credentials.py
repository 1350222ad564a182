"""What APNs gives its customers, and how it shows itself: a key, and a certificate of its own authority."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.sandbox.credentials import Credentials, write_secret

TEAM_ID = "SANDBOXTEA"
KEY_ID = "SANDBOXKEY"
TOPICS = "com.example."
"""The key is for every app whose bundle id begins so."""
KEY_FILE, CA_FILE, SERVER_FILE, STRANGER_FILE = "apns-key.p8", "apns-ca.pem", "apns-server.pem", "apns-stranger.pem"
_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class ApnsCredentials:
    """The key that tokens are checked with, and how the server shows itself."""

    public_key: ec.EllipticCurvePublicKey
    context: ssl.SSLContext
    stranger: ssl.SSLContext
    """The same with a certificate that is good for another name only."""


def open_apns(credentials: Credentials) -> ApnsCredentials:
    """Read what is in the folder, making what is not there."""
    key = serialization.load_pem_private_key(credentials.secret(KEY_FILE, _new_key).encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    if not all((credentials.folder / name).exists() for name in (CA_FILE, SERVER_FILE, STRANGER_FILE)):
        _make_certificates(credentials.folder)
    contexts = [_context(credentials.folder / name) for name in (SERVER_FILE, STRANGER_FILE)]
    return ApnsCredentials(key.public_key(), *contexts)


def _context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2"])
    return context


def _new_key() -> str:
    return _pem(ec.generate_private_key(ec.SECP256R1())).strip()


def _make_certificates(folder: Path) -> None:
    """An authority, and the certificates it gives this machine and a stranger. Its key is thrown away."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate("Sandbox APNs CA", authority, authority, None)
    for file, name in ((SERVER_FILE, "localhost"), (STRANGER_FILE, "stranger.invalid")):
        leaf = _certificate(name, server, authority, root)
        write_secret(folder / file, _text(leaf) + _pem(server))
    write_secret(folder / CA_FILE, _text(root))


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None
) -> x509.Certificate:
    subject, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), datetime.now(UTC)
    is_root = issuer is None
    builder = (
        x509.CertificateBuilder(issuer.subject if issuer else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=is_root, path_length=None), critical=True)
        .add_extension(_usage(is_root=is_root), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not is_root:
        loopback = [x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "::1")]
        names = x509.SubjectAlternativeName([x509.DNSName(name), *(loopback if name == "localhost" else [])])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _usage(*, is_root: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_root,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_root,
        crl_sign=is_root,
        encipher_only=False,
        decipher_only=False,
    )


def _text(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
