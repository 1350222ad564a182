"""What tests, simulated people and the inbox page ask of the sandbox itself, under ``/sandbox/``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pyreqwest.client import ClientBuilder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.sandbox.accepted import Record
from orchestrator.sandbox.accounts import CALLING
from orchestrator.sandbox.credentials import FROM_NUMBER
from orchestrator.sandbox.faults import Fault, Kind, Provider, can_suffer
from orchestrator.sandbox.handset import ack_of
from orchestrator.sandbox.sms.aliyun_post import upstream
from orchestrator.sandbox.sms.segments import bill
from orchestrator.sandbox.sms.twilio_post import TwilioPost
from orchestrator.sandbox.sms.twilio_resource import inbound, status_of
from orchestrator.sandbox.world import World

Endpoint = Callable[[Request], Awaitable[Response]]
MOST_MESSAGES = 10_000
MOST_PHONES = 240
SHOWN_PER_PHONE = 12
PATIENCE = timedelta(seconds=10)
INBOX_FIELDS = (
    "seq",
    "id",
    "time",
    "title",
    "body",
    "link",
    "collapse_key",
    "message_id",
    "parts",
    "encoding",
    "tag",
    "from",
    "provider",
    "image",
    "fate",
)
KINDS = {
    **dict.fromkeys(("twilio", "aliyun", "gateway"), "sms"),
    **dict.fromkeys(("smtp", "ses", "sendgrid"), "email"),
    "webhook": "webhook",
}
"""What a provider's messages arrive as; all others are pushes."""

M = TypeVar("M", bound=BaseModel)


class ReplyIn(BaseModel):
    """A person writes back from their phone; ``to`` is that person's own number."""

    model_config = ConfigDict(extra="forbid")

    to: Annotated[str, Field(pattern=r"^\+[1-9]\d{6,14}$")]
    text: Annotated[str, Field(min_length=1, max_length=1600)]


class Mail(BaseModel):
    """One mail, by its number in the log."""

    model_config = ConfigDict(extra="forbid")

    seq: Annotated[int, Field(ge=1)]


class Page(BaseModel):
    """Which part of the log is asked for."""

    after: Annotated[int, Field(ge=0)] = 0
    limit: Annotated[int, Field(ge=1, le=MOST_MESSAGES)] = 1000


class Look(BaseModel):
    """Which phones the inbox shows; ``known`` is the version it already has."""

    q: Annotated[str, Field(max_length=200)] = ""
    kind: Literal["all", "push", "sms", "email", "webhook"] = "all"
    provider: Annotated[str, Field(max_length=40)] = ""
    limit: Annotated[int, Field(ge=1, le=MOST_PHONES)] = 12
    known: str = ""


async def messages(request: Request) -> Response:
    """Accepted messages after a number, oldest first."""
    page = _checked(Page, dict(request.query_params))
    lines = _world(request).log.page(page.after, page.limit)
    return Response(b'{"messages":[' + b",".join(lines) + b"]}", media_type="application/json")


async def reply(request: Request) -> Response:
    """A person's reply: kept, heeded if it is STOP or START, and posted to the inbound webhook."""
    world = _world(request)
    given = _checked(ReplyIn, await _body(request))
    kept = world.replies.add(given.to, FROM_NUMBER, given.text)
    if world.callback_inbound:
        post = TwilioPost(inbound(kept, bill(given.text).parts), world.credentials.auth_token)
        world.webhooks.post(world.callback_inbound, [post], given.to)
    _upstream(world, kept)
    return _json({"sid": kept["sid"], "posted": bool(world.callback_inbound)}, 202)


def _upstream(world: World, kept: dict[str, Any]) -> None:
    """The same reply as Aliyun posts it, when the person's last text came through Aliyun."""
    url, numbers = world.callbacks.get("aliyun-reply"), world.log.of(kept["from"])
    last = world.log.get(numbers[-1]) if numbers else None
    if url and last is not None and last["provider"] == "aliyun":
        world.webhooks.post(url, [upstream(kept)], kept["from"])


class CallbackIn(BaseModel):
    """Where a provider posts what it has to say, as its console would be told."""

    model_config = ConfigDict(extra="forbid")

    provider: str
    url: Annotated[str, Field(pattern=r"^https?://")]


async def set_callback(request: Request) -> Response:
    """Set where a provider calls back."""
    given = _checked(CallbackIn, await _body(request))
    if given.provider not in CALLING:
        raise HTTPException(
            400, f"provider: {given.provider!r} does not call back; these do: {', '.join(sorted(CALLING))}"
        )
    _world(request).callbacks[given.provider] = given.url
    return Response(status_code=204)


