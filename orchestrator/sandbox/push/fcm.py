"""FCM HTTP v1: ``POST /v1/projects/{project}/messages:send``, and Google's ``POST /token`` before it.

Addresses tell how they fare: ``dead-…`` is UNREGISTERED, ``foreign-…`` belongs to another project, ``malformed-…`` (and
what cannot be a token) is refused as INVALID_ARGUMENT on ``message.token``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.credentials import PROJECT
from orchestrator.sandbox.door import pass_door, read_body, read_form
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.push import fcm_rules
from orchestrator.sandbox.push.fcm_schema import REQUEST, Violation, parse
from orchestrator.sandbox.push.oauth import GrantError, Standing
from orchestrator.sandbox.world import World

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
DEFAULT_TTL = 28 * 86400

# errorCode -> (HTTP, status, message). The generic status often differs from the FCM code: read details, not status.
ERRORS: dict[str, tuple[int, str, str]] = {
    "UNSPECIFIED_ERROR": (500, "UNKNOWN", "Unknown error."),
    "INVALID_ARGUMENT": (400, "INVALID_ARGUMENT", "Request contains an invalid argument."),
    "UNREGISTERED": (404, "NOT_FOUND", "Requested entity was not found."),
    "SENDER_ID_MISMATCH": (403, "PERMISSION_DENIED", "SenderId mismatch"),
    "QUOTA_EXCEEDED": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "RESOURCE_EXHAUSTED": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "UNAVAILABLE": (503, "UNAVAILABLE", "The service is currently unavailable."),
    "INTERNAL": (500, "INTERNAL", "Internal error encountered."),
    "THIRD_PARTY_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
    "APNS_AUTH_ERROR": (401, "UNAUTHENTICATED", "Auth error from APNS"),
    "UNAUTHENTICATED": (401, "UNAUTHENTICATED", "Request had invalid authentication credentials."),
    "PERMISSION_DENIED": (403, "PERMISSION_DENIED", "The caller does not have permission"),
}
BY_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNREGISTERED",
    429: "QUOTA_EXCEEDED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}


async def token(request: Request) -> Response:
    """The OAuth token endpoint."""
    world: World = request.app.state.world
    form = await read_form(request)

    async def accept(_fault: Fault | None) -> Response:
        try:
            grant = world.issuer.grant(form.get("grant_type", ""), form.get("assertion", ""))
        except GrantError as error:
            world.refused("token", "", 400, error.description)
            return _json({"error": error.error, "error_description": error.description}, 400)
        return _json(grant)

    def refuse(fault: Fault) -> Response:
        error = {"error": str(fault.code or "internal_failure"), "error_description": "told to fail"}
        return _json(error, fault.status or 503)

    return await pass_door(world, request, "token", "", refuse, accept)


async def send(request: Request) -> Response:
    """``messages:send``."""
    world: World = request.app.state.world
    body = await read_body(request)
    if body is None:
        return _error("INVALID_ARGUMENT", "Request payload size exceeds the limit.")
    try:
        loaded = orjson.loads(body)
    except orjson.JSONDecodeError:
        loaded = None

    async def accept(_fault: Fault | None) -> Response:
        answer = _authenticate(world, request) or _parse(loaded)
        if isinstance(answer, dict):
            answer = await _accept(world, answer, loaded)
        if answer.status_code >= 400:  # noqa: PLR2004  # as HTTP has it
            world.refused("fcm", _address(loaded), answer.status_code, _words(answer))
        return answer

    return await pass_door(world, request, "fcm", _address(loaded), _refuse, accept)


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:
        return _error("UNREGISTERED")
    status = fault.status or 503
    code = str(fault.code or BY_STATUS.get(status, ""))
    if code in ERRORS:
        return _error(code, status=status)
    details = [{"@type": FCM_ERROR, "errorCode": code}] if code else []
    return _json(
        {"error": {"code": status, "message": "told to fail", "status": "UNKNOWN", "details": details}}, status
    )


def _authenticate(world: World, request: Request) -> Response | None:
    if request.path_params["project"] != PROJECT:
        return _json({"error": {"code": 404, "message": "Project not found.", "status": "NOT_FOUND"}}, 404)
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        standing = world.issuer.standing(bearer.strip())
        if standing is Standing.GOOD:
            return None
        reason = "ACCESS_TOKEN_EXPIRED" if standing is Standing.EXPIRED else "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    else:
        reason = "CREDENTIALS_MISSING"
    return _unauthenticated(reason)


def _parse(loaded: object) -> dict[str, Any] | Response:
    """The request with its names in camelCase, or the refusal."""
    if not isinstance(loaded, dict):
        return _error("INVALID_ARGUMENT", "Invalid JSON payload received. Unexpected token.", fcm=False)
    found: list[Violation] = []
    parsed = parse(loaded, REQUEST, "", found)
    if found:
        return _error("INVALID_ARGUMENT", found[0].description, found, fcm=False)
    wrong = list(fcm_rules.violations(parsed.get("message", {})))
    if wrong:
        return _error("INVALID_ARGUMENT", wrong[0].description, wrong)
    return parsed


async def _accept(world: World, parsed: dict[str, Any], loaded: dict[str, Any]) -> Response:
    message = parsed["message"]
    address = _address(loaded)
    if address.startswith("dead-"):
        return _error("UNREGISTERED")
    if address.startswith("foreign-"):
        return _error("SENDER_ID_MISMATCH")
    if parsed.get("validateOnly"):
        return _json({"name": f"projects/{PROJECT}/messages/fake_message_id"})
    now = time.time()
    record = await world.log.append(_record(message, address, loaded, now), lambda seq: _name(seq, now))
    return _json({"name": record["id"]})


def _name(seq: int, now: float) -> str:
    return f"projects/{PROJECT}/messages/0:{int(now * 1e6)}%{seq:016x}"


def _record(message: dict[str, Any], address: str, loaded: dict[str, Any], now: float) -> Record:
    android = message.get("android", {})
    aps = message.get("apns", {}).get("payload", {}).get("aps", {})
    shown = _shown(message, android, aps)
    data = message.get("data", {})
    headers = {name.lower(): value for name, value in message.get("apns", {}).get("headers", {}).items()}
    return {
        "time": now,
        "provider": "fcm",
        "to": address,
        "message_id": data.get("msg_id"),
        "collapse_key": android.get("collapseKey") or headers.get("apns-collapse-id"),
        "title": shown["title"],
        "body": shown["body"],
        "image": shown["image"],
        "link": data.get("link"),
        "tag": android.get("notification", {}).get("tag"),
        "expires_at": now + float(android["ttl"][:-1] if "ttl" in android else DEFAULT_TTL),
        "request": loaded,
    }


def _shown(message: dict[str, Any], android: dict[str, Any], aps: dict[str, Any]) -> dict[str, str]:
    """What the phone shows: Android's own words before the common ones before Apple's."""
    alert = aps.get("alert", {})
    apple = {"body": alert} if isinstance(alert, str) else alert if isinstance(alert, dict) else {}
    sources = (android.get("notification", {}), message.get("notification", {}), apple)
    return {name: str(next((s[name] for s in sources if s.get(name)), "")) for name in ("title", "body", "image")}


def _address(loaded: object) -> str:
    message = loaded.get("message") if isinstance(loaded, dict) else None
    if not isinstance(message, dict):
        return ""
    given = next((message[kind] for kind in fcm_rules.TARGETS if isinstance(message.get(kind), str)), "")
    return f"/topics/{given}" if "topic" in message and "token" not in message else given


def _error(
    code: str, message: str = "", found: Sequence[Violation] = (), *, status: int | None = None, fcm: bool = True
) -> Response:
    http, generic, usual = ERRORS[code]
    details: list[dict[str, Any]] = [{"@type": FCM_ERROR, "errorCode": code}] if fcm else []
    if found:
        listed = [{"field": violation.field, "description": violation.description} for violation in found]
        details.append({"@type": BAD_REQUEST, "fieldViolations": listed})
    error = {"code": status or http, "message": message or usual, "status": generic, "details": details}
    return _json({"error": error}, status or http)


def _unauthenticated(reason: str) -> Response:
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    info = {"@type": ERROR_INFO, "reason": reason, "domain": "googleapis.com"}
    error = {"code": 401, "message": message, "status": "UNAUTHENTICATED", "details": [info]}
    answer = _json({"error": error}, 401)
    answer.headers["www-authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return answer


def _words(answer: Response) -> str:
    return str(orjson.loads(bytes(answer.body))["error"]["message"])


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json; charset=UTF-8")


ROUTES = (
    Route("/v1/projects/{project}/messages:send", send, methods=["POST"]),
    Route("/token", token, methods=["POST"]),
)
