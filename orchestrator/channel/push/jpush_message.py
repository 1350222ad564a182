"""A push payload as JPush's JSON, and what would be refused of it. Source: Jiguang, "Push API v3"."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Any

import orjson

from orchestrator.channel.base import Envelope, Payload, PushPayload
from orchestrator.channel.push.vendor import custom_data

ANDROID_LIMIT = 4000
"""Bytes of the notification for Android or HarmonyOS."""
IOS_LIMIT = 3584
"""Bytes of the notification for iOS, which Jiguang wraps before APNs' 4096."""
TTL_LIMIT = timedelta(days=10)
OURS = frozenset({"msg_id", "link", "ack"})
_APNS_ID_LIMIT = 64
_ROOM = "0" * 64  # the longest acknowledgement token and message id we may add
_HOME = "action.system.home"


def push_body(
    envelope: Envelope, payload: PushPayload, *, cid: str, production: bool, harmony: bool, callback: str
) -> dict[str, Any]:
    """The body of ``POST /v3/push``. JPush lets go of the message when ``ttl`` ends; on iOS a copy replaces it."""
    seconds = int(min(max(envelope.ttl, timedelta()), TTL_LIMIT).total_seconds())  # down: never past the window
    body: dict[str, Any] = {
        "platform": ["android", "ios", *(["hmos"] if harmony else [])],
        "audience": {"registration_id": [envelope.address]},
        "notification": notification(payload, custom_data(envelope, payload), harmony=harmony),
        "options": {
            "time_to_live": seconds,
            "apns_production": production,
            "apns_collapse_id": _apns_collapse_id(envelope.collapse_key),
        },
        "cid": cid,
    }
    if callback:  # receipts: 1 delivered, 2 clicked
        body["callback"] = {"url": callback, "params": {"m": envelope.message_id}, "type": 3}
    return body


def notification(payload: PushPayload, extras: dict[str, str], *, harmony: bool) -> dict[str, Any]:
    """The parts for each platform; an empty title would show as an empty line."""
    title = {"title": payload.title} if payload.title else {}
    image = {"style": 3, "big_pic_path": payload.image} if payload.image else {}
    parts: dict[str, Any] = {
        "alert": payload.body,
        "android": {"alert": payload.body, **title, **image, "extras": extras},
        "ios": {"alert": {**title, "body": payload.body}, "sound": "default", "extras": extras},
    }
    if harmony:
        intent = {"url": payload.link or _HOME}
        parts["hmos"] = {"alert": payload.body, **title, "intent": intent, "extras": extras}
    return parts


def problems(payload: Payload) -> list[str]:
    """Why JPush would refuse this payload whoever it went to."""
    if not isinstance(payload, PushPayload):
        return ["a push account carries push payloads only"]
    found = [f"data key {key!r} is reserved" for key in payload.data if key in OURS]
    if not payload.body:
        found.append("no body: JPush shows nothing without an alert")
    extras = {**payload.data, "link": payload.link, "msg_id": _ROOM, "ack": _ROOM}
    try:
        parts = notification(payload, extras, harmony=True)
        sizes = {name: len(orjson.dumps(parts[name])) for name in ("android", "ios", "hmos")}
    except (orjson.JSONEncodeError, UnicodeEncodeError):
        return [*found, "half of a character (a lone surrogate) in the text"]
    limits = {"android": ANDROID_LIMIT, "ios": IOS_LIMIT, "hmos": ANDROID_LIMIT}
    too_big = (name for name, limit in limits.items() if sizes[name] > limit)
    return [*found, *(f"{sizes[name]} bytes for {name}; JPush takes {limits[name]}" for name in too_big)]


def _apns_collapse_id(collapse_key: str) -> str:
    if collapse_key.isascii() and len(collapse_key) <= _APNS_ID_LIMIT:
        return collapse_key
    return sha256(collapse_key.encode()).hexdigest()