async def unsubscribe(request: Request) -> Response:
    """A person presses their mail program's own unsubscribe button (RFC 8058): one POST, nothing followed."""
    record = _world(request).log.get(_checked(Mail, await _body(request)).seq)
    url = str((record or {}).get("unsubscribe") or "")
    if not url.startswith(("http://", "https://")):
        raise HTTPException(404, "this mail has no one-click address")
    async with ClientBuilder().follow_redirects(enable=False).no_proxy().timeout(PATIENCE).build() as client:
        answer = await client.post(url).form({"List-Unsubscribe": "One-Click"}).build().send()
    return _json({"status": answer.status}, 202)


async def add_fault(request: Request) -> Response:
    """Switch a fault on."""
    world = _world(request)
    fault = _checked(Fault, await _body(request))
    if fault.kind is Kind.EXPIRE_TOKENS:
        world.issuer.expire_all()
        return _json({"number": 0})
    return _json({"number": world.faults.add(fault)}, 201)


async def list_faults(request: Request) -> Response:
    """The faults that are on, and what each provider can be told to suffer."""
    able = {provider: sorted(can_suffer(provider)) for provider in get_args(Provider)}
    return _json({"faults": list(_world(request).faults.listed()), "can_suffer": able})


async def clear_faults(request: Request) -> Response:
    """Switch one fault off, or all."""
    _world(request).faults.clear(request.path_params.get("number"))
    return Response(status_code=204)


async def counters(request: Request) -> Response:
    """How many requests came to what, by provider, since the start."""
    return _json(_world(request).counters)


async def inbox(request: Request) -> Response:
    """What the inbox page shows."""
    world = _world(request)
    look = _checked(Look, dict(request.query_params))
    version = _version(world)
    if look.known == version:
        return _json({"version": version, "unchanged": True})
    found = world.log.addresses(look.q.strip(), look.limit + 1, lambda each: _wanted(world, each, look))
    return _json(
        {
            "version": version,
            "accepted": world.log.by_provider,
            "counters": world.counters,
            "faults": list(world.faults.listed()),
            "refusals": list(world.refusals)[:12],
            "sender": FROM_NUMBER,
            "inbound": bool(world.callback_inbound),
            "app": world.app,
            "kinds": {provider: kind_of(provider) for provider in world.log.by_provider},
            "more": len(found) > look.limit,
            "phones": [_phone(world, address) for address in found[: look.limit]],
        }
    )


def _wanted(world: World, address: str, look: Look) -> bool:
    providers = world.log.providers_at(address)
    right_kind = look.kind == "all" or any(kind_of(each) == look.kind for each in providers)
    return right_kind and (not look.provider or look.provider in providers)


def _phone(world: World, address: str) -> dict[str, Any]:
    numbers = world.log.of(address)
    records = [record for number in numbers[-SHOWN_PER_PHONE:] if (record := world.log.get(number)) is not None]
    return {
        "address": address,
        "kind": kind_of(records[-1]["provider"]),
        "provider": records[-1]["provider"],
        "total": len(numbers),
        "messages": [_brief(world, record) for record in records],
        "replies": world.replies.of(address)[-SHOWN_PER_PHONE:],
        "stopped": world.replies.stopped_any(address),
    }


def _brief(world: World, record: Record) -> dict[str, Any]:
    brief = {name: record[name] for name in INBOX_FIELDS if record.get(name) is not None}
    if record["provider"] == "twilio":
        brief["status"] = status_of(record, world.callback_delay)
    if ack_of(record):
        brief["ack"] = True
    if record["provider"] == "webhook":
        brief["payload"] = record["request"]["payload"]
    return brief


def kind_of(provider: str) -> str:
    """What a provider's messages arrive as: ``push``, ``sms``, ``email`` or ``webhook``."""
    return KINDS.get(provider, "push")


def _version(world: World) -> str:
    happened = sum(counter.total() for counter in world.counters.values())
    faults = "-".join(f"{number}:{hits}" for number, hits in world.faults.hits.items())
    return f"{len(world.log)}.{world.replies.count}.{happened}.{faults}"


def _world(request: Request) -> World:
    world: World = request.app.state.world
    return world


async def _body(request: Request) -> Any:
    try:
        return orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None


def _checked(model: type[M], given: Any) -> M:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise HTTPException(400, "; ".join(_complaints(error))) from None


def _complaints(error: ValidationError) -> list[str]:
    return [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]


def _json(content: object, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
