"""What an address may be: the kinds of each channel, and what else is known of one besides its value."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from orchestrator.errors import InputError, did_you_mean

PUSH_KINDS = ("token", "fid", "apns", "webpush", "huawei", "jpush", "getui", "xiaomi", "oppo", "vivo")
KINDS_OF: Mapping[str, tuple[str, ...]] = {
    "push": PUSH_KINDS,
    "sms": ("phone",),
    "email": ("mailbox",),
    "inbox": ("user",),
    "webhook": ("user",),
}
"""The kinds of addresses of each channel; the first is meant where a source does not say."""
KINDS = tuple(dict.fromkeys(kind for kinds in KINDS_OF.values() for kind in kinds))
PLATFORMS = ("android", "ios", "web", "harmony")
PLATFORM_OF = {"apns": "ios", "webpush": "web", "xiaomi": "android", "oppo": "android", "vivo": "android"}
"""The platform that a kind of address can only have."""
DETAILS = ("environment", "app", "p256dh", "auth")
ENVIRONMENTS = ("production", "sandbox")
MAX_DETAILS = 512
"""Bytes of an address's details, keys and values together."""

_APP = re.compile(r"[\w.-]{1,155}", re.ASCII)
_KEY_BYTES = {"p256dh": 65, "auth": 16}
"""RFC 8291 §2: an uncompressed point of P-256, and 16 octets."""
_POINT = 4
_THIS_MACHINE = frozenset({"127.0.0.1", "localhost", "::1"})  # the sandbox's subscriptions


def default_kind(channel: str) -> str:
    """The kind of an address whose source does not say."""
    return KINDS_OF[channel][0]


def check_contact(channel: str, kind: str | None, value: str, details: Mapping[str, str] | None) -> None:
    """Whether an address could be sent to; no value is repeated in what is said.

    Raises:
        InputError: what is wrong, beginning with the field.
    """
    kind = kind or default_kind(channel)
    if kind not in KINDS_OF[channel]:
        raise InputError(f"kind: {kind[:40]} is none of channel {channel} ({did_you_mean(kind, KINDS_OF[channel])})")
    given = details or {}
    for name in given:
        _check_detail(name, given[name])
    if sum(len(name) + len(text.encode()) for name, text in given.items()) > MAX_DETAILS:
        raise InputError(f"details: are longer than {MAX_DETAILS} bytes")
    if kind == "webpush":
        _check_subscription(value, given)


def _check_detail(name: str, text: str) -> None:
    if name not in DETAILS:
        raise InputError(f"details: unknown field {name[:40]!r} ({did_you_mean(name[:64], DETAILS)})")
    if name == "environment" and text not in ENVIRONMENTS:
        raise InputError("details.environment: is neither production nor sandbox")
    if name == "app" and not _APP.fullmatch(text):
        raise InputError("details.app: is no bundle id such as com.example.app")
    if name in _KEY_BYTES and not _is_key(name, text):
        raise InputError(f"details.{name}: is not {_KEY_BYTES[name]} bytes in base64url")


def _is_key(name: str, text: str) -> bool:
    plain = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(key) == _KEY_BYTES[name] and (name != "p256dh" or key[0] == _POINT)


def _check_subscription(value: str, details: Mapping[str, str]) -> None:
    for name in _KEY_BYTES:
        if name not in details:
            raise InputError(f"details.{name}: a webpush address needs it (RFC 8291)")
    try:
        parts = urlsplit(value)
        safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _THIS_MACHINE)
        good = safe and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise InputError("value: a webpush address is the https address of its endpoint")
