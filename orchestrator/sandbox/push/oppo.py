"""OPPO PUSH: ``POST /server/v1/auth`` and ``…/message/notification/unicast``; abroad the same under ``/intl``.

A registration id of one region is not known in the other, and an ``app_message_id`` reaches a phone only once. Receipts
go to where the message itself says.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.door import pass_door, read_form
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

APP_KEY = "5a4db0c0oppo5a4db0c0"
SECRET = "oppo-master-secret"  # noqa: S105  # the name of its file
LONGEST_TTL = 864_000
CLOCKS_APART_MS = 600_000
LIMITS = {
    "title": 50,
    "content": 200,
    "sub_title": 10,
    "click_action_url": 500,
    "call_back_url": 200,
    "call_back_parameter": 50,
    "action_parameters": 4000,
}
Wrong = tuple[int, str]
"""A code and its words."""


def own_secrets(world: World) -> None:
    """Make the files that customers are set up with."""
    world.credentials.secret(SECRET)


async def auth(request: Request) -> Response:
    """An access token for a signature."""
    world = world_of(request)
    form = await read_form(request)

    async def accept(_fault: Fault | None) -> Response:
        wrong = _unsigned(world, form)
        if wrong:
            world.refused("token", "", 200, wrong[1])
            return _said(*wrong)
        data = {"auth_token": new_token(world, _maker(request)), "create_time": int(time.time() * 1000)}
        return _said(0, "Success", data)

    return await pass_door(world, request, "token", "", _refuse, accept)


async def unicast(request: Request) -> Response:
    """One message to one registration id."""
    world = world_of(request)
    form = await read_form(request)
    message = mapping(loaded(form.get("message")))
    to = message.get("target_value")
    to = to if isinstance(to, str) else ""

    async def accept(_fault: Fault | None) -> Response:
        known = token_stands(world, _maker(request), form.get("auth_token", ""))
        wrong = None if known else (11, "Invalid AuthToken")
        wrong = wrong or next(_violations(message), None) or _stranger(_maker(request), to)
        if wrong:
            world.refused("oppo", to, 200, wrong[1])
            return _said(*wrong)
        return await _accept(world, message, to)

    return await pass_door(world, request, "oppo", to, _refuse, accept)


def _refuse(fault: Fault) -> Response:
    code = fault_code(fault, "10000", "-1")
    return _said(int(code) if code.removeprefix("-").isdecimal() else -1, "told to fail", None, fault.status or 200)


def _maker(request: Request) -> str:
    """A token of one region is none in the other."""
    return "oppo-intl" if request.url.path.startswith("/intl/") else "oppo"


def _unsigned(world: World, form: dict[str, str]) -> Wrong | None:
    stamp = form.get("timestamp", "")
    if form.get("app_key") != APP_KEY:
        return 14, "Invalid App Key"
    if not stamp.isdecimal() or len(stamp) > 14 or abs(int(stamp) - time.time() * 1000) > CLOCKS_APART_MS:  # noqa: PLR2004
        return 19, "Invalid Timestamp"
    right = sha256(f"{APP_KEY}{stamp}{world.credentials.secret(SECRET)}".encode()).hexdigest()
    return None if same(form.get("sign"), right) else (16, "Invalid Signature")


def _violations(message: dict[str, Any]) -> Iterator[Wrong]:
    shown = message.get("notification")
    if not isinstance(shown, dict) or not isinstance(message.get("target_value"), str) or not message["target_value"]:
        yield 40, "Missing Required Arguments"
        return
    if message.get("target_type") != 2:  # noqa: PLR2004  # a registration id
        yield 41, "Invalid Arguments: target_type"
    missing = [name for name in ("title", "content") if not str(shown.get(name) or "").strip()]
    if missing:
        yield 40, f"Missing Required Arguments: {missing[0]}"
    yield from _wrong_values(shown)


def _wrong_values(shown: dict[str, Any]) -> Iterator[Wrong]:
    for name, most in LIMITS.items():
        value = shown.get(name)
        if value is not None and (not isinstance(value, str) or len(value) > most):
            yield 41, f"Invalid Arguments: {name}"
    ttl = shown.get("off_line_ttl", 3600)
    if not isinstance(ttl, int) or not 0 < ttl <= LONGEST_TTL:
        yield 41, "Invalid Arguments: off_line_ttl"
    if not isinstance(shown.get("notify_id", 0), int):
        yield 41, "Invalid Arguments: notify_id"
    if not isinstance(loaded(shown.get("action_parameters", "{}")), dict):
        yield 41, "Invalid Arguments: action_parameters"


def _stranger(maker: str, address: str) -> Wrong | None:
    *prefixes, _ = address.split("_")
    abroad = bool(prefixes) and prefixes[:2][-1] != "CN"
    known = not address.startswith("dead-") and abroad == (maker == "oppo-intl")
    return None if known else (10000, "Invalid Registration_id")


async def _accept(world: World, message: dict[str, Any], address: str) -> Response:
    shown = message["notification"]
    app_message_id = shown.get("app_message_id")
    if app_message_id and _had(world, address, app_message_id):
        return _said(32, "Data Duplicate")
    kind = "user_daily_limit" if over_quota(world, "oppo", address) else "push_arrive"
    name = f"{APP_KEY}-1-1-{uuid4().hex[:20]}"
    await world.log.append(_record(message, address), lambda _seq: name)
    url = shown.get("call_back_url") or world.callbacks.get("oppo")
    if url:
        told = {
            "messageId": name,
            "appId": APP_KEY,
            "taskId": name,
            "registrationIds": address,
            "eventTime": str(int(time.time() * 1000)),
            "param": shown.get("call_back_parameter", ""),
            "eventType": kind,
        }
        world.webhooks.post(url, [JsonPost([told])], address)
    return _said(0, "Success", {"messageId": name})


def _had(world: World, address: str, app_message_id: str) -> bool:
    records = (world.log.get(number) for number in world.log.of(address))
    return any(one and one["provider"] == "oppo" and one["tag"] == app_message_id for one in records)


def _record(message: dict[str, Any], address: str) -> dict[str, Any]:
    shown, now = message["notification"], time.time()
    data = mapping(loaded(shown.get("action_parameters", "")))
    return {
        "time": now,
        "provider": "oppo",
        "to": address,
        "message_id": data.get("msg_id"),
        "collapse_key": str(shown.get("notify_id", "")) or None,
        "title": shown["title"],
        "body": shown["content"],
        "link": data.get("link"),
        "tag": shown.get("app_message_id"),
        "expires_at": now + shown.get("off_line_ttl", 3600),
        "request": message,
    }


def _said(code: int, words: str, data: object = None, status: int = 200) -> Response:
    return answer({"code": code, "message": words, **({"data": data} if data is not None else {})}, status)


ROUTES = tuple(
    Route(f"{region}/server/v1/{path}", endpoint, methods=["POST"])
    for region in ("", "/intl")
    for path, endpoint in (("auth", auth), ("message/notification/unicast", unicast))
)
