"""A push service and the browsers behind it: ``POST /webpush/{id}``, in Apple's words, who is the strictest.

``POST /sandbox/webpush/subscribe`` is a browser that subscribes. Subscriptions whose name begins with ``dead-`` have
ended (410). A message is opened with the browser's key before it is taken, so the inbox shows what a person would see.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.push.webpush_browser import (
    Subscription,
    UnopenableError,
    decode,
    encode,
    new_id,
    subscription,
)
from orchestrator.sandbox.push.webpush_rules import Refusal, refusals
from orchestrator.sandbox.world import World

KEY_FILE = "webpush-vapid.pem"
"""In the state folder: the VAPID key of the sandbox's customer."""
SEED_FILE = "webpush-browsers"
REASONS = {
    400: "BadWebPushRequest",
    403: "BadJwtToken",
    404: "BadPath",
    410: "Unregistered",
    413: "PayloadTooLarge",
    429: "TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable",
}
GONE = Refusal(410, "Unregistered", "the subscription has ended")


async def subscribe(request: Request) -> Response:
    """A browser subscribes: ``{"name", "applicationServerKey"}``, both optional; the answer is its PushSubscription.

    Without a key it is made for the one in ``webpush-vapid.pem``.
    """
    world: World = request.app.state.world
    given = _mapping(await request.body() or b"{}")
    if given is None or not set(given) <= {"name", "applicationServerKey"}:
        raise HTTPException(400, "a JSON object with name and applicationServerKey is expected, both optional")
    key = decode(str(given["applicationServerKey"])) if "applicationServerKey" in given else own_key(world)
    identity = new_id(str(given.get("name", "")), key)
    if identity is None:
        raise HTTPException(400, "applicationServerKey must be 65 bytes of P-256 in base64url, name letters and digits")
    made = _subscription(world, identity)
    assert made is not None
    keys = {"p256dh": encode(made.p256dh), "auth": encode(made.auth)}
    endpoint = f"{_origin(request)}/webpush/{identity}"
    return _json({"endpoint": endpoint, "expirationTime": None, "keys": keys}, 201)


async def push(request: Request) -> Response:
    """A message for one subscription."""
    world: World = request.app.state.world
    endpoint = f"{_origin(request)}{request.url.path}"
    body = await read_body(request)

    async def accept(_fault: Fault | None) -> Response:
        answer = await _take(world, request, endpoint, body)
        if isinstance(answer, Refusal):
            world.refused("webpush", endpoint, answer.status, answer.words)
            return _refused(answer.status, answer.reason)
        return answer

    return await pass_door(world, request, "webpush", endpoint, _refuse, accept)


def own_key(world: World) -> bytes:
    """The public half of the customer's VAPID key."""
    key = load_pem_private_key(world.credentials.secret(KEY_FILE, _new_key).encode(), password=None)
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


async def _take(world: World, request: Request, endpoint: str, body: bytes | None) -> Response | Refusal:
    browser = _subscription(world, request.path_params["id"])
    if browser is None:
        return Refusal(404, "BadPath", "no such subscription")
    if body is None:
        return Refusal(413, "PayloadTooLarge", "more than anybody takes")
    if wrong := next(refusals(request.headers, body, _origin(request), browser.made_for), None):
        return wrong
    if browser.id.startswith("dead-"):
        return GONE
    try:
        text = browser.open(body)
    except UnopenableError as error:
        return Refusal(400, "BadWebPushRequest", str(error))
    identity = str(uuid.uuid4())
    record = await world.log.append(_record(request, endpoint, text), lambda seq: f"{identity}-{seq}")
    answer = Response(status_code=201)
    answer.headers["apns-id"] = str(record["id"])
    answer.headers["location"] = f"{_origin(request)}/webpush/messages/{record['id']}"
    return answer


def _record(request: Request, endpoint: str, text: bytes) -> Record:
    shown, now = _mapping(text), time.time()
    if shown is None:
        shown = {"body": text.decode("utf-8", "replace")}
    headers = {name: request.headers.get(name) for name in ("ttl", "urgency", "topic")}
    return {
        "time": now,
        "provider": "webpush",
        "to": endpoint,
        "message_id": shown.get("msg_id"),
        "collapse_key": headers["topic"] or shown.get("tag"),
        "title": shown.get("title"),
        "body": shown.get("body"),
        "image": shown.get("image"),
        "link": shown.get("link"),
        "tag": shown.get("tag"),
        "expires_at": now + float(headers["ttl"] or 0),
        "request": {"headers": headers, "payload": shown},
    }


def _subscription(world: World, identity: str) -> Subscription | None:
    return subscription(identity, world.credentials.secret(SEED_FILE))


def _refuse(fault: Fault) -> Response:
    status = GONE.status if fault.kind is Kind.DEAD_ADDRESS else fault.status or 503
    return _refused(status, str(fault.code or REASONS.get(status, "")))


def _refused(status: int, reason: str) -> Response:
    return _json({"reason": reason} if reason else {}, status)


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.headers.get('host', '')}"


def _new_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _mapping(text: bytes) -> dict[str, Any] | None:
    try:
        read = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return read if isinstance(read, dict) else None


def _json(content: object, status: int) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


ROUTES = (
    Route("/webpush/{id}", push, methods=["POST"]),
    Route("/sandbox/webpush/subscribe", subscribe, methods=["POST"]),
)
