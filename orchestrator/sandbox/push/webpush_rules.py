"""What a push service checks before it takes a message: headers, sizes, and who sends (RFC 8030 and 8292)."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from orchestrator.sandbox.push.webpush_browser import HEAD, LARGEST_BODY, decode, is_point, key_hash

LONGEST_TTL = 2_592_000
LONGEST_TOKEN = 86_400
URGENCIES = frozenset({"very-low", "low", "normal", "high"})
_TTL = re.compile(r"\d{1,10}", re.ASCII)
_TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")
_VAPID = re.compile(r"vapid\s+(?:t=(?P<t1>[^,\s]+)\s*,\s*k=(?P<k1>[^,\s]+)|k=(?P<k2>[^,\s]+)\s*,\s*t=(?P<t2>[^,\s]+))")
_SUBJECT = re.compile(r"mailto:[^\s@]+@[^\s@]+\.[^\s@]+|https://[^\s/]+\.[^\s/]+(/\S*)?")


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer of refusal, in Apple's words and for a person."""

    status: int
    reason: str
    words: str


def refusals(headers: Mapping[str, str], body: bytes, origin: str, made_for: str) -> Iterator[Refusal]:
    """Everything wrong with a request to a subscription made for a key of that hash, what is checked first first."""
    yield from _sender(headers.get("authorization", ""), origin, made_for)
    yield from _headers(headers)
    if len(body) > LARGEST_BODY:
        yield Refusal(413, "PayloadTooLarge", f"{len(body)} bytes; {LARGEST_BODY} are taken")
    if len(body) <= HEAD:
        yield Refusal(400, "BadWebPushRequest", "no encrypted body")


def _headers(headers: Mapping[str, str]) -> Iterator[Refusal]:
    ttl, urgency, topic = headers.get("ttl"), headers.get("urgency", "normal"), headers.get("topic")
    if ttl is None:
        yield Refusal(400, "BadTtl", "the TTL header is missing")
    elif not _TTL.fullmatch(ttl) or int(ttl) > LONGEST_TTL:
        yield Refusal(400, "BadTtl", f"TTL must be seconds, 0 to {LONGEST_TTL}")
    if headers.get("content-encoding") != "aes128gcm":
        yield Refusal(400, "BadWebPushRequest", "Content-Encoding must be aes128gcm")
    if urgency not in URGENCIES:
        yield Refusal(400, "BadUrgency", f"Urgency must be one of {', '.join(sorted(URGENCIES))}")
    if topic is not None and (not _TOPIC.fullmatch(topic) or len(topic) % 4 == 1):
        yield Refusal(400, "BadWebPushTopic", "Topic must be up to 32 characters that decode as base64url")


def _sender(authorization: str, origin: str, made_for: str) -> Iterator[Refusal]:
    found = _VAPID.fullmatch(authorization)
    if found is None:
        yield Refusal(403, "BadJwtToken", "Authorization must be: vapid t=TOKEN, k=KEY")
        return
    point = decode(found["k1"] or found["k2"])
    if not is_point(point):
        yield Refusal(403, "BadVapidPublicKey", "k is no public key of P-256 in base64url")
        return
    if words := _wrong_token(found["t1"] or found["t2"], point, origin):
        yield Refusal(403, "BadJwtToken", words)
    elif key_hash(point) != made_for:
        yield Refusal(400, "VapidPkHashMismatch", "the subscription was made with another key")


def _wrong_token(token: str, point: bytes, origin: str) -> str:
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    try:
        claims = jwt.decode(token, key, ["ES256"], audience=origin, options={"require": ["aud", "exp"]})
    except jwt.InvalidTokenError as error:
        return f"the token is refused: {error}"
    if claims["exp"] > time.time() + LONGEST_TOKEN:
        return "exp is more than 24 hours ahead"
    if not _SUBJECT.fullmatch(str(claims.get("sub", ""))):
        return "sub must be a mailto: or https: address that exists"
    return ""
