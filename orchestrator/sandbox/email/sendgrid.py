"""SendGrid: Mail Send (v3), the scopes of a key, and the event webhook."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
import time
from typing import Any

import orjson
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.email.sendgrid_post import posts
from orchestrator.sandbox.email.sendgrid_rules import LARGEST, MailSend, SendgridRefusal, read_request, refusal
from orchestrator.sandbox.email.ses_fate import fate_of
from orchestrator.sandbox.faults import Fault
from orchestrator.sandbox.world import World

API_KEY, SIGNING_KEY, VERIFICATION_KEY = "sendgrid-api-key", "sendgrid-webhook.pem", "sendgrid-verification-key"
ID_ARGUMENT = "message_id"
_TOO_LARGE = SendgridRefusal("The request is larger than 30 MB.", None, 413)
_LINK = re.compile(r"""href\s*=\s*["'](https?://[^"'<>\s]+)["']""", re.IGNORECASE)
_URL = re.compile(r"<(https?://[^<>\s]+)>")


def own_keys(world: World) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """The API key, and what events are signed with; the file with the public half is for its customer."""
    secret = world.credentials.secret
    key = serialization.load_pem_private_key(secret(SIGNING_KEY, _new_key).encode(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    secret(VERIFICATION_KEY, lambda: _public(key))
    return secret(API_KEY, lambda: f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}"), key


def _new_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    encoding, shape = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, shape, serialization.NoEncryption()).decode().strip()


def _public(key: ec.EllipticCurvePrivateKey) -> str:
    shape = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_key().public_bytes(serialization.Encoding.DER, shape)).decode()


async def send(request: Request) -> Response:
    """``POST /v3/mail/send``."""
    world: World = request.app.state.world
    body = await read_body(request, LARGEST)
    found = _TOO_LARGE if body is None else read_request(body)
    to = found.personalizations[0].to[0].email if isinstance(found, MailSend) else ""

    async def accept(fault: Fault | None) -> Response:
        wrong = _stranger(world, request) or (
            found if isinstance(found, SendgridRefusal) else refusal(found, time.time())
        )
        if wrong is not None:
            world.refused("sendgrid", to, wrong.status, f"{wrong.field}: {wrong.message}")
            return _error(wrong)
        assert isinstance(found, MailSend)
        return await _accept(world, found, fault)

    return await pass_door(world, request, "sendgrid", to, _refuse, accept)


async def scopes(request: Request) -> Response:
    """``GET /v3/scopes``."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        wrong = _stranger(world, request)
        return _error(wrong) if wrong is not None else _json({"scopes": ["mail.send", "sender_verification_eligible"]})

    return await pass_door(world, request, "lookup", "", _refuse, accept)


def _stranger(world: World, request: Request) -> SendgridRefusal | None:
    given = request.headers.get("authorization", "").encode()
    if hmac.compare_digest(given, f"Bearer {own_keys(world)[0]}".encode()):
        return None
    return SendgridRefusal("The provided authorization grant is invalid, expired, or revoked", None, 401)


async def _accept(world: World, given: MailSend, fault: Fault | None) -> Response:
    """One record a recipient; the first one's number is the answer's."""
    numbers = []
    for record in _records(given, fault):
        kept = await world.log.append(record, lambda seq: f"{secrets.token_urlsafe(12)}{seq:08x}")
        numbers.append(kept["id"])
        url = world.callbacks.get("sendgrid")
        if url:
            world.webhooks.post(url, posts(kept, own_keys(world)[1]), kept["to"])
    return Response(status_code=202, headers={"x-message-id": numbers[0]})


def _records(given: MailSend, fault: Fault | None) -> list[Record]:
    parts = {part.type: part.value for part in given.content}
    html = parts.get("text/html", "")
    shared: dict[str, Any] = {
        "time": time.time(),
        "provider": "sendgrid",
        "collapse_key": None,
        "expires_at": None,
        "body": parts.get("text/plain", ""),
        "html": html,
        "from": f"{given.sender.name} <{given.sender.email}>" if given.sender.name else given.sender.email,
        "links": list(dict.fromkeys(link.replace("&amp;", "&") for link in _LINK.findall(html)))[:50],
        "categories": given.categories,
    }
    found = []
    for each in given.personalizations:
        arguments, headers = {**given.custom_args, **each.custom_args}, {**given.headers, **each.headers}
        subject, url = each.subject or given.subject, _URL.search(headers.get("List-Unsubscribe", ""))
        for person in each.to:
            shown = {"From": shared["from"], "To": person.email, "Subject": subject, **headers}
            found.append(
                {
                    **shared,
                    "to": person.email,
                    "message_id": arguments.get(ID_ARGUMENT),
                    "title": subject,
                    "unsubscribe": url[1] if url else None,
                    "headers": [[name, value] for name, value in shown.items()],
                    "arguments": arguments,
                    "fate": fate_of(person.email, fault).value,
                    "request": {"custom_args": arguments, "categories": given.categories},
                }
            )
    return found


def _refuse(fault: Fault) -> Response:
    answer = _error(SendgridRefusal("told to fail", None, fault.status or 503))
    if answer.status_code == 429 and fault.retry_after is None:  # noqa: PLR2004  # as HTTP has it
        answer.headers.update({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(time.time()) + 30)})
    return answer


def _error(found: SendgridRefusal) -> Response:
    error = {"message": found.message, "field": found.field, "help": None}
    return _json({"errors": [error]}, found.status)


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")


ROUTES = (
    Route("/v3/mail/send", send, methods=["POST"]),
    Route("/v3/scopes", scopes, methods=["GET"]),
)
