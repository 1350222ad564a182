"""What APNs checks of a push, in its order: path, token, topic, fields, body, device. Source: providers §2."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from orchestrator.sandbox.push.apns_credentials import KEY_ID, TEAM_ID, TOPICS

PUSH_TYPES = frozenset(
    {
        "alert", "background", "voip", "complication", "fileprovider", "mdm", "liveactivity", "location", "controls",
        "widgets", "pushtotalk",
    }
)  # fmt: skip
LARGEST, LARGEST_VOIP = 4096, 5120
LONGEST_COLLAPSE_ID = 64
TOKEN_LIFE = 3600
UPDATES_APART = 1200
AHEAD = 300
"""Seconds that a token may be dated ahead of our clock."""
UNUSABLE = 60
"""Seconds for which a connection is refused everything after it updated its token too often."""

_PATH = "/3/device/"
_DEVICE = re.compile(r"(?:[0-9a-fA-F]{2}){8,100}")
_TOPIC = re.compile(r"[A-Za-z0-9.\-]{1,255}")
_ONCE = frozenset({"authorization", "apns-id", "apns-topic", "apns-priority", "apns-expiration", "apns-collapse-id"})


@dataclass(frozen=True, slots=True)
class Push:
    """One request, whole."""

    fields: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def head(self) -> Mapping[str, str]:
        """The fields by name."""
        return dict(self.fields)

    @property
    def device(self) -> str:
        """The device token in the path."""
        return self.head.get(":path", "").removeprefix(_PATH)

    @property
    def payload(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status and its reason."""

    status: int
    reason: str
    timestamp: int | None = None


@dataclass(slots=True)
class Presented:
    """The provider token of one connection. Times are monotonic seconds."""

    token: str = ""
    since: float = 0.0
    unusable_until: float = 0.0
    proven: bool = field(default=False)


def judge(push: Push, presented: Presented, key: EllipticCurvePublicKey) -> Refusal | None:
    """Why APNs refuses a push, if it does."""
    refusal = _shape(push) or _authority(push, presented, key)
    if refusal is not None:
        return refusal
    presented.proven = True
    return _topic(push.head) or _fields(push.head) or _body(push) or _device(push.device)


def _shape(push: Push) -> Refusal | None:
    if push.head.get(":method") != "POST":
        return Refusal(405, "MethodNotAllowed")
    if not push.head.get(":path", "").startswith(_PATH):
        return Refusal(404, "BadPath")
    if not push.device:
        return Refusal(400, "MissingDeviceToken")
    named = Counter(name for name, _ in push.fields)
    return Refusal(400, "DuplicateHeaders") if any(named[name] > 1 for name in _ONCE) else None


def _authority(push: Push, presented: Presented, key: EllipticCurvePublicKey) -> Refusal | None:
    scheme, _, token = push.head.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return Refusal(403, "MissingProviderToken")
    now = time.monotonic()
    if now < presented.unusable_until:
        return Refusal(429, "TooManyProviderTokenUpdates")
    if token == presented.token:
        return _aged(token)
    if (refusal := _forged(token, key) or _aged(token)) is not None:
        return refusal
    if presented.token and now - presented.since < UPDATES_APART:
        presented.unusable_until = now + UNUSABLE
        return Refusal(429, "TooManyProviderTokenUpdates")
    presented.token, presented.since = token, now
    return None


def _forged(token: str, key: EllipticCurvePublicKey) -> Refusal | None:
    """Exactly this header, exactly these claims."""
    invalid = Refusal(403, "InvalidProviderToken")
    unchecked: Any = {f"verify_{claim}": False for claim in ("exp", "iat", "nbf", "aud")}
    try:
        head = jwt.get_unverified_header(token)
        claims = jwt.decode(token, key, algorithms=["ES256"], options=unchecked)
    except jwt.PyJWTError:
        return invalid
    good = head == {"alg": "ES256", "kid": KEY_ID} and set(claims) == {"iss", "iat"} and claims["iss"] == TEAM_ID
    return None if good and isinstance(claims["iat"], int) else invalid


def _aged(token: str) -> Refusal | None:
    issued: int = jwt.decode(token, options={"verify_signature": False})["iat"]
    age = time.time() - issued
    if age < -AHEAD:
        return Refusal(403, "InvalidProviderToken")
    return Refusal(403, "ExpiredProviderToken") if age > TOKEN_LIFE else None


def _topic(head: Mapping[str, str]) -> Refusal | None:
    topic = head.get("apns-topic", "")
    if not topic:
        return Refusal(400, "MissingTopic")
    if not _TOPIC.fullmatch(topic):
        return Refusal(400, "BadTopic")
    return None if topic.startswith(TOPICS) else Refusal(400, "TopicDisallowed")


def _fields(head: Mapping[str, str]) -> Refusal | None:
    kind, priority = head.get("apns-push-type", ""), head.get("apns-priority", "10")
    checks = (
        ("InvalidPushType", kind in PUSH_TYPES),
        ("BadPriority", priority in {"1", "5"} or (priority == "10" and kind != "background")),
        ("BadExpirationDate", _is_epoch(head.get("apns-expiration", "0"))),
        ("BadCollapseId", len(head.get("apns-collapse-id", "").encode("latin-1")) <= LONGEST_COLLAPSE_ID),
        ("BadMessageId", _is_uuid(head.get("apns-id"))),
    )
    return next((Refusal(400, reason) for reason, fine in checks if not fine), None)


def _body(push: Push) -> Refusal | None:
    kind = push.head["apns-push-type"]
    if len(push.body) > (LARGEST_VOIP if kind == "voip" else LARGEST):
        return Refusal(413, "PayloadTooLarge")
    payload = push.payload
    if not isinstance(payload, dict) or not isinstance(payload.get("aps"), dict):
        return Refusal(400, "PayloadEmpty")
    if kind == "alert" and not payload["aps"].get("alert"):
        return Refusal(400, "InvalidPushType")  # the type must match the payload
    return None


def _device(device: str) -> Refusal | None:
    """``dead…`` was unregistered just now; ``bad…``, zeros, and what is no token are none."""
    lower = device.lower()
    if lower.startswith("dead"):
        return Refusal(410, "Unregistered", int(time.time() * 1000))
    if not _DEVICE.fullmatch(device) or lower.startswith("bad") or not lower.strip("0"):
        return Refusal(400, "BadDeviceToken")
    return None


def _is_epoch(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 12  # noqa: PLR2004


def _is_uuid(text: str | None) -> bool:
    if text is None:
        return True
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
