"""Huawei Push Kit v1: ``POST /v1/{app}/messages:send``, and ``POST /oauth2/v3/token`` before it.

Receipts go to where ``world.callbacks["huawei"]`` says, as its console would: a status per token.
"""

from __future__ import annotations

import hmac
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.door import pass_door, read_body, read_form
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.push.makers import (
    JsonPost,
    answer,
    fault_code,
    loaded,
    mapping,
    new_token,
    over_quota,
    same,
    token_stands,
    world_of,
)
from orchestrator.sandbox.world import World

APP_ID = "104567890"
SECRET = "huawei-client-secret"  # noqa: S105  # the name of its file
BODY_LIMIT, TOKENS_LIMIT = 4096, 1000
LONGEST_TTL = 15 * 86_400
CATEGORIES = frozenset(
    {"IM", "VOIP", "SUBSCRIPTION", "TRAVEL", "HEALTH", "WORK", "ACCOUNT", "EXPRESS", "FINANCE", "DEVICE_REMINDER"}
    | {"MAIL", "PLAY_VOICE", "MARKETING"}
)
DELIVERED, FLOW_CONTROLLED = 0, 102
Wrong = tuple[str, str]
"""A code and its words."""

HTTP = {"80200001": 401, "80200003": 401, "80200005": 401, "81000001": 500, "80300007": 200, "80100000": 200}
_TTL = re.compile(r"(\d{1,9})[sS]?")


def own_secrets(world: World) -> None:
    """Make the files that customers are set up with."""
    world.credentials.secret(SECRET)


async def token(request: Request) -> Response:
    """OAuth 2.0 client credentials."""
    world = world_of(request)
    form = await read_form(request)

    async def accept(_fault: Fault | None) -> Response:
        known = form.get("client_id") == APP_ID and same(form.get("client_secret"), world.credentials.secret(SECRET))
        if form.get("grant_type") != "client_credentials" or not known:
            world.refused("token", "", 400, "client id or client secret is wrong")
            return answer({"error": 1101, "sub_error": 20013, "error_description": "invalid client"}, 400)
        lifetime = world.issuer.lifetime
        return answer({"access_token": new_token(world, "huawei"), "expires_in": lifetime, "token_type": "Bearer"})

    def refuse(fault: Fault) -> Response:
        return answer({"error": fault.code or 1500, "error_description": "told to fail"}, fault.status or 503)

    return await pass_door(world, request, "token", "", refuse, accept)


async def send(request: Request) -> Response:
    """``messages:send``."""
    world = world_of(request)
    body = await read_body(request)
    read = loaded(body)
    message = mapping(mapping(read).get("message"))
    tokens = message.get("token") if isinstance(message.get("token"), list) else []
    to = str(tokens[0]) if tokens else ""

    async def accept(_fault: Fault | None) -> Response:
        wrong = _unknown(world, request) or next(_violations(read, message, len(body or b"")), None)
        given = _said(*wrong) if wrong else await _accept(world, mapping(read), message)
        if given.status_code >= 400:  # noqa: PLR2004  # as HTTP has it
            world.refused("huawei", to, given.status_code, str(loaded(bytes(given.body)).get("msg")))
        return given

    return await pass_door(world, request, "huawei", to, _refuse, accept)


def _refuse(fault: Fault) -> Response:
    if fault.status == 503 and not fault.code:  # noqa: PLR2004
        return Response(b"", 503)
    code = fault_code(fault, "80300007", "81000001")
    return _said(code, "told to fail", fault.status)


def _unknown(world: World, request: Request) -> Wrong | None:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if request.path_params["app"] != APP_ID or scheme != "Bearer" or not bearer:
        return "80200001", "OAuth authentication error"
    if not token_stands(world, "huawei", bearer):
        return "80200003", "OAuth token expired"
    return None


def _violations(read: object, message: dict[str, Any], size: int) -> Iterator[Wrong]:
    tokens = message.get("token")
    if not isinstance(read, dict) or not isinstance(message.get("android"), dict):
        yield "80100003", "Illegal payload"
        return
    if not isinstance(tokens, list) or not tokens or not all(isinstance(one, str) and one for one in tokens):
        yield "80100001", "Mutually exclusive message.token, message.topic and message.condition"
        return
    if len(tokens) > TOKENS_LIMIT:
        yield "80300010", "The number of tokens exceeds the limit"
    if size - sum(len(one.encode()) + 3 for one in tokens) > BODY_LIMIT:
        yield "80300008", "The message body is larger than 4096 bytes"
    if not isinstance(message.get("data", ""), str):
        yield "80100003", "message.data must be a string"
    yield from _android(message["android"], mapping(message.get("notification")))


