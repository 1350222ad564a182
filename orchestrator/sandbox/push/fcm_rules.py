"""What FCM checks of a message whose JSON is sound: its target, sizes, reserved words, times. Source: providers §1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import orjson

from orchestrator.sandbox.push.fcm_schema import Violation

LARGEST = 4096
LARGEST_TO_TOPIC = 2048
LONGEST_TTL = 2_419_200
LONGEST_COLLAPSE_ID = 64
TARGETS = ("token", "topic", "condition", "fid")

_LABEL = re.compile(r"[a-zA-Z0-9\-_.~%]{1,50}")
_TOPIC = re.compile(r"(/topics/)?[a-zA-Z0-9\-_.~%]{1,900}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_:.%\-]{3,4095}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")
_RESERVED = frozenset({"from", "message_type", "notification"})

Message = Mapping[str, Any]


def violations(message: Message) -> Iterator[Violation]:
    """Everything wrong with a message, apart from whether its target exists."""
    yield from _target(message)
    for check in (_data, _sizes, _android, _apns, _webpush, _labels):
        yield from check(message)


def malformed(kind: str, address: str) -> bool:
    """Whether a token, fid or topic cannot be one by its looks; ``malformed-…`` stands for all that cannot."""
    if kind == "condition":
        return "in topics" not in address
    pattern = _TOPIC if kind == "topic" else _TOKEN
    return address.startswith("malformed-") or pattern.fullmatch(address) is None


def _target(message: Message) -> Iterator[Violation]:
    given = [kind for kind in TARGETS if kind in message]
    if not given:
        yield Violation("message", "Recipient of the message is not set.")
    for kind in given[1:]:
        yield Violation("message", f"oneof field 'target' is already set. Cannot set '{kind}'")
    for kind in given[:1]:
        if malformed(kind, message[kind]):
            word = "registration token" if kind == "token" else kind
            yield Violation(f"message.{kind}", f"The {word} is not a valid FCM {word}")


def _data(message: Message) -> Iterator[Violation]:
    for where, data in (("message", message), ("message.android", message.get("android", {}))):
        for key in data.get("data", {}):
            if key in _RESERVED or key.startswith(("google", "gcm")):
                yield Violation(f"{where}.data", f"Invalid data payload key: {key}")


def _sizes(message: Message) -> Iterator[Violation]:
    android = message.get("android", {})
    most = LARGEST_TO_TOPIC if "topic" in message or "condition" in message else LARGEST
    parts = {**message.get("data", {}), **android.get("data", {})}
    if _bytes(parts) + _bytes(message.get("notification", {})) > most:
        yield Violation("message", "Android message is too big")
    if len(orjson.dumps(message.get("apns", {}).get("payload", {}))) > most:
        yield Violation("message.apns.payload", "Apns message is too big")


def _bytes(pairs: Mapping[str, str]) -> int:
    return sum(len(key.encode()) + len(value.encode()) for key, value in pairs.items())


def _android(message: Message) -> Iterator[Violation]:
    android = message.get("android", {})
    if "ttl" in android and not 0 <= Decimal(android["ttl"][:-1]) <= LONGEST_TTL:
        yield Violation("message.android.ttl", f"Invalid ttl: it must be between 0 and {LONGEST_TTL} seconds")
    color = android.get("notification", {}).get("color")
    if color is not None and not _COLOR.fullmatch(color):
        yield Violation("message.android.notification.color", "Invalid color: #rrggbb is expected")


_APNS_HEADERS: Mapping[str, Callable[[str], bool]] = {
    "apns-priority": lambda value: value in {"1", "5", "10"},
    "apns-expiration": str.isdecimal,
    "apns-collapse-id": lambda value: len(value.encode()) <= LONGEST_COLLAPSE_ID,
    "apns-push-type": lambda value: value.replace("-", "").isalpha(),
}


def _apns(message: Message) -> Iterator[Violation]:
    apns = message.get("apns", {})
    for name, value in apns.get("headers", {}).items():
        check = _APNS_HEADERS.get(name.lower())
        if check is not None and not check(value):
            yield Violation("message.apns.headers", f"Invalid value for the header {name}")
    if not isinstance(apns.get("payload", {}).get("aps", {}), dict):
        yield Violation("message.apns.payload.aps", "Invalid aps payload: an object is expected")


def _webpush(message: Message) -> Iterator[Violation]:
    link = message.get("webpush", {}).get("fcmOptions", {}).get("link")
    if link is not None and not link.startswith("https://"):
        yield Violation("message.webpush.fcm_options.link", "The link must be an HTTPS URL")


def _labels(message: Message) -> Iterator[Violation]:
    for where in ("", "android", "apns", "webpush"):
        part = message.get(where, {}) if where else message
        label = part.get("fcmOptions", {}).get("analyticsLabel")
        if label is not None and not _LABEL.fullmatch(label):
            field = ".".join(filter(None, ("message", where, "fcm_options.analytics_label")))
            yield Violation(field, "Invalid analytics label: it must match ^[a-zA-Z0-9-_.~%]{1,50}$")
