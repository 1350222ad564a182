"""vivo: ``POST /message/auth`` and ``POST /message/send``.

Formal messages are held to vivo's rules for texts. Receipts go to where the message itself says; what is over the day's
number has none.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator
from hashlib import md5
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.door import pass_door, read_body
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

APP_ID = 104567
APP_KEY = "5a4db0c0-vivo-5a4d-b0c0"
SECRET = "vivo-app-secret"  # noqa: S105  # the name of its file
SHORTEST_TTL, LONGEST_TTL = 60, 604_800
CLOCKS_APART_MS = 600_000
Wrong = tuple[int, str]
"""A result and its words."""


def own_secrets(world: World) -> None:
    """Make the files that customers are set up with."""
    world.credentials.secret(SECRET)


async def auth(request: Request) -> Response:
    """An access token for a signature."""
    world = world_of(request)
    given = mapping(loaded(await read_body(request)))

    async def accept(_fault: Fault | None) -> Response:
        wrong = _unsigned(world, given)
        if wrong:
            world.refused("token", "", 200, wrong[1])
            return _said(*wrong)
        return answer({"result": 0, "desc": "请求成功", "authToken": new_token(world, "vivo")})

    return await pass_door(world, request, "token", "", _refuse, accept)


async def send(request: Request) -> Response:
    """One message to one registration id."""
    world = world_of(request)
    given = mapping(loaded(await read_body(request)))
    to = given.get("regId")
    to = to if isinstance(to, str) else ""

    async def accept(_fault: Fault | None) -> Response:
        wrong = _unknown(world, request, given) or next(_violations(given), None)
        if wrong:
            world.refused("vivo", to, 200, wrong[1])
            return _said(*wrong)
        return await _accept(world, given, to)

    return await pass_door(world, request, "vivo", to, _refuse, accept)


def _refuse(fault: Fault) -> Response:
    code = fault_code(fault, "10302", "10999")
    return _said(int(code) if code.isdecimal() else 10999, "told to fail", fault.status or 200)


def _unsigned(world: World, given: dict[str, Any]) -> Wrong | None:
    stamp = given.get("timestamp")
    if given.get("appId") != APP_ID:
        return 10202, "appId不合法"
    if given.get("appKey") != APP_KEY:
        return 10201, "appKey不合法"
    if not isinstance(stamp, int) or abs(stamp - time.time() * 1000) > CLOCKS_APART_MS:
        return 10203, "timestamp不合法"
    text = f"{APP_ID}{APP_KEY}{stamp}{world.credentials.secret(SECRET)}"
    right = md5(text.encode(), usedforsecurity=False).hexdigest()
    return None if same(given.get("sign"), right) else (10204, "sign不合法")


def _unknown(world: World, request: Request, given: dict[str, Any]) -> Wrong | None:
    if not token_stands(world, "vivo", request.headers.get("authtoken", "")):
        return 10000, "权限认证失败"
    return None if given.get("appId", APP_ID) == APP_ID else (10094, "appId与authToken不匹配")


def _violations(given: dict[str, Any]) -> Iterator[Wrong]:
    if not isinstance(given.get("regId"), str) or not given["regId"]:
        yield 10050, "alias和regId不能同时为空"
    yield from _wrong_texts(given)
    if given.get("notifyType") not in {1, 2, 3, 4} or given.get("skipType") not in {1, 2, 3, 4}:
        yield 10053, "notifyType或skipType不合法"
    ttl = given.get("timeToLive", 86_400)
    if not isinstance(ttl, int) or not SHORTEST_TTL <= ttl <= LONGEST_TTL:
        yield 10060, "timeToLive不合法"
    if not isinstance(given.get("requestId"), str) or not 0 < len(given["requestId"]) <= 64:  # noqa: PLR2004
        yield 10045, "requestId不合法"
    yield from _additions(given)


def _wrong_texts(given: dict[str, Any]) -> Iterator[Wrong]:
    for name, most, code in (("title", 40, 10055), ("content", 100, 10058)):
        text = given.get(name)
        if not isinstance(text, str) or not text.strip():
            yield code, f"{name}不能为空"
        elif _half_widths(text) > most:
            yield code + 1, f"{name}太长"
        elif given.get("pushMode", 0) == 0 and (code := _refused_text(text)):
            yield code, f"{name}不合法"


def _additions(given: dict[str, Any]) -> Iterator[Wrong]:
    pairs, extra = mapping(given.get("clientCustomMap")), mapping(given.get("extra"))
    if len(pairs) > 10:  # noqa: PLR2004
        yield 10066, "自定义key和value键值对个数不能超过10个"
    if sum(len(f"{name}{value}") for name, value in pairs.items()) > 1024:  # noqa: PLR2004
        yield 10067, "自定义key和value键值对长度不能超过1024"
    if len(str(extra.get("callback", ""))) > 128 or len(str(extra.get("callback.param", ""))) > 64:  # noqa: PLR2004
        yield 10068, "extra不合法"
    if not isinstance(given.get("notifyId", 1), int) or given.get("classification", 0) not in {0, 1}:
        yield 10069, "notifyId或classification不合法"


def _refused_text(text: str) -> int:
    """The code that a formal message's text is refused with, or 0."""
    if "测试" in text:
        return 10085
    kinds = {unicodedata.category(character)[0] for character in text if not character.isspace()}
    foreign = any(unicodedata.category(one)[0] == "L" and not one.isascii() for one in text)
    alone = not foreign and ("L" not in kinds or kinds == {"L"})
    return 10104 if alone else 0


def _half_widths(text: str) -> int:
    return sum(2 if one.isalpha() and unicodedata.east_asian_width(one) in {"W", "F"} else 1 for one in text)


async def _accept(world: World, given: dict[str, Any], address: str) -> Response:
    if address.startswith("dead-"):
        return _said(10302, "regId不合法", invalidUser={"status": 1, "userid": address})
    shown = not over_quota(world, "vivo", address)
    record = await world.log.append(_record(given, address), lambda seq: str(5_000_000_000 + seq))
    extra = mapping(given.get("extra"))
    url = extra.get("callback") or world.callbacks.get("vivo")
    if url and shown and given.get("pushMode", 0) == 0:
        told = {"param": extra.get("callback.param", ""), "targets": address, "ackTime": int(time.time() * 1000)}
        world.webhooks.post(str(url), [JsonPost({record["id"]: told})], address)
    return answer({"result": 0, "desc": "请求成功", "taskId": record["id"]})


def _record(given: dict[str, Any], address: str) -> dict[str, Any]:
    data, now = mapping(given.get("clientCustomMap")), time.time()
    return {
        "time": now,
        "provider": "vivo",
        "to": address,
        "message_id": data.get("msg_id"),
        "collapse_key": str(given.get("notifyId", "")) or None,
        "title": given["title"],
        "body": given["content"],
        "link": data.get("link"),
        "tag": given["requestId"],
        "expires_at": now + given.get("timeToLive", 86_400),
        "request": given,
    }


def _said(result: int, words: str, status: int = 200, **more: object) -> Response:
    return answer({"result": result, "desc": words, **more}, status)


ROUTES = (
    Route("/message/auth", auth, methods=["POST"]),
    Route("/message/send", send, methods=["POST"]),
)
