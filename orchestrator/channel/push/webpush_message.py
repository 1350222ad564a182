"""A push payload as the JSON that the site's service worker reads, and the headers it travels under."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.channel.base import Envelope, Payload, PushPayload
from orchestrator.channel.push.webpush_crypto import base64url

PLAINTEXT_LIMIT = 2600
"""Bytes. Services take 3993; Firefox for Android, behind its bridge, 2641."""
TTL_LIMIT = timedelta(weeks=4)
_TOPIC_LENGTH = 32
_ACK_ROOM = 200
_LONGEST: dict[str, Any] = {"msg_id": "0" * 20, "tag": "0" * 64, "ack": "0" * _ACK_ROOM}


def message_json(envelope: Envelope, payload: PushPayload) -> bytes:
    """What is encrypted. A notification shown under the same ``tag`` replaces the one before: a copy shows in place."""
    ack = {"ack": envelope.ack} if envelope.ack else {}
    return orjson.dumps({**_content(payload), "msg_id": envelope.message_id, "tag": envelope.collapse_key, **ack})


def headers(envelope: Envelope, urgency: str, *, topic: bool) -> dict[str, str]:
    """Of the request, without its authorization."""
    seconds = int(min(max(envelope.ttl, timedelta()), TTL_LIMIT).total_seconds())  # down: never past the window
    named = {"topic": topic_of(envelope.collapse_key)} if topic else {}
    kind = {"content-type": "application/octet-stream", "content-encoding": "aes128gcm"}
    return {"ttl": str(seconds), "urgency": urgency, **kind, **named}


def topic_of(collapse_key: str) -> str:
    """32 characters of base64url. Their number matters too: Apple decodes them, and refuses 5 or 13."""
    return base64url(sha256(collapse_key.encode()).digest())[:_TOPIC_LENGTH]


def problems(payload: Payload) -> list[str]:
    """Why a browser's service would refuse this payload whoever it went to."""
    if not isinstance(payload, PushPayload):
        return ["a push account carries push payloads only"]
    try:
        size = len(orjson.dumps({**_content(payload), **_LONGEST}))
    except TypeError:
        return ["half of a character (a lone surrogate) in the text"]
    found = [f"{size} bytes of JSON; Web Push carries {PLAINTEXT_LIMIT}"] if size > PLAINTEXT_LIMIT else []
    return found if payload.title or payload.body else [*found, "neither title nor body"]


def _content(payload: PushPayload) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "title": payload.title,
        "body": payload.body,
        "link": payload.link,
        "image": payload.image,
        "data": dict(payload.data),
    }
    return {name: value for name, value in parts.items() if value}
