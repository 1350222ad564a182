"""How large the payload of a push or an inbox item is, and which data keys are not ours to use.

Source: Firebase, "About FCM messages" (4096 bytes, keys plus values; 2048 for topics, which we do not send to).
"""

from __future__ import annotations

from orchestrator.channel import inbox
from orchestrator.channel.base import PushPayload

MAX_BYTES = 4096
_RESERVED = frozenset({"from", "message_type", "notification", "aps"})
_OURS = frozenset({"msg_id", "link", "ack", "payload"})
_RESERVED_STARTS = ("google", "gcm")


def room(channel: str) -> int | None:
    """Bytes that a channel's payload may have, as far as it does not depend on the provider."""
    return {"push": MAX_BYTES, "inbox": inbox.LIMIT}.get(channel)


def payload_bytes(payload: PushPayload) -> int:
    """Keys plus values in UTF-8, as FCM counts them. ``link`` travels as a data value."""
    named = {"title": payload.title, "body": payload.body, "link": payload.link, "image": payload.image}
    pairs = [*((key, value) for key, value in named.items() if value), *payload.data.items()]
    return sum(len(key.encode()) + len(value.encode()) for key, value in pairs)


def problems(payload: PushPayload) -> list[str]:
    """Why this payload would be refused whoever it went to; empty when it is fine."""
    found = [
        f"data key {key!r} is reserved by the provider: choose another name" for key in payload.data if reserved(key)
    ]
    if (size := payload_bytes(payload)) > MAX_BYTES:
        found.append(f"the payload has {size} bytes, {MAX_BYTES} are allowed: shorten the body")
    return found


def reserved(key: str) -> bool:
    """Whether a provider keeps a data key for itself (FCM: INVALID_ARGUMENT; APNs: ``aps``), or we do."""
    return key in _RESERVED | _OURS or key.startswith(_RESERVED_STARTS)
