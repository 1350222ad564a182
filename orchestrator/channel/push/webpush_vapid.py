"""Who we are to a push service (VAPID, RFC 8292): an ES256 token for each, signed with the key people subscribed to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from orchestrator.channel.push.webpush_crypto import base64url, public_point, unbase64url
from orchestrator.clock import Clock

LIFETIME = timedelta(hours=12)  # services refuse more than 24 hours; half leaves room for a clock that is wrong
_RENEWED_AFTER = timedelta(hours=6)
_MOST_ORIGINS = 256
_RAW = 32
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_SUBJECT = re.compile(r"mailto:[^\s@]+@[^\s@.]+(\.[^\s@.]+)+|https://[^\s/@.]+(\.[^\s/@.]+)+(/\S*)?")


def read_vapid_key(text: bytes) -> ec.EllipticCurvePrivateKey | None:
    """A P-256 private key in PEM, or its 32 bytes in base64url as the browsers' tools print it; None: neither."""
    if b"-----BEGIN" in text:
        return _pem(text)
    number = int.from_bytes(raw, "big") if len(raw := unbase64url(text.decode("ascii", "replace"))) == _RAW else 0
    return ec.derive_private_key(number, ec.SECP256R1()) if 0 < number < _ORDER else None


def _pem(text: bytes) -> ec.EllipticCurvePrivateKey | None:
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    is_p256 = isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
    return key if is_p256 and isinstance(key, ec.EllipticCurvePrivateKey) else None


def wrong_subject(text: str) -> str:
    """Why services would refuse ``sub``; empty when they would not. Apple refuses ``@localhost`` and bare mailboxes."""
    return (
        "" if _SUBJECT.fullmatch(text) else "must be mailto:NAME@DOMAIN or https://DOMAIN, reachable for the services"
    )


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    until: datetime


class Vapid:
    """Tokens by origin: the ``aud`` of one service's token is no use at the next one's."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, subject: str, clock: Clock) -> None:
        self.public_key = base64url(public_point(key))
        """The ``applicationServerKey`` that the site subscribes with."""
        self._key = key
        self._subject = subject
        self._clock = clock
        self._tokens: dict[str, _Token] = {}

    def authorization(self, origin: str) -> str:
        """The ``Authorization`` for an endpoint of that origin."""
        now = self._clock.machine()
        token = self._tokens.get(origin)
        if token is None or not now < token.until <= now + _RENEWED_AFTER:  # the second: the clock was put back
            token = self._mint(origin, now)
        return f"vapid t={token.text}, k={self.public_key}"

    def forget(self, origin: str) -> None:
        """A service refused its token: the next one is made anew."""
        self._tokens.pop(origin, None)

    def _mint(self, origin: str, now: datetime) -> _Token:
        claims = {"aud": origin, "exp": int((now + LIFETIME).timestamp()), "sub": self._subject}
        token = _Token(jwt.encode(claims, self._key, algorithm="ES256"), now + _RENEWED_AFTER)
        if len(self._tokens) >= _MOST_ORIGINS:
            self._tokens.pop(next(iter(self._tokens)))
        self._tokens[origin] = token
        return token
