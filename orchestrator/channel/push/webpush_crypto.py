"""Message encryption for Web Push (RFC 8291): one ``aes128gcm`` record (RFC 8188) that only the browser can open."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

RECORD_SIZE = 4096
OVERHEAD = 103
"""Bytes that a body is longer than what it holds: salt 16, record size 4, key length 1, key 65, delimiter 1, tag 16."""
_POINT, _AUTH, _SALT = 65, 16, 16
_LAST_RECORD = b"\x02"
_BASE64URL = str.maketrans("+/", "-_")


@dataclass(frozen=True, slots=True)
class Receiver:
    """A browser's half: its public key as it came (65 bytes, uncompressed), and the secret it shares with us."""

    point: bytes
    public: ec.EllipticCurvePublicKey
    auth: bytes


def read_receiver(details: Mapping[str, str]) -> Receiver | None:
    """The keys ``p256dh`` and ``auth`` of a subscription; None when no message could ever be opened with them."""
    point, auth = unbase64url(details.get("p256dh", "")), unbase64url(details.get("auth", ""))
    if len(point) != _POINT or len(auth) != _AUTH:
        return None
    try:
        return Receiver(point, ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point), auth)
    except ValueError:  # not on the curve
        return None


def unbase64url(text: str) -> bytes:
    """The bytes, whichever alphabet and padding a browser's script used; none when it is no base64."""
    plain = text.strip().rstrip("=").translate(_BASE64URL)
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return b""


def base64url(data: bytes) -> str:
    """Without padding, as every header of Web Push wants it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_point(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The public key of a private one, 65 bytes."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def encrypt(
    plaintext: bytes, receiver: Receiver, *, sender: ec.EllipticCurvePrivateKey | None = None, salt: bytes | None = None
) -> bytes:
    """The body of the request. ``sender`` and ``salt`` are fresh for every message unless a test gives them."""
    sender = sender or ec.generate_private_key(ec.SECP256R1())
    salt = salt or os.urandom(_SALT)
    ours = public_point(sender)
    shared = sender.exchange(ec.ECDH(), receiver.public)
    ikm = _hkdf(shared, receiver.auth, b"WebPush: info\x00" + receiver.point + ours, 32)
    key = _hkdf(ikm, salt, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _hkdf(ikm, salt, b"Content-Encoding: nonce\x00", 12)
    head = salt + RECORD_SIZE.to_bytes(4, "big") + bytes([len(ours)]) + ours
    return head + AESGCM(key).encrypt(nonce, plaintext + _LAST_RECORD, None)


def _hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)
