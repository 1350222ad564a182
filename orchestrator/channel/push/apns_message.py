"""A push payload as APNs takes it: the fields of the request and its JSON, and what would be refused of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha1, sha256
from typing import Any
from uuid import UUID

import orjson

from orchestrator.channel.base import ACK_LENGTH, Envelope, Payload, PushPayload
from orchestrator.channel.http2_fields import Field, Fields, plain, secret

PAYLOAD_LIMIT = 4096
"""Bytes of JSON, uncompressed."""
COLLAPSE_LIMIT = 64
_ID_ROOM = 20  # decimal digits of our longest message id
_LONGEST_STORED = timedelta(days=30)
_OURS = frozenset({"aps", "msg_id", "link", "image", "ack"})
_NAMESPACE = UUID("6f1b0f57-6f0b-4c68-9d7b-5d3f3b0c7b1e").bytes
_VARIANTS = "89ab" * 4  # by the digit that stands in its place
_DEVICE = re.compile(r"[0-9a-fA-F]{2,512}")
_POST, _HTTPS = plain(":method", "POST"), plain(":scheme", "https")
_ALERT, _AT_ONCE = plain("apns-push-type", "alert"), plain("apns-priority", "10")
_TOPIC = re.compile(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,254}")


@dataclass(frozen=True, slots=True)
class Request:
    """What of a request is the same on every connection. ``begin_by``: as in the envelope."""

    device: str
    topic: str
    apns_id: str
    expiration: str
    collapse_id: str
    body: bytes
    begin_by: float = math.inf

    def fields(self, authority: str, token: str) -> Fields:
        """The head. What is secret, or different each time, is kept out of the connection's tables (HPACK)."""
        return (
            _POST,
            _HTTPS,
            plain(":authority", authority),
            secret(":path", f"/3/device/{self.device}"),
            _bearer(token),
            plain("apns-topic", self.topic),
            _ALERT,
            _AT_ONCE,
            secret("apns-id", self.apns_id),
            secret("apns-expiration", self.expiration),
            secret("apns-collapse-id", self.collapse_id),
        )


def request_of(envelope: Envelope, payload: PushPayload, topic: str, now: datetime) -> Request:
    """The request for a message. ``now`` is machine time: what is stored ends when ``ttl`` does."""
    seconds = int(min(max(envelope.ttl, timedelta()), _LONGEST_STORED).total_seconds())  # down: never past the window
    return Request(
        device=envelope.address,
        topic=topic,
        apns_id=apns_id(envelope.message_id, envelope.attempt),
        expiration=str(int(now.timestamp()) + seconds if seconds else 0),  # 0: now or never
        collapse_id=collapse_id(envelope.collapse_key),
        body=body_of(payload, envelope.message_id, envelope.ack),
        begin_by=envelope.begin_by,
    )


@lru_cache(8)  # of the same account, the slot's and the one before
def _bearer(token: str) -> Field:
    return secret("authorization", f"bearer {token}")


def apns_id(message_id: str, attempt: int) -> str:
    """The id of an attempt's push: a UUID of its name, as ``uuid5`` has it at four times the price (RFC 9562 §5.5)."""
    digits = sha1(_NAMESPACE + f"{message_id}/{attempt}".encode(), usedforsecurity=False).hexdigest()
    variant = _VARIANTS[int(digits[16], 16)]
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def is_device(address: str) -> bool:
    """Whether it can stand in the path at all; APNs says whether it is a device."""
    return len(address) % 2 == 0 and _DEVICE.fullmatch(address) is not None


def is_topic(text: str) -> bool:
    """Whether it looks like a bundle id."""
    return _TOPIC.fullmatch(text) is not None


def collapse_id(collapse_key: str) -> str:
    """The key itself when APNs takes it (64 bytes, in a header); else its hash, which is as stable."""
    fits = collapse_key.isascii() and collapse_key.isprintable() and " " not in collapse_key
    if fits and 0 < len(collapse_key) <= COLLAPSE_LIMIT:
        return collapse_key
    return sha256(collapse_key.encode("utf-8", "surrogatepass")).hexdigest()


def body_of(payload: PushPayload, message_id: str, ack: str) -> bytes:
    """The JSON; what is ours stands beside ``aps``, as the app reads it.

    Raises:
        orjson.JSONEncodeError: half of a character in the text.
    """
    alert = {name: text for name, text in (("title", payload.title), ("body", payload.body)) if text}
    aps: dict[str, Any] = {"alert": alert}
    if payload.image:
        aps["mutable-content"] = 1  # the app's extension fetches it
    own = {"link": payload.link, "image": payload.image, "ack": ack, "msg_id": message_id}
    return orjson.dumps({"aps": aps, **payload.data, **_given(own)})


def problems(payload: Payload) -> list[str]:
    """Why APNs would refuse this payload whoever it went to. The longest id and an acknowledgement are counted."""
    if not isinstance(payload, PushPayload):
        return ["a push account carries push payloads only"]
    try:
        size = len(body_of(payload, "0" * _ID_ROOM, "a" * ACK_LENGTH))
    except orjson.JSONEncodeError:
        return ["half of a character (a lone surrogate) in the text"]
    found = [f"data key {key!r} is reserved" for key in payload.data if key in _OURS]
    if size > PAYLOAD_LIMIT:
        found.append(f"{size} bytes of JSON; APNs takes {PAYLOAD_LIMIT}")
    if not payload.title and not payload.body:
        found.append("neither title nor body")
    return found


def _given(parts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parts.items() if value}
