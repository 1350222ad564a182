"""A push payload as FCM's JSON: one message for Android, iOS and the web, and what would be refused of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.channel.base import ACK_LENGTH, Envelope, Payload, PushPayload

PAYLOAD_LIMIT = 4096
"""Bytes, keys plus values, of notification and data."""
TTL_LIMIT = timedelta(weeks=4)
_APNS_ID_LIMIT = 64
_ID_ROOM = 20  # decimal digits of our longest message id
_NAMES = tuple(map(len, ("title", "body", "image", "link")))
_OWN_ROOM = len("msg_id") + _ID_ROOM + len("ack") + ACK_LENGTH
_RESERVED = frozenset({"from", "message_type", "notification"})
_RESERVED_PREFIXES = ("google", "gcm")
_OURS = frozenset({"msg_id", "link", "ack"})


def message_json(envelope: Envelope, payload: PushPayload, now: datetime) -> bytes:
    """The body of ``messages:send``. Android, iOS and web all let go of it when ``ttl`` ends."""
    seconds = int(min(max(envelope.ttl, timedelta()), TTL_LIMIT).total_seconds())  # down: never past the window
    target = "fid" if envelope.address_kind == "fid" else "token"
    message = {
        target: envelope.address,
        "notification": _notification(payload),
        "data": _data(payload, envelope.message_id, envelope.ack),
        "android": {
            "priority": "high",
            "ttl": f"{seconds}s",
            "collapse_key": envelope.collapse_key,
            "notification": {"tag": envelope.collapse_key},
        },
        "apns": _apns(envelope, payload, str(int(now.timestamp()) + seconds if seconds else 0)),  # 0: now or never
        "webpush": _webpush(envelope, payload, seconds),
    }
    return orjson.dumps({"validate_only": False, "message": message})


def apns_collapse_id(collapse_key: str) -> str:
    """The key itself when APNs takes it (64 bytes, ASCII in a header); else its hash, which is as stable."""
    if collapse_key.isascii() and len(collapse_key) <= _APNS_ID_LIMIT:
        return collapse_key
    return sha256(collapse_key.encode()).hexdigest()


def problems(payload: Payload) -> list[str]:
    """Why FCM would refuse this payload whoever it went to."""
    if not isinstance(payload, PushPayload):
        return ["a push account carries push payloads only"]
    try:
        size = payload_size(payload)
    except UnicodeEncodeError:
        return ["half of a character (a lone surrogate) in the text"]
    found = [f"data key {key!r} is reserved" for key in payload.data if _is_reserved(key)]
    if size > PAYLOAD_LIMIT:
        found.append(f"{size} bytes of keys and values; FCM takes {PAYLOAD_LIMIT}")
    if not payload.title and not payload.body:
        found.append("neither title nor body")
    return found


def payload_size(payload: PushPayload) -> int:
    """Bytes of keys and values, with the longest id and acknowledgement that we may add."""
    shown = (payload.title, payload.body, payload.image, payload.link)
    names = sum(room for room, text in zip(_NAMES, shown, strict=True) if text)
    return _OWN_ROOM + names + len("".join((*shown, *payload.data, *payload.data.values())).encode())


def shape(payload: PushPayload) -> tuple[bool | str, ...]:
    """Which fields a payload uses: what was accepted in this shape once is not to blame for a refusal."""
    shown = (bool(payload.title), bool(payload.body), bool(payload.link), bool(payload.image))
    return (*shown, *sorted(payload.data))


def _notification(payload: PushPayload) -> dict[str, str]:
    parts = {"title": payload.title, "body": payload.body, "image": payload.image}
    return {name: value for name, value in parts.items() if value}


def _data(payload: PushPayload, message_id: str, ack: str) -> dict[str, str]:
    link = {"link": payload.link} if payload.link else {}
    shown = {"ack": ack} if ack else {}
    return {**payload.data, **link, **shown, "msg_id": message_id}


def _apns(envelope: Envelope, payload: PushPayload, expiration: str) -> dict[str, Any]:
    headers = {
        "apns-priority": "10",
        "apns-collapse-id": apns_collapse_id(envelope.collapse_key),
        "apns-expiration": expiration,
    }
    if not payload.image:
        return {"headers": headers}
    # An iPhone shows an image only when the app's extension may change the notification.
    return {
        "headers": headers,
        "payload": {"aps": {"mutable-content": 1}},
        "fcm_options": {"image": payload.image},
    }


def _webpush(envelope: Envelope, payload: PushPayload, seconds: int) -> dict[str, Any]:
    """A tag, so that a second copy replaces the first.

    No ``Topic``: through Chrome's endpoint it counts as a collapse key and delays what must be prompt.
    """
    link = {"fcm_options": {"link": payload.link}} if payload.link.startswith("https://") else {}
    return {"headers": {"TTL": str(seconds)}, "notification": {"tag": envelope.collapse_key}, **link}


def _is_reserved(key: str) -> bool:
    return key in _RESERVED | _OURS or key.startswith(_RESERVED_PREFIXES)
