"""The browsers behind the push service: their subscriptions' keys, and opening what is sent to them (RFC 8291).

A subscription is its id: the keys are derived from it and a secret of the sandbox, so they outlive a restart and take
no room. The id ends in a hash of the key it was made for, which is what a service compares.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

LARGEST_BODY = 4096
LARGEST_BODY_BEHIND_A_BRIDGE = 2744
POINT, HEAD = 65, 86
_NAME = re.compile(r"[A-Za-z0-9_-]{0,40}")
_ID = re.compile(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{22}")
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class UnopenableError(Exception):
    """A body that no browser could open; the message says why."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One browser's subscription; ``made_for`` is the hash of the applicationServerKey."""

    id: str
    made_for: str
    private: ec.EllipticCurvePrivateKey
    auth: bytes

    @property
    def p256dh(self) -> bytes:
        """Its public key, 65 bytes."""
        return self.private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def open(self, body: bytes) -> bytes:
        """What was sent.

        Raises:
            UnopenableError: it was not made for this subscription, or breaks RFC 8188.
        """
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20] if len(body) > HEAD else 0
        if length != POINT or not len(body) - HEAD <= size <= LARGEST_BODY:
            raise UnopenableError("the header of the body is not that of one aes128gcm record")
        theirs = body[21:HEAD]
        try:
            sender = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), theirs)
            ikm = _hkdf(
                self.private.exchange(ec.ECDH(), sender), self.auth, b"WebPush: info\0" + self.p256dh + theirs, 32
            )
            key, nonce = _hkdf(ikm, salt, b"Content-Encoding: aes128gcm\0", 16), b"Content-Encoding: nonce\0"
            padded = AESGCM(key).decrypt(_hkdf(ikm, salt, nonce, 12), body[HEAD:], None)
        except (ValueError, InvalidTag):
            raise UnopenableError("the body cannot be decrypted with the keys of this subscription") from None
        text, delimiter, _ = padded.rstrip(b"\0").rpartition(b"\x02")
        if not delimiter:
            raise UnopenableError("the record does not end with the delimiter 2")
        return text


def new_id(name: str, application_server_key: bytes) -> str | None:
    """The id of a new subscription under a name of the test's choice; None when one of the two cannot be."""
    if not _NAME.fullmatch(name) or not is_point(application_server_key):
        return None
    return f"{name}.{secrets.token_urlsafe(16)}.{key_hash(application_server_key)}"


def subscription(identity: str, seed: str) -> Subscription | None:
    """The subscription of that id; None when there never was one."""
    if not _ID.fullmatch(identity):
        return None
    made = _hkdf(seed.encode(), b"", identity.encode(), 64)
    number = int.from_bytes(made[:48], "big") % (_ORDER - 1) + 1
    private = ec.derive_private_key(number, ec.SECP256R1())
    return Subscription(identity, identity.rpartition(".")[2], private, made[48:])


def key_hash(application_server_key: bytes) -> str:
    """What a subscription keeps of the key it was made for: 22 characters."""
    return encode(hashlib.sha256(application_server_key).digest()[:16])


def is_point(data: bytes) -> bool:
    """Whether it is a public key of P-256, uncompressed."""
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), data)
    except ValueError:
        return False
    return len(data) == POINT


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of base64url without padding; none when it is not."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""
    return data if encode(data) == text else b""


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
