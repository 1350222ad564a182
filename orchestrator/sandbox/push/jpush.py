"""JPush's REST API v3: push identifiers, push, validate; and the deliveries it posts. Source: providers §4.2."""

from __future__ import annotations

import hmac
import time
from base64 import b64encode
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.json_post import JsonPost
from orchestrator.sandbox.once import first_result, remember
from orchestrator.sandbox.push.jpush_rules import Refusal, refusal
from orchestrator.sandbox.world import World

APP_KEY = "5a4db0c05a4db0c05a4db0c0"
SECRET_FILE = "jpush-master-secret"  # noqa: S105  # a file's name
MOST_CIDS = 1000
NOBODY = Refusal(1011, "cannot find user by this audience or has been inactive for more than 255 days")
WRONG_KEY = Refusal(1004, "Authen failed", 401)
BY_STATUS = {401: 1004, 403: 2003, 429: 2002, 500: 1000, 503: 1030}
_DEAD = ("dead-", "000000")


def master_secret(world: World) -> str:
    """The app's master secret, in a file of the state folder."""
    return world.credentials.secret(SECRET_FILE, lambda: uuid4().hex[:24])


def own_secrets(world: World) -> None:
    """The file that its customers are set up with."""
    master_secret(world)


async def cids(request: Request) -> Response:
    """``GET /v3/push/cid``."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        count = request.query_params.get("count", "1")
        if not _authentic(world, request):
            return _error(WRONG_KEY)
        if not (count.isascii() and count.isdecimal()) or not 1 <= int(count) <= MOST_CIDS:
            return _error(Refusal(1003, "invalid count"))
        return _json({"cidlist": [_new_cid(world) for _ in range(int(count))]})

    return await pass_door(world, request, "token", "", _refuse, accept)


async def push(request: Request) -> Response:
    """``POST /v3/push``."""
    world: World = request.app.state.world
    body = _loaded(await read_body(request))
    to = _address(body)

    async def accept(_fault: Fault | None) -> Response:
        found = _judge(world, request, body)
        if found is not None:
            world.refused("jpush", to, found.status, f"{found.code}: {found.message}")
            return _error(found)
        return await _accept(world, body, to)

    return await pass_door(world, request, "jpush", to, _refuse, accept)


async def validate(request: Request) -> Response:
    """``POST /v3/push/validate``: judged like a push; nobody gets anything."""
    world: World = request.app.state.world
    body = _loaded(await read_body(request))

    async def accept(_fault: Fault | None) -> Response:
        found = _judge(world, request, body)
        return _error(found) if found is not None else _json({"sendno": "0", "msg_id": "1"})

    return await pass_door(world, request, "lookup", _address(body), _refuse, accept)


def _judge(world: World, request: Request, body: Any) -> Refusal | None:
    if not _authentic(world, request):
        return WRONG_KEY
    found = refusal(body)
    if found is not None:
        return found
    if "cid" in body and not _is_cid(world, body["cid"]):
        return Refusal(1003, "invalid cid: get it from /v3/push/cid")
    return NOBODY if _address(body).startswith(_DEAD) else None


async def _accept(world: World, body: dict[str, Any], to: str) -> Response:
    cid = body.get("cid", "")
    known = first_result(world.log, "jpush", cid) if cid else None
    if known is not None:  # seen before: the first result, and no second push
        return _json({"sendno": "0", "msg_id": known})
    now = time.time()
    record = await world.log.append(_record(body, to, now), lambda seq: str(int(now) * 10**6 + seq))
    if cid:
        remember(world.log, "jpush", cid, record["id"])
    _post(world, body, record)
    return _json({"sendno": "0", "msg_id": record["id"]})


def _record(body: dict[str, Any], to: str, now: float) -> Record:
    android = body["notification"].get("android", {})
    extras = android.get("extras", {})
    options = body.get("options", {})
    return {
        "time": now,
        "provider": "jpush",
        "to": to,
        "message_id": extras.get("msg_id"),
        "collapse_key": options.get("apns_collapse_id"),
        "title": android.get("title", ""),
        "body": android.get("alert", ""),
        "link": extras.get("link"),
        "expires_at": now + options.get("time_to_live", 86_400),
        "once": body.get("cid", ""),
        "request": body,
    }


def _post(world: World, body: dict[str, Any], record: Record) -> None:
    """The delivery, to the push's own address or the console's."""
    callback = body.get("callback", {})
    url = callback.get("url") or world.callbacks.get("jpush")
    if not url or callback.get("type", 1) & 1 == 0:
        return
    delivered = {
        "msg_id": record["id"],
        "rid": record["to"],
        "type": 1,
        "itime": int(time.time()),
        "params": callback.get("params", {}),
    }
    basic = {"authorization": _basic(world)}
    forged = {"authorization": "Basic " + b64encode(f"{APP_KEY}:guessed".encode()).decode()}
    world.webhooks.post(url, [JsonPost([delivered], basic, lambda: (forged, [delivered]))], record["to"])


def _basic(world: World) -> str:
    return "Basic " + b64encode(f"{APP_KEY}:{master_secret(world)}".encode()).decode()


def _authentic(world: World, request: Request) -> bool:
    return hmac.compare_digest(request.headers.get("authorization", "").encode(), _basic(world).encode())


def _new_cid(world: World) -> str:
    """An identifier that is known again without being kept: half of it is a MAC over the other half."""
    head = uuid4().hex[:16]
    return f"{APP_KEY}-{UUID(head + _mac(world, head))}"


def _is_cid(world: World, cid: object) -> bool:
    digits = str(cid).removeprefix(f"{APP_KEY}-").replace("-", "")
    return len(digits) == 32 and hmac.compare_digest(digits[16:].encode(), _mac(world, digits[:16]).encode())  # noqa: PLR2004


def _mac(world: World, head: str) -> str:
    return hmac.new(master_secret(world).encode(), head.encode(), sha256).hexdigest()[:16]


def _address(body: Any) -> str:
    audience = body.get("audience") if isinstance(body, dict) else None
    devices = audience.get("registration_id") if isinstance(audience, dict) else None
    return str(devices[0]) if isinstance(devices, list) and devices else ""


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:
        return _error(NOBODY)
    status = fault.status or 503
    return _error(Refusal(int(fault.code or BY_STATUS.get(status, 1000)), "told to fail", status))


def _error(found: Refusal) -> Response:
    return _json({"error": {"code": found.code, "message": found.message}}, found.status)


def _loaded(body: bytes | None) -> Any:
    try:
        return orjson.loads(body or b"")
    except orjson.JSONDecodeError:
        return None


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


ROUTES = (
    Route("/v3/push/cid", cids, methods=["GET"]),
    Route("/v3/push/validate", validate, methods=["POST"]),
    Route("/v3/push", push, methods=["POST"]),
)
