"""What an operator names as ``--to``: an address of any kind, as text or as JSON, checked before anything is done.

    +4915112345678   ada@example.com   a token   u-17 (with --channel inbox or webhook)
    {"endpoint": "https://…", "keys": {"p256dh": "…", "auth": "…"}}            as a browser gives a subscription
    {"value": "…", "kind": "apns", "details": {"environment": "sandbox"}}      as POST /v1/users takes it

Nothing said here repeats an address.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from orchestrator.audience.contacts import KINDS, KINDS_OF, check_contact
from orchestrator.audience.whereabouts import mailbox, phone
from orchestrator.errors import InputError, did_you_mean
from orchestrator.policy.predicates import OWN_ID

LONGEST = 8192
_PHONE = re.compile(r"\+[1-9]\d{5,14}")
_MAILBOX = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+|[^\s@]+@localhost")
_LOOKS = {"sms": (_PHONE, "a number like +4915112345678"), "email": (_MAILBOX, "a mailbox like ada@example.com")}


@dataclass(frozen=True, slots=True)
class Contact:
    """An address as the database writes it; ``kind`` is empty when nobody said. Never printed."""

    channel: str
    value: str = field(repr=False)
    kind: str = ""
    details: Mapping[str, str] = field(default_factory=dict, repr=False)


class _Address(BaseModel):
    """As ``POST /v1/users`` takes an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: str
    channel: str = ""
    kind: str = ""
    details: dict[str, str] = Field(default_factory=dict)


class _Keys(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    p256dh: str
    auth: str


class _Subscription(BaseModel):
    """What ``PushSubscription.toJSON()`` gives (W3C Push API §8)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    endpoint: str
    keys: _Keys


def read_contact(to: str, channel: str = "", kind: str = "") -> Contact:
    """An address with its channel: named, or what its kind or its looks say.

    Raises:
        InputError: nothing could be sent to it.
    """
    given = _given(to)
    kind = kind or given.kind
    if kind and kind not in KINDS:
        raise InputError(f"unknown kind {kind[:32]!r}", hint=did_you_mean(kind[:32], KINDS))
    channel = channel or given.channel or _channel_of(kind) or channel_for(given.value)
    if channel not in KINDS_OF:
        raise InputError(f"unknown channel {channel[:32]!r}", hint=did_you_mean(channel[:32], KINDS_OF))
    _check_looks(channel, given.value)
    value = as_kept(channel, given.value)
    check_contact(channel, kind or None, value, given.details)
    return Contact(channel, value, kind, given.details)


def channel_for(address: str) -> str:
    """The channel that an address looks like: a number, a mailbox, or else a push token."""
    if _PHONE.fullmatch(address):
        return "sms"
    return "email" if _MAILBOX.fullmatch(address) else "push"


def as_kept(channel: str, address: str) -> str:
    """An address as the database writes it: another spelling would pass by its suppression.

    Raises:
        InputError: it is none; the error does not repeat it.
    """
    match channel:
        case "sms":
            return phone(address).value
        case "email" if not address.endswith("@localhost"):  # a mail server on this machine: no mailbox by syntax
            return mailbox(address)
        case _:
            return address.lower() if channel == "email" else address


def _given(to: str) -> _Address:
    if len(to) > LONGEST:
        raise InputError(f"--to is longer than {LONGEST} characters", hint="give one address")
    if not to.lstrip().startswith("{"):
        return _Address(value=to)
    try:
        read: Any = orjson.loads(to)
        if "endpoint" not in read:
            return _Address.model_validate(read)
        browser = _Subscription.model_validate(read)
    except (orjson.JSONDecodeError, ValidationError):  # whose words would repeat what was given
        hint = '{"endpoint": "…", "keys": {…}} as a browser gives it, or {"value": "…", "kind": "…", "details": {…}}'
        raise InputError("--to is no address in JSON", hint=hint) from None
    return _Address(value=browser.endpoint, kind="webpush", details=browser.keys.model_dump())


def _channel_of(kind: str) -> str:
    """The channel that a kind belongs to; "" when there are several, or no kind."""
    channels = [channel for channel, kinds in KINDS_OF.items() if kind in kinds]
    if len(channels) > 1:
        raise InputError(f"a {kind} has several channels", hint=f"give --channel {' or '.join(channels)}")
    return channels[0] if channels else ""


def _check_looks(channel: str, value: str) -> None:
    looks = _LOOKS.get(channel)
    spaced = any(sign.isspace() for sign in value) and channel not in OWN_ID
    if not value or spaced or not value.isprintable() or (looks and not looks[0].fullmatch(value)):
        wanted = looks[1] if looks else "the app's id of a user" if channel in OWN_ID else "a token without spaces"
        raise InputError(f"--to is no address for {channel}", hint=f"give {wanted}, or another --channel")