def _android(android: dict[str, Any], common: dict[str, Any]) -> Iterator[Wrong]:
    shown = mapping(android.get("notification"))
    if not all(isinstance(shown.get(name) or common.get(name), str) for name in ("title", "body")):
        yield "80100003", "title or body is missing"
    click = mapping(shown.get("click_action")).get("type")
    if click not in {1, 2, 3} or isinstance(click, bool):
        yield "80100003", "click_action.type must be 1, 2 or 3"
    collapse = android.get("collapse_key", -1)
    if not isinstance(collapse, int) or not -1 <= collapse <= 100:  # noqa: PLR2004
        yield "80100013", "collapse_key must be between -1 and 100"
    ttl = _TTL.fullmatch(str(android.get("ttl", "86400s")))
    if ttl is None or not 0 < int(ttl[1]) <= LONGEST_TTL:
        yield "80100004", "ttl"
    if android.get("category", "MARKETING") not in CATEGORIES:
        yield "80100001", "category"
    if not str(shown.get("image", "https://")).startswith("https://") or not isinstance(
        shown.get("notify_id", -1), int
    ):
        yield "80100003", "image must be an https URL, notify_id an integer"


async def _accept(world: World, read: dict[str, Any], message: dict[str, Any]) -> Response:
    request_id = f"{int(time.time() * 1e6)}{uuid4().int % 10**6:06d}"
    tokens = message["token"]
    dead = [one for one in tokens if one.startswith("dead-")]
    if read.get("validate_only") is True:
        return _said("80000000", "Success", request_id=request_id)
    if len(dead) == len(tokens):
        return _said("80300007", "All the tokens are invalid", request_id=request_id)
    alive = [one for one in tokens if not one.startswith("dead-")]
    for address in alive:
        status = FLOW_CONTROLLED if over_quota(world, "huawei", address) else DELIVERED
        await world.log.append(_record(message, address, read), lambda seq: f"{request_id}-{seq}")
        _report(world, message, address, status, request_id)
    if dead:
        told = f'{{"success":{len(alive)},"failure":{len(dead)},"illegal_tokens":{orjson.dumps(dead).decode()}}}'
        return _said("80100000", told, request_id=request_id)
    return _said("80000000", "Success", request_id=request_id)


def _record(message: dict[str, Any], address: str, read: dict[str, Any]) -> dict[str, Any]:
    android, data = message["android"], mapping(loaded(message.get("data", "")))
    shown = {**mapping(message.get("notification")), **mapping(android.get("notification"))}
    ttl = _TTL.fullmatch(str(android.get("ttl", "86400s")))
    now = time.time()
    return {
        "time": now,
        "provider": "huawei",
        "to": address,
        "message_id": data.get("msg_id") or android.get("bi_tag"),
        "collapse_key": str(shown.get("notify_id", "")) or None,
        "title": shown.get("title", ""),
        "body": shown.get("body", ""),
        "image": shown.get("image", ""),
        "link": data.get("link"),
        "expires_at": now + int(ttl[1] if ttl else 0),
        "request": read,
    }


def _report(world: World, message: dict[str, Any], address: str, status: int, request_id: str) -> None:
    """The receipt, signed as if the console had the user ``sandbox`` and the path's own secret for a key."""
    url = world.callbacks.get("huawei")
    if url is None:
        return
    stamp, nonce = int(time.time() * 1000), str(uuid4())
    key = url.rpartition("/")[2]
    value = b64encode(_hmac(key, f"{stamp}{nonce}sandbox")).decode()
    headers = {"X-HUAWEI-CALLBACK-ID": f"timestamp={stamp}; nonce={nonce}; value={value}"}
    told = {
        "biTag": message["android"].get("bi_tag", ""),
        "appid": APP_ID,
        "token": address,
        "status": status,
        "timestamp": stamp,
        "requestId": request_id,
    }
    world.webhooks.post(url, [JsonPost({"statuses": [told]}, headers)], address)


def _hmac(key: str, text: str) -> bytes:
    return hmac.digest(key.encode(), text.encode(), sha256)


def _said(code: str, words: str, status: int | None = None, *, request_id: str = "") -> Response:
    http = status or HTTP.get(code, 200 if code == "80000000" else 400)
    return answer({"code": code, "msg": words, "requestId": request_id or str(int(time.time() * 1e6))}, http)


ROUTES = (
    Route("/oauth2/v3/token", token, methods=["POST"]),
    Route("/v1/{app:str}/messages:send", send, methods=["POST"]),
)
