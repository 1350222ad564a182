"""A server of the app's own that takes webhooks: ``POST /webhook/{name}``, signed as Standard Webhooks says.

Stale, forged and unsigned ones are refused with 401; what is taken is logged, a repeated ``webhook-id`` too: to take it
in once is what the receiver would do with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.world import World

SECRET_FILE = "webhook-secret"  # noqa: S105  # its name
TOLERANCE = 300
"""Seconds that a signature may be old, or ahead."""
_WANTED = ("id", "user", "title", "body", "expires_at")


async def receive(request: Request) -> Response:
    """One webhook."""
    world: World = request.app.state.world
    body = await read_body(request)
    if body is None:
        return _said("the body is too large", 413)
    shown = _mapping(body)
    user = str(shown.get("user", ""))

    async def accept(_fault: Fault | None) -> Response:
        words = wrong(secret(world), request.headers, body, time.time())
        status = 401 if words else 422
        words = words or _incomplete(shown)
        if words:
            world.refused("webhook", user, status, words)
            return _said(words, status)
        await world.log.append(_record(request, shown, user), lambda seq: f"{request.headers['webhook-id']}-{seq}")
        return Response(status_code=204)

    return await pass_door(world, request, "webhook", user, _refuse, accept)


def secret(world: World) -> str:
    """What senders sign with; ``whsec_…``."""
    return world.credentials.secret(SECRET_FILE, lambda: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def wrong(key: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """Why a webhook is not believed; empty when it is. ``headers`` have lower-case names."""
    number, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not number or not at.isascii() or not at.isdecimal():
        return "webhook-id or webhook-timestamp is missing"
    if abs(now - int(at)) > TOLERANCE:
        return "the signature is stale"
    try:
        raw = base64.b64decode(key.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        return "the secret is not base64"
    made = base64.b64encode(hmac.digest(raw, f"{number}.{at}.".encode() + body, hashlib.sha256))
    given = [each.removeprefix("v1,") for each in headers.get("webhook-signature", "").split() if each[:3] == "v1,"]
    matches = [hmac.compare_digest(made, each.encode()) for each in given]
    return "" if any(matches) else "the signature does not match"


def _incomplete(shown: dict[str, Any]) -> str:
    missing = [name for name in _WANTED if not isinstance(shown.get(name), str)]
    return f"{', '.join(missing)} missing, or not text" if missing else ""


def _record(request: Request, shown: dict[str, Any], user: str) -> Record:
    return {
        "time": time.time(),
        "provider": "webhook",
        "to": user or "-",
        "message_id": shown["id"],
        "collapse_key": shown.get("collapse_key"),
        "title": shown["title"],
        "body": shown["body"],
        "link": shown.get("link"),
        "image": shown.get("image"),
        "expires_at": _seconds(shown["expires_at"]),
        "request": {"path": request.url.path, "webhook_id": request.headers["webhook-id"], "payload": shown},
    }


def _seconds(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None


def _refuse(fault: Fault) -> Response:
    return _said(str(fault.code or "told to fail"), fault.status or 503)


def _mapping(body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _said(words: str, status: int) -> Response:
    return Response(orjson.dumps({"error": words}), status, media_type="application/json")


ROUTES = (Route("/webhook/{name}", receive, methods=["POST"]),)
