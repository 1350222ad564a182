"""Two gateways that exist nowhere, under ``/gateway/``: one speaks JSON with a bearer token, one forms and plain text.

They are what the two worked examples of the documentation describe.
"""

from __future__ import annotations

import hmac
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body, read_form
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.json_post import JsonPost
from orchestrator.sandbox.sms.segments import bill
from orchestrator.sandbox.sms.twilio_rules import E164
from orchestrator.sandbox.world import World

SECRET_FILE = "gateway-secret"  # noqa: S105  # a file's name
LONGEST = 1000
DEAD = "+15005550009"
"""Twilio's number for what is no mobile number; here as well."""
UNAUTHORIZED, INVALID, DEAD_NUMBER, TOO_FAST, BROKEN = 10, 20, 21, 30, 90
_TEXT_ERRORS = {UNAUTHORIZED: "ERR:AUTH", INVALID: "ERR:PARAM", DEAD_NUMBER: "ERR:NUMBER", TOO_FAST: "ERR:SPEED"}


def secret(world: World) -> str:
    """The token of both gateways, in a file of the state folder."""
    return world.credentials.secret(SECRET_FILE)


def own_secrets(world: World) -> None:
    """The file that its customers are set up with."""
    secret(world)


async def json_send(request: Request) -> Response:
    """``POST v1/messages``: ``{"to", "text", "ref", "validity"}``, answered 202 ``{"data": {"id"}}``."""
    world: World = request.app.state.world
    body = _object(await read_body(request))
    to = str(body.get("to", ""))

    async def accept(fault: Fault | None) -> Response:
        number = _wrong(world, request.headers.get("authorization", "").removeprefix("Bearer "), body)
        if number:
            return _json_error(world, to, number, 401 if number == UNAUTHORIZED else 400)
        return _json({"data": {"id": await _accept(world, body, fault)}}, 202)

    def refuse(fault: Fault) -> Response:
        dead = fault.kind is Kind.DEAD_ADDRESS
        code = DEAD_NUMBER if dead else int(fault.code or (TOO_FAST if fault.status == 429 else BROKEN))  # noqa: PLR2004
        return _json_error(world, to, code, 400 if dead else fault.status or 503)

    return await pass_door(world, request, "gateway", to, refuse, accept)


async def json_account(request: Request) -> Response:
    """``GET v1/account``: whether the token is right."""
    world: World = request.app.state.world
    right = _right(world, request.headers.get("authorization", "").removeprefix("Bearer "))
    return _json({"balance": 100}) if right else _json({"error": {"code": UNAUTHORIZED}}, 401)


async def form_send(request: Request) -> Response:
    """``POST sms.php``: the form ``key, mobile, content, uid``, answered ``OK:ID`` or ``ERR:WORD`` under 200."""
    world: World = request.app.state.world
    form = await read_form(request)
    mobile = form.get("mobile", "")
    to = f"+{mobile.removeprefix('00')}" if mobile.startswith("00") else ""
    body: dict[str, Any] = {"to": to, "text": form.get("content", ""), "ref": form.get("uid")}

    async def accept(fault: Fault | None) -> Response:
        number = _wrong(world, form.get("key", ""), body)
        if number:
            world.refused("gateway", to, 200, _TEXT_ERRORS[number])
            return PlainTextResponse(_TEXT_ERRORS[number])
        return PlainTextResponse(f"OK:{await _accept(world, body, fault)}")

    def refuse(fault: Fault) -> Response:
        word = "NUMBER" if fault.kind is Kind.DEAD_ADDRESS else str(fault.code or "SPEED")
        return PlainTextResponse(f"ERR:{word}", fault.status or 200)

    return await pass_door(world, request, "gateway", to, refuse, accept)


def _wrong(world: World, shown: str, body: dict[str, Any]) -> int:
    """The number of what is wrong; 0 when nothing is."""
    to, text = body.get("to"), body.get("text")
    if not _right(world, shown):
        return UNAUTHORIZED
    if not isinstance(to, str) or not E164.fullmatch(to) or not isinstance(text, str) or not 0 < len(text) <= LONGEST:
        return INVALID
    return DEAD_NUMBER if to == DEAD else 0


def _right(world: World, shown: str) -> bool:
    return hmac.compare_digest(shown.encode(), secret(world).encode())


async def _accept(world: World, body: dict[str, Any], fault: Fault | None) -> str:
    now = time.time()
    record = await world.log.append(_record(body, now, fault), lambda seq: f"GW{seq:010d}")
    if "gateway" in world.callbacks:
        state = {
            "id": record["id"],
            "ref": record["message_id"],
            "state": record["fate"],
            "error": record["error_code"],
        }
        lie = {**state, "id": "GW9999999999"}
        world.webhooks.post(world.callbacks["gateway"], [JsonPost(state, lie=lambda: ({}, lie))], record["to"])
    return str(record["id"])


def _record(body: dict[str, Any], now: float, fault: Fault | None) -> Record:
    billing = bill(body["text"])
    failed = fault is not None and fault.kind is Kind.UNDELIVERED
    return {
        "time": now,
        "provider": "gateway",
        "to": body["to"],
        "message_id": body.get("ref"),
        "collapse_key": None,
        "title": "",
        "body": body["text"],
        "expires_at": now + float(body.get("validity") or 86_400),
        "encoding": billing.encoding,
        "units": billing.units,
        "parts": billing.parts,
        "fate": "FAILED" if failed else "DELIVERED",
        "error_code": (fault.code if fault is not None else None) if failed else None,
        "request": body,
    }


def _json_error(world: World, to: str, code: int, status: int) -> Response:
    world.refused("gateway", to, status, str(code))
    return _json({"error": {"code": code, "message": f"error {code}"}}, status)


def _object(body: bytes | None) -> dict[str, Any]:
    try:
        read = orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


ROUTES = (
    Route("/gateway/v1/messages", json_send, methods=["POST"]),
    Route("/gateway/v1/account", json_account, methods=["GET"]),
    Route("/gateway/sms.php", form_send, methods=["POST"]),
)
