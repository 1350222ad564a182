"""Getui's REST API v2 under ``/getui/v2``: tokens, a push to one client, and its receipts. Source: providers §4.3."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Any
from uuid import uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.once import first_result, remember
from orchestrator.sandbox.push.getui_rules import Refusal, refusal
from orchestrator.sandbox.world import World

APP_ID = "5a4db0c05a4db0c0App0Id"
APP_KEY = "5a4db0c05a4db0c0App0Key"
SECRET_FILE = "getui-master-secret"  # noqa: S105  # a file's name
CLOCKS_APART = 600.0
EXPIRED = Refusal(10001, "token error or expired", 401)
DEAD = Refusal("TokenMD5NoUsers", "TokenMD5NoUsers")
BY_STATUS: dict[int, int | str] = {401: 10001, 429: "flow_exceeded", 500: 50000}


def master_secret(world: World) -> str:
    """The app's master secret, in a file of the state folder."""
    return world.credentials.secret(SECRET_FILE, lambda: uuid4().hex[:22])


def own_secrets(world: World) -> None:
    """The file that its customers are set up with."""
    master_secret(world)


async def auth(request: Request) -> Response:
    """``POST auth``: a signature for a token that is good for a day."""
    world: World = request.app.state.world
    body = _loaded(await read_body(request))

    async def accept(_fault: Fault | None) -> Response:
        given = body if isinstance(body, dict) else {}
        stamp = str(given.get("timestamp", ""))
        signed = sha256(f"{APP_KEY}{stamp}{master_secret(world)}".encode()).hexdigest()
        timely = stamp.isdecimal() and abs(int(stamp) / 1000 - time.time()) < CLOCKS_APART
        right = given.get("appkey") == APP_KEY and request.path_params["app"] == APP_ID
        if not right:
            return _error(Refusal("appkey_error", "appkey_error"))
        if not timely or not hmac.compare_digest(signed.encode(), str(given.get("sign", "")).encode()):
            return _error(Refusal("sign_error", "sign_error"))
        ends = str(int((time.time() + 24 * world.issuer.lifetime) * 1000))
        return _answer({"expire_time": ends, "token": _token(world, str(int(time.time() * 1e6)), ends)})

    return await pass_door(world, request, "token", "", _refuse, accept)


async def single(request: Request) -> Response:
    """``POST push/single/cid``."""
    world: World = request.app.state.world
    body = _loaded(await read_body(request))
    to = _address(body)

    async def accept(_fault: Fault | None) -> Response:
        found = None if _good(world, request.headers.get("token", "")) else EXPIRED
        found = found or refusal(body) or (DEAD if to.startswith("dead-") else None)
        if found is not None:
            world.refused("getui", to, found.status, f"{found.code}: {found.message}")
            return _error(found)
        return await _accept(world, body, to)

    return await pass_door(world, request, "getui", to, _refuse, accept)


async def _accept(world: World, body: dict[str, Any], to: str) -> Response:
    if to.startswith("idle-"):  # inactive for ninety days
        return _answer({uuid4().hex: {to: "successed_ignore"}})
    known = first_result(world.log, "getui", body["request_id"])
    if known is not None:  # a repeated id: the message is dropped, and the answer does not say so
        return _answer({known: {to: "successed_online"}})
    now = time.time()
    record = await world.log.append(_record(body, to, now), lambda seq: f"RASS_{int(now)}_{seq:08x}")
    remember(world.log, "getui", body["request_id"], record["id"])
    if "getui" in world.callbacks:
        world.webhooks.post(world.callbacks["getui"], [Receipt(record, master_secret(world))], to)
    return _answer({record["id"]: {to: "successed_online"}})


def _record(body: dict[str, Any], to: str, now: float) -> Record:
    shown = body["push_message"]["notification"]
    data = _loaded(str(shown.get("payload", "")).encode())
    data = data if isinstance(data, dict) else {}
    return {
        "time": now,
        "provider": "getui",
        "to": to,
        "message_id": data.get("msg_id"),
        "collapse_key": str(shown.get("notify_id", "")) or None,
        "title": shown["title"],
        "body": shown["body"],
        "link": data.get("link"),
        "expires_at": now + max(body.get("settings", {}).get("ttl", 7_200_000), 0) / 1000,
        "once": body["request_id"],
        "request": body,
    }


@dataclass(frozen=True, slots=True)
class Receipt:
    """One line of a receipt, signed as Getui signs it."""

    record: Record
    secret: str

    def request(self, url: str, *, forged: bool) -> tuple[Mapping[str, str], bytes]:
        """Headers and body."""
        del url
        parts = [APP_ID, self.record["to"], self.record["id"], f"msg-{self.record['seq']}"]
        secret = "guessed" if forged else self.secret
        sign = md5("".join([*parts, secret]).encode(), usedforsecurity=False).hexdigest()
        line = dict(zip(("appid", "cid", "taskid", "msgid"), parts, strict=True))
        body = {**line, "code": "200", "desc": "success", "sign": sign}
        return {"content-type": "text/plain;charset=UTF-8"}, orjson.dumps(body) + b"\n"


def _token(world: World, issued: str, ends: str) -> str:
    mac = hmac.new(master_secret(world).encode(), f"{issued}.{ends}".encode(), sha256).hexdigest()
    return f"{issued}.{ends}.{mac}"


def _good(world: World, token: str) -> bool:
    issued, _, rest = token.partition(".")
    ends = rest.partition(".")[0]
    if not hmac.compare_digest(token.encode(), _token(world, issued, ends).encode()):
        return False
    return int(ends) / 1000 > time.time() and int(issued) / 1e6 > world.issuer.revoked_until


def _address(body: Any) -> str:
    audience = body.get("audience") if isinstance(body, dict) else None
    clients = audience.get("cid") if isinstance(audience, dict) else None
    return str(clients[0]) if isinstance(clients, list) and clients else ""


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:
        return _error(DEAD)
    status = fault.status or 500
    return _error(Refusal(fault.code or BY_STATUS.get(status, 50000), "told to fail", status))


def _error(found: Refusal) -> Response:
    content: dict[str, Any] = {"code": found.code, "msg": found.message, "data": {}}
    return Response(orjson.dumps(content), found.status, media_type="application/json")


def _answer(data: object) -> Response:
    return Response(orjson.dumps({"code": 0, "msg": "success", "data": data}), media_type="application/json")


def _loaded(body: bytes | None) -> Any:
    try:
        return orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None


ROUTES = (
    Route("/getui/v2/{app}/auth", auth, methods=["POST"]),
    Route("/getui/v2/{app}/push/single/cid", single, methods=["POST"]),
)
