"""Amazon SES v2: ``SendEmail``, ``GetAccount``, and the events of each mail through SNS (``sns``)."""

from __future__ import annotations

import re
import secrets
import time
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.door import pass_door, read_body
from orchestrator.sandbox.email.ses_auth import SECRET, SesRefusal, refused_signature
from orchestrator.sandbox.email.ses_events import events
from orchestrator.sandbox.email.ses_fate import fate_of
from orchestrator.sandbox.email.ses_rules import LARGEST, SendEmail, read_request, refusal
from orchestrator.sandbox.email.sns import ROUTES as SNS_ROUTES
from orchestrator.sandbox.email.sns import topic_of
from orchestrator.sandbox.email.sns_post import SnsPost
from orchestrator.sandbox.faults import Fault, Kind
from orchestrator.sandbox.world import World

QUOTA = {"Max24HourSend": 50_000.0, "MaxSendRate": 1000.0}
ID_TAG = "message_id"
BY_STATUS = {
    400: "BadRequestException",
    403: "AccessDeniedException",
    404: "NotFoundException",
    429: "TooManyRequestsException",
    500: "InternalServiceErrorException",
    503: "ServiceUnavailable",
}
_LINK = re.compile(r"""href\s*=\s*["'](https?://[^"'<>\s]+)["']""", re.IGNORECASE)
_URL = re.compile(r"<(https?://[^<>\s]+)>")
_TOO_LARGE = SesRefusal("BadRequestException", "Message length is more than 41943040 bytes long")


async def send(request: Request) -> Response:
    """``POST /v2/email/outbound-emails``."""
    world: World = request.app.state.world
    body = await read_body(request, LARGEST)
    found = _TOO_LARGE if body is None else read_request(body)
    to = next(iter(found.Destination.ToAddresses), "") if isinstance(found, SendEmail) else ""

    async def accept(fault: Fault | None) -> Response:
        wrong = refused_signature(request, body or b"", own_secret(world))
        wrong = wrong or (found if isinstance(found, SesRefusal) else refusal(found))
        if wrong is not None:
            world.refused("ses", to, wrong.status, f"{wrong.name}: {wrong.message}")
            return _error(wrong)
        assert isinstance(found, SendEmail)
        return await _accept(request, found, fault)

    return await pass_door(world, request, "ses", to, _refuse, accept)


async def account(request: Request) -> Response:
    """``GET /v2/email/account``."""
    world: World = request.app.state.world

    async def accept(_fault: Fault | None) -> Response:
        wrong = refused_signature(request, b"", own_secret(world))
        return _error(wrong) if wrong is not None else _json(_account(world))

    return await pass_door(world, request, "lookup", "", _refuse, accept)


def own_secret(world: World) -> str:
    """The secret access key of its only customer."""
    return world.credentials.secret(SECRET)


def _account(world: World) -> dict[str, Any]:
    return {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "HEALTHY",
        "ProductionAccessEnabled": True,
        "SendQuota": {**QUOTA, "SentLast24Hours": float(world.log.by_provider["ses"])},
        "SendingEnabled": True,
        "SuppressionAttributes": {"SuppressedReasons": ["BOUNCE", "COMPLAINT"]},
    }


async def _accept(request: Request, given: SendEmail, fault: Fault | None) -> Response:
    world: World = request.app.state.world
    record = await world.log.append(_record(given, fault), lambda seq: f"0100{secrets.token_hex(10)}-{seq:08x}-000000")
    url = world.callbacks.get("ses")
    if url:
        topic, base_url = topic_of(request.app), str(request.base_url).rstrip("/")
        posts = [
            SnsPost(topic.signing, base_url, event, version=str(1 + place % 2))  # both are on the way out there
            for place, event in enumerate(events(record))
        ]
        topic.publish(url, posts, record["to"], base_url)
    return _json({"MessageId": record["id"]})


def _record(given: SendEmail, fault: Fault | None) -> Record:
    mail, to, headers = given.Content.Simple, given.Destination.ToAddresses[0], given.headers
    html = mail.Body.Html.Data if mail.Body.Html else ""
    tags = {tag.Name: [tag.Value] for tag in given.EmailTags}
    url = _URL.search(headers.get("List-Unsubscribe", ""))
    shown = {"From": given.FromEmailAddress, "To": to, "Subject": mail.Subject.Data, **headers}
    return {
        "time": time.time(),
        "provider": "ses",
        "to": to,
        "message_id": tags.get(ID_TAG, [None])[0],
        "collapse_key": None,
        "expires_at": None,
        "title": mail.Subject.Data,
        "body": mail.Body.Text.Data if mail.Body.Text else "",
        "html": html,
        "from": given.FromEmailAddress,
        "unsubscribe": url[1] if url else None,
        "links": list(dict.fromkeys(link.replace("&amp;", "&") for link in _LINK.findall(html)))[:50],
        "headers": [[name, value] for name, value in shown.items()],
        "tags": tags,
        "configuration_set": given.ConfigurationSetName,
        "fate": fate_of(to, fault).value,
        "request": {"tags": tags, "configuration_set": given.ConfigurationSetName},
    }


def _refuse(fault: Fault) -> Response:
    if fault.kind is Kind.DEAD_ADDRESS:  # SES itself tells later, by an event: this is what it says of its content
        return _error(SesRefusal("MessageRejected", "Address blacklisted."))
    status = fault.status or 500
    name = str(fault.code or BY_STATUS.get(status, "BadRequestException"))
    return _error(SesRefusal(name, "told to fail", status))


def _error(found: SesRefusal) -> Response:
    answer = _json({"message": found.message}, found.status)
    answer.headers["x-amzn-errortype"] = f"{found.name}:http://internal.amazon.com/coral/com.amazonaws.sesv2/"
    return answer


def _json(content: object, status: int = 200) -> Response:
    answer = Response(orjson.dumps(content), status, media_type="application/json")
    answer.headers["x-amzn-requestid"] = secrets.token_hex(16)
    return answer


ROUTES = (
    Route("/v2/email/outbound-emails", send, methods=["POST"]),
    Route("/v2/email/account", account, methods=["GET"]),
    *SNS_ROUTES,
)
