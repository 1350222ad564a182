"""DKIM signatures (RFC 6376, 8463): dkimpy canonicalises and writes the header, cryptography signs.

dkimpy's own RSA is pure Python and takes 5 ms a mail; OpenSSL's takes well under one. A receiver checks a signature
with the key that ``SELECTOR._domainkey.DOMAIN`` publishes in DNS.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import dkim
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from dkim.canonicalization import CanonicalizationPolicy

LEAST_BITS = 1024
"""Receivers ignore shorter RSA keys (RFC 8301)."""
SIGNED = (
    *("from", "to", "reply-to", "subject", "date", "message-id", "mime-version", "content-type"),
    *("feedback-id", "list-unsubscribe", "list-unsubscribe-post"),  # RFC 8058 asks for the last two
)
_POLICY = b"relaxed/relaxed"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature in the shape that dkimpy asks for."""

    signature: bytes


@dataclass(frozen=True, slots=True)
class _Rsa:
    key: RSAPrivateKey
    algorithm: bytes = b"rsa-sha256"

    def sign(self, digest: bytes) -> Signature:
        return Signature(self.key.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256())))


@dataclass(frozen=True, slots=True)
class _Ed25519:
    key: Ed25519PrivateKey
    algorithm: bytes = b"ed25519-sha256"

    def sign(self, digest: bytes) -> Signature:
        return Signature(self.key.sign(digest))


Key = _Rsa | _Ed25519
"""What signs a SHA-256 digest; ``algorithm`` is DKIM's name of it."""


def read_key(pem: bytes) -> Key:
    """A private key in PEM: RSA of at least 1024 bits, or Ed25519.

    Raises:
        ValueError: it is none of them; the words show nothing of it.
    """
    try:
        found = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise ValueError("is no private key in PEM without a password") from None
    if isinstance(found, RSAPrivateKey) and found.key_size >= LEAST_BITS:
        return _Rsa(found)
    if isinstance(found, Ed25519PrivateKey):
        return _Ed25519(found)
    raise ValueError(f"must be RSA of at least {LEAST_BITS} bits (2048 are usual), or Ed25519")


class _Writing(dkim.DKIM):  # type: ignore[misc]  # the package has no types
    """dkimpy at work on one mail: whatever the algorithm, it asks the key object for the signature."""

    def sign_with(self, fields: list[tuple[bytes, bytes]], names: Sequence[bytes], key: Key) -> bytes:
        """The header's value with the signature in it."""
        self.hasher = hashlib.sha256
        self.signature_algorithm = b"ed25519-sha256"  # its branch for keys that are objects with a ``sign``
        policy = CanonicalizationPolicy.from_c_value(_POLICY)
        return cast("bytes", self.gen_header(fields, names, policy, b"DKIM-Signature", key))


@dataclass(frozen=True, slots=True)
class DkimSigner:
    """Signs the mails of one domain."""

    domain: str
    selector: str
    key: Key

    def header(self, content: bytes, at: datetime) -> bytes:
        """The ``DKIM-Signature`` line of a mail with CRLF line ends, dots not yet doubled."""
        writing = _Writing(content)
        present = {name.strip().lower() for name, _ in writing.headers}
        names = [name.encode() for name in SIGNED if name.encode() in present]
        names.append(b"from")  # once more than it is there: nobody adds a second one (RFC 6376 §5.4)
        body = CanonicalizationPolicy.from_c_value(_POLICY).canonicalize_body(writing.body)
        fields = [
            (b"v", b"1"),
            (b"a", self.key.algorithm),
            (b"c", _POLICY),
            (b"d", self.domain.encode()),
            (b"s", self.selector.encode()),
            (b"t", str(int(at.timestamp())).encode()),
            (b"h", b" : ".join(names)),
            (b"bh", base64.b64encode(hashlib.sha256(body).digest())),
            (b"b", b"0" * 60),  # where the signature will stand
        ]
        return b"DKIM-Signature: " + writing.sign_with(fields, names, self.key)
