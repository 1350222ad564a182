"""Webhooks of ours, signed as Standard Webhooks says (standardwebhooks.com): an HMAC over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from orchestrator.channel.outward import Inward, Outward, read_target
from orchestrator.channel.transport import NoAnswer
from orchestrator.clock import SystemClock
from orchestrator.errors import InputError

TIMEOUT = timedelta(seconds=10)
_PREFIX = "whsec_"
_LEAST_KEY = 24
_OK = range(200, 300)


def signing_key(secret: str) -> bytes:
    """The key in ``whsec_…``.

    Raises:
        InputError: it is none, or too short to be one.
    """
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.strip().startswith(_PREFIX) or len(key) < _LEAST_KEY:
        raise InputError("the signing secret has to be whsec_ and at least 24 bytes in base64")
    return key


def signature(key: bytes, number: str, at: datetime, body: bytes) -> str:
    """``v1,…`` over id, time and body."""
    signed = f"{number}.{int(at.timestamp())}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def signed_headers(keys: Sequence[bytes], number: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of one webhook; with several keys (one is being replaced) one signature of each."""
    headers = {"content-type": "application/json", "webhook-id": number, "webhook-timestamp": str(int(at.timestamp()))}
    if keys:
        headers["webhook-signature"] = " ".join(signature(key, number, at, body) for key in keys)
    return headers


async def post(url: str, key: bytes | None, number: str, at: datetime, body: bytes) -> str:
    """Post one signed body; why it was not taken, or nothing when it was. Never raises but for cancellation."""
    target = read_target(url)
    if isinstance(target, str):
        return target
    servers = Outward(TIMEOUT, SystemClock())
    try:
        answer = await servers.request(target, signed_headers([key] if key else [], number, at, body), body)
    finally:
        await servers.close()
    if isinstance(answer, Inward):
        return "the name leads into a private network"
    if isinstance(answer, NoAnswer):
        return str(answer.failure)
    return "" if answer.status in _OK else f"status {answer.status}"
