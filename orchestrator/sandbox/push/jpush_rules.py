"""What JPush refuses of a push, with its codes. Source: Jiguang, "Push API v3"."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import orjson

LONGEST_TTL = 864_000
LARGEST, LARGEST_IOS = 4000, 3584
MOST_DEVICES = 1000
_TOP = frozenset({"platform", "audience", "notification", "message", "options", "cid", "callback", "inapp_message"})
_PLATFORMS = frozenset({"android", "ios", "hmos", "quickapp"})
_OPTIONS: Mapping[str, type] = {
    "sendno": int,
    "time_to_live": int,
    "override_msg_id": int,
    "apns_production": bool,
    "apns_collapse_id": str,
    "big_push_duration": int,
    "third_party_channel": dict,
}
_DEVICE = re.compile(r"[0-9A-Za-z_\-]{1,64}")


class Refusal(NamedTuple):
    """A JPush error: its code, words and HTTP status."""

    code: int
    message: str
    status: int = 400


def refusal(body: Any) -> Refusal | None:
    """The first thing wrong with a push."""
    if not isinstance(body, dict):
        return Refusal(1003, "the request body is no JSON object")
    return next(_wrong(body), None)


def _wrong(body: Mapping[str, Any]) -> Iterator[Refusal]:
    for name in body:
        if name not in _TOP:
            yield Refusal(1003, f"unknown field {name}")
    for name in ("platform", "audience"):
        if name not in body:
            yield Refusal(1002, f"{name} is required")
    if "notification" not in body and "message" not in body:
        yield Refusal(1002, "notification or message is required")
    yield from _platform(body.get("platform"))
    yield from _audience(body.get("audience"))
    yield from _notification(body.get("notification"), body.get("platform"))
    yield from _options(body.get("options", {}))
    yield from _callback(body.get("callback", {}))


def _platform(platform: Any) -> Iterator[Refusal]:
    if platform != "all" and not (isinstance(platform, list) and platform and _PLATFORMS.issuperset(platform)):
        yield Refusal(1003, "invalid platform")


def _audience(audience: Any) -> Iterator[Refusal]:
    devices = audience.get("registration_id") if isinstance(audience, dict) else None
    if not isinstance(devices, list) or not 0 < len(devices) <= MOST_DEVICES:
        yield Refusal(1003, "the sandbox pushes to registration ids alone: 1 to 1000 of them")
    elif not all(isinstance(device, str) and _DEVICE.fullmatch(device) for device in devices):
        yield Refusal(1003, "invalid registration_id")


def _notification(notification: Any, platform: Any) -> Iterator[Refusal]:
    parts = notification if isinstance(notification, dict) else {}
    for name in platform if isinstance(platform, list) else ():
        part = parts.get(name, parts)
        alert = part.get("alert") if isinstance(part, dict) else None
        if not alert or not isinstance(alert, str | dict):
            yield Refusal(1002, f"notification.{name}.alert is required")
        elif not isinstance(part.get("extras", {}), dict):
            yield Refusal(1003, f"notification.{name}.extras is no object")
        elif len(orjson.dumps(part)) > (LARGEST_IOS if name == "ios" else LARGEST):
            yield Refusal(1005, f"notification.{name} is too large")
        elif name == "hmos" and not isinstance(part.get("intent"), dict):
            yield Refusal(1002, "notification.hmos.intent is required")


def _options(options: Any) -> Iterator[Refusal]:
    if not isinstance(options, dict):
        yield Refusal(1003, "options is no object")
        return
    for name, value in options.items():
        kind = _OPTIONS.get(name)
        if kind is None or not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield Refusal(1003, f"invalid options.{name}")
    if not 0 <= options.get("time_to_live", 0) <= LONGEST_TTL:
        yield Refusal(1003, "invalid options.time_to_live: 0 to 10 days")
    if len(str(options.get("apns_collapse_id", "")).encode()) > 64:  # noqa: PLR2004  # APNs' own limit
        yield Refusal(1003, "invalid options.apns_collapse_id: at most 64 bytes")


def _callback(callback: Any) -> Iterator[Refusal]:
    if not isinstance(callback, dict) or not {"url", "params", "type"}.issuperset(callback):
        yield Refusal(1003, "invalid callback")
    elif callback and callback.get("type") not in {1, 2, 3, 8, 9, 10, 11}:
        yield Refusal(1003, "invalid callback.type")
