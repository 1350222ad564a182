"""Twilio Programmable Messaging: send a message, look one up, page through them (``twilio_list``)."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
from urllib.parse import parse_qs, urlsplit

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.credentials import ACCOUNT_SID, FROM_NUMBER
from orchestrator.sandbox.door import pass_door, read_form
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.sms.segments import bill
from orchestrator.sandbox.sms.twilio_list import list_page
from orchestrator.sandbox.sms.twilio_post import TwilioPost
from orchestrator.sandbox.sms.twilio_resource import callbacks, resource
from orchestrator.sandbox.sms.twilio_rules import LONGEST_VALIDITY, NOT_MOBILE, STOPPED, Refusal, refusal
from orchestrator.sandbox.world import World

SEQ_DIGITS = 12
UNREACHABLE = 30003
SERVER_ERROR = 500
BY_STATUS = {401: 20003, 404: 20404, 429: 20429, 503: 20503}


async def send(request: Request) -> Response:
    """``POST Messages.json``."""
    world: World = request.app.state.world
    form = await read_form(request)

    async def accept(fault: Fault | None) -> Response:
        found = _authenticate(world, request) or refusal(form) or _stopped(world, form)
        if found is not None:
            world.refused("twilio", form.get("To", ""), found.status, f"{found.code}: {found.message}")
            return _error(found)
        return await _accept(world, form, fault)

    return await pass_door(world, request, "twilio", form.get("To", ""), _refuse, accept)


async def listed(request: Request) -> Response:
    """``GET Messages.json``: newest first, filtered, in pages."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        found = _authenticate(world, request)
        if found is not None:
            return _error(found)
        page = await run_in_threadpool(list_page, world.log, request.query_params, world.callback_delay)
        return _error(page) if isinstance(page, Refusal) else _json(page)

    return await pass_door(world, request, "lookup", request.query_params.get("To", ""), _refuse, accept)


async def fetched(request: Request) -> Response:
    """``GET Messages/{sid}.json``."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        found = _authenticate(world, request)
        if found is not None:
            return _error(found)
        record = _find(world, request.path_params["sid"])
        return _error(_not_found(request)) if record is None else _json(resource(record, world.callback_delay))

    return await pass_door(world, request, "lookup", "", _refuse, accept)


def _find(world: World, sid: str) -> Record | None:
    try:
        record = world.log.get(int(sid[-SEQ_DIGITS:], 16))
    except ValueError:
        return None
    return record if record is not None and record["id"] == sid else None


async def _accept(world: World, form: dict[str, str], fault: Fault | None) -> Response:
    record = await world.log.append(_record(form, fault), lambda seq: f"SM{secrets.token_hex(10)}{seq:0{SEQ_DIGITS}x}")
    if "StatusCallback" in form:
        posts = [TwilioPost(each, world.credentials.auth_token) for each in callbacks(record)]
        world.webhooks.post(form["StatusCallback"], posts, record["to"])
    return _json(resource(record, world.callback_delay, fresh=True), 201)


def _record(form: dict[str, str], fault: Fault | None) -> Record:
    now = time.time()
    body = form.get("Body", "")
    billing = bill(body)
    undelivered = fault is not None and fault.kind is Kind.UNDELIVERED
    marks = parse_qs(urlsplit(form.get("StatusCallback", "")).query).get("m", [None])
    return {
        "time": now,
        "provider": "twilio",
        "to": form["To"],
        "message_id": marks[0],
        "collapse_key": None,
        "title": "",
        "body": body,
        "expires_at": now + int(form.get("ValidityPeriod", LONGEST_VALIDITY)),
        "service": form.get("MessagingServiceSid") or None,
        "encoding": billing.encoding,
        "units": billing.units,
        "parts": billing.parts,
        "fate": "undelivered" if undelivered else "delivered",
        "error_code": int(fault.code or UNREACHABLE) if fault is not None and undelivered else None,
        "request": form,
    }


def _stopped(world: World, form: dict[str, str]) -> Refusal | None:
    return STOPPED if world.replies.stopped(form["To"], FROM_NUMBER) else None


def _authenticate(world: World, request: Request) -> Refusal | None:
    user, password = _basic(request.headers.get("authorization", ""))
    right = hmac.compare_digest(password.encode(), world.credentials.auth_token.encode())
    if user != ACCOUNT_SID or not right:
        return Refusal(20003, "Authenticate", 401)
    return _not_found(request) if request.path_params["account"] != ACCOUNT_SID else None


def _basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return "", ""
    return (user, password) if scheme.lower() == "basic" else ("", "")


def _not_found(request: Request) -> Refusal:
    return Refusal(20404, f"The requested resource {request.url.path} was not found", 404)


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:
        return _error(NOT_MOBILE)
    status = fault.status or 503
    code = int(fault.code or BY_STATUS.get(status, 20500 if status >= SERVER_ERROR else 20001))
    return _error(Refusal(code, "Too Many Requests" if code == BY_STATUS[429] else "told to fail", status))


def _error(found: Refusal) -> Response:
    more = f"https://www.twilio.com/docs/errors/{found.code}"
    body = {"code": found.code, "message": found.message, "more_info": more, "status": found.status}
    answer = _json(body, found.status)
    if found.status == 401:  # noqa: PLR2004  # as HTTP has it
        answer.headers["www-authenticate"] = 'Basic realm="Twilio API"'
    return answer


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


async def account(request: Request) -> Response:
    """``GET Accounts/{account}.json``."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        found = _authenticate(world, request)
        about = {"sid": ACCOUNT_SID, "friendly_name": "Sandbox", "status": "active", "type": "Full"}
        return _json(about) if found is None else _error(found)

    return await pass_door(world, request, "lookup", "", _refuse, accept)


_MESSAGES = "/2010-04-01/Accounts/{account}/Messages"
ROUTES = (
    Route("/2010-04-01/Accounts/{account}.json", account, methods=["GET"]),
    Route(f"{_MESSAGES}.json", send, methods=["POST"]),
    Route(f"{_MESSAGES}.json", listed, methods=["GET"]),
    Route(f"{_MESSAGES}/{{sid}}.json", fetched, methods=["GET"]),
)
