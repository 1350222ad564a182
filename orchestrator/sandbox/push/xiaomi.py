"""Xiaomi (Mi Push): ``POST /v3/message/regid``, and the trace of a message.

Receipts go to where the message itself says (``extra.callback``), as a form with JSON in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.door import pass_door, read_form
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.push.makers import answer, fault_code, loaded, mapping, over_quota, same, world_of
from orchestrator.sandbox.world import World

PACKAGE = "com.example.sandbox"
SECRET = "xiaomi-app-secret"  # noqa: S105  # the name of its file
LONGEST_TTL_MS = 14 * 86_400_000
DELIVERED, DAILY_LIMIT = 1, 128
Wrong = tuple[int, str]
"""A code and its words."""

_JOBKEY = re.compile(r"[0-9A-Za-z-][0-9A-Za-z_-]{0,19}")
_KNOWN_EXTRAS = frozenset(
    {"notify_effect", "notify_foreground", "intent_uri", "web_uri", "jobkey", "channel_id", "sound_uri", "ticker"}
    | {"callback", "callback.param", "callback.type", "flow_control", "locale", "model", "app_version", "connpt"}
)
PATH_LIMIT = 256


def own_secrets(world: World) -> None:
    """Make the files that customers are set up with."""
    world.credentials.secret(SECRET)


async def send(request: Request) -> Response:
    """One message to one registration id or several."""
    world = world_of(request)
    form = await read_form(request)
    to = form.get("registration_id", "").split(",")[0]

    async def accept(_fault: Fault | None) -> Response:
        wrong = _unknown(world, request) or next(_violations(form), None)
        given = _refused(*wrong) if wrong else await _accept(world, form)
        if wrong:
            world.refused("xiaomi", to, given.status_code, wrong[1])
        return given

    return await pass_door(world, request, "xiaomi", to, _refuse, accept)


async def trace(request: Request) -> Response:
    """What became of a message; nothing, of one that never was."""
    world = world_of(request)

    async def accept(_fault: Fault | None) -> Response:
        if wrong := _unknown(world, request):
            return _refused(*wrong)
        return answer({"result": "ok", "code": 0, "data": {}, "description": "成功"})

    return await pass_door(world, request, "lookup", "", _refuse, accept)


def _refuse(fault: Fault) -> Response:
    code = fault_code(fault, "10029", "10001")
    return _refused(int(code) if code.isdecimal() else 10001, "told to fail", fault.status or 200)


def _unknown(world: World, request: Request) -> Wrong | None:
    word, _, key = request.headers.get("authorization", "").partition("=")
    known = word == "key" and same(key, world.credentials.secret(SECRET))
    return None if known else (21301, "认证失败")


def _violations(form: Mapping[str, str]) -> Iterator[Wrong]:
    for name in ("registration_id", "restricted_package_name", "title", "description"):
        if not form.get(name, "").strip():
            yield 10016, f"缺失必选参数: {name}"
    if form.get("restricted_package_name") != PACKAGE:
        yield 22022, "应用程序package name不合法"
    if len(form.get("title", "")) >= 50 or len(form.get("description", "")) >= 128:  # noqa: PLR2004
        yield 65009, "消息内容太长"
    if len(form.get("payload", "").encode()) > 4096:  # noqa: PLR2004
        yield 65009, "消息内容太长"
    if form.get("pass_through", "0") not in {"0", "1"} or not _within(form, "notify_id", 0, 2**31 - 1):
        yield 10017, "参数值非法"
    if not _within(form, "time_to_live", 1, LONGEST_TTL_MS):
        yield 10017, "参数值非法: time_to_live"
    yield from _extras(form)


def _extras(form: Mapping[str, str]) -> Iterator[Wrong]:
    extras = {name.removeprefix("extra."): value for name, value in form.items() if name.startswith("extra.")}
    own = {name: value for name, value in extras.items() if name not in _KNOWN_EXTRAS}
    if len(own) > 10:  # noqa: PLR2004
        yield 65014, "键值对数目太多"
    if sum(len(name) + len(value) for name, value in own.items()) > 1024:  # noqa: PLR2004
        yield 65015, "键值对总长度太长"
    if "jobkey" in extras and not _JOBKEY.fullmatch(extras["jobkey"]):
        yield 10017, "参数值非法: jobkey"
    if len(extras.get("callback.param", "").encode()) > 64:  # noqa: PLR2004
        yield 65036, "Callback参数太长"
    url = extras.get("callback", "http://")
    if len(url) > PATH_LIMIT:
        yield 65037, "Callback url太长"
    if not url.startswith(("http://", "https://")):
        yield 65038, "Callback url非法"


def _within(form: Mapping[str, str], name: str, least: int, most: int) -> bool:
    text = form.get(name)
    return text is None or (text.isdecimal() and len(text) < 12 and least <= int(text) <= most)  # noqa: PLR2004


async def _accept(world: World, form: Mapping[str, str]) -> Response:
    addresses = form["registration_id"].split(",")
    alive = [one for one in addresses if not one.startswith("dead-")]
    if not alive:
        return _refused(65003, "未找到device")
    ids = []
    for address in alive:
        kind = DAILY_LIMIT if over_quota(world, "xiaomi", address) else DELIVERED
        record = await world.log.append(_record(form, address), lambda seq: f"scm{int(time.time() * 1e3)}x{seq}")
        ids.append(record["id"])
        _report(world, form, record["id"], address, kind)
    info = f"Received push messages for {len(alive)} regid"
    told = {"result": "ok", "trace_id": f"X{ids[0]}", "code": 0, "data": {"id": ids[0]}, "description": "成功"}
    return answer({**told, "info": info})


def _record(form: Mapping[str, str], address: str) -> dict[str, Any]:
    data, now = mapping(loaded(form.get("payload", ""))), time.time()
    return {
        "time": now,
        "provider": "xiaomi",
        "to": address,
        "message_id": data.get("msg_id"),
        "collapse_key": form.get("notify_id"),
        "title": form["title"],
        "body": form["description"],
        "link": data.get("link"),
        "tag": form.get("extra.jobkey"),
        "expires_at": now + int(form.get("time_to_live", LONGEST_TTL_MS)) / 1000,
        "request": dict(form),
    }


@dataclass(frozen=True, slots=True)
class _FormPost:
    """A receipt. Forged, it comes to a guessed path."""

    content: Any
    by_path: ClassVar[bool] = True

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url, forged
        body = urlencode({"data": orjson.dumps(self.content).decode()}).encode()
        return {"content-type": "application/x-www-form-urlencoded"}, body


def _report(world: World, form: Mapping[str, str], message_id: str, address: str, kind: int) -> None:
    url = form.get("extra.callback") or world.callbacks.get("xiaomi")
    wanted = form.get("extra.callback.type", "3")
    if url is None or (kind == DELIVERED and not int(wanted if wanted.isdecimal() else 3) & DELIVERED):
        return
    told = {
        "param": form.get("extra.callback.param", ""),
        "type": kind,
        "targets": address,
        "jobkey": form.get("extra.jobkey", ""),
        "barStatus": "Enable",
        "timestamp": int(time.time() * 1000),
    }
    world.webhooks.post(url, [_FormPost({message_id: told})], address)


def _refused(code: int, words: str, status: int = 200) -> Response:
    return answer({"result": "error", "reason": words, "trace_id": "X0", "code": code, "description": words}, status)


ROUTES = (
    Route("/v3/message/regid", send, methods=["POST"]),
    Route("/v1/trace/message/status", trace, methods=["GET"]),
)
