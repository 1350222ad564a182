"""What Getui refuses of a push, with its codes. Source: docs.getui.com, "REST API v2"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

LONGEST_TTL = 3 * 24 * 3600 * 1000
TITLE, BODY, PAYLOAD = 50, 256, 3072
CLICKS = frozenset({"intent", "url", "payload", "payload_custom", "startapp", "none"})
_REQUEST_ID = re.compile(r"[0-9A-Za-z_\-]{10,32}")
_TOP = frozenset({"request_id", "group_name", "audience", "settings", "push_message", "push_channel"})


class Refusal(NamedTuple):
    """A Getui error: its code, words and HTTP status."""

    code: int | str
    message: str
    status: int = 400


def refusal(body: Any) -> Refusal | None:
    """The first thing wrong with a push to one client."""
    if not isinstance(body, dict):
        return Refusal(20001, "the request body is no JSON object")
    words = next(_wrong(body), None)
    return None if words is None else Refusal(20001, words)


def _wrong(body: Mapping[str, Any]) -> Iterator[str]:
    for name in body:
        if name not in _TOP:
            yield f"unknown field {name}"
    if not isinstance(body.get("request_id"), str) or not _REQUEST_ID.fullmatch(body["request_id"]):
        yield "request_id: 10 to 32 characters"
    audience = body.get("audience")
    clients = audience.get("cid") if isinstance(audience, dict) else None
    if not isinstance(clients, list) or len(clients) != 1 or not isinstance(clients[0], str) or not clients[0]:
        yield "audience.cid: exactly one"
    yield from _settings(body.get("settings", {}))
    message = body.get("push_message")
    notification = message.get("notification") if isinstance(message, dict) else None
    if not isinstance(notification, dict):
        yield "push_message.notification is required: the sandbox shows nothing else"
    else:
        yield from _notification(notification)


def _settings(settings: Any) -> Iterator[str]:
    ttl = settings.get("ttl", 0) if isinstance(settings, dict) else None
    if not isinstance(ttl, int) or isinstance(ttl, bool) or not -1 <= ttl <= LONGEST_TTL:
        yield "settings.ttl: -1 to 3 days, in milliseconds"


def _notification(notification: Mapping[str, Any]) -> Iterator[str]:
    for name, most in (("title", TITLE), ("body", BODY)):
        value = notification.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= most:
            yield f"notification.{name}: 1 to {most} characters"
    if notification.get("click_type") not in CLICKS:
        yield "notification.click_type"
    if notification.get("click_type") == "payload" and not isinstance(notification.get("payload"), str):
        yield "notification.payload is required for this click_type"
    if len(str(notification.get("payload", ""))) > PAYLOAD:
        yield f"notification.payload: at most {PAYLOAD} characters"
    number = notification.get("notify_id", 0)
    if not isinstance(number, int) or not 0 <= number < 2**31:
        yield "notification.notify_id: 0 to 2147483647"
