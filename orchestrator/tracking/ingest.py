"""App events as they enter: one JSON body, checked whole, then kept once each.

An event is kept under the id that the app gave it. The same id again counts as known, whatever else it says: the first
word wins, so a client may repeat a request as often as it likes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import Connection, bindparam, func, select

from orchestrator import metrics
from orchestrator.audience.events import IncomingEvent, record_events
from orchestrator.audience.users import user_ids
from orchestrator.channel.callback import carried_id
from orchestrator.clock import EPOCH
from orchestrator.errors import did_you_mean
from orchestrator.store.tables import message, user_alias

MAX_BYTES = 1_000_000
MAX_EVENTS = 1_000
MAX_FAULTS = 100
MAX_DEPTH = 5
AHEAD = timedelta(minutes=5)
"""How far an event may lie in the future: phones' clocks are not ours."""
NEED_MESSAGE = frozenset({"message_opened"})
"""Reserved names: events about a message of ours, which they must name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an event is refused. ``index`` is its place in the list, None when the body as a whole is to blame."""

    index: int | None
    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """All that is wrong with a request (at most 100 faults). ``unreadable``: it is not JSON at all."""

    faults: tuple[Fault, ...]
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one request: events kept now, and events that were kept before."""

    accepted: int
    known: int


def _fit(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise PydanticCustomError("text", "must be printable text without spaces around it")
    return value


def as_instant(value: Any) -> datetime | None:
    """For a validator: an instant as text with its offset."""
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        at = None
    if at is None or at.tzinfo is None:
        raise PydanticCustomError("instant", "must be an instant with its offset, such as 2026-12-01T11:02:03Z")
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        at = EPOCH - AHEAD
    if at < EPOCH:
        raise PydanticCustomError("instant", "lies before 1970")
    return at


def _message_id(value: Any) -> int | None:
    if value is None:
        return None
    found = carried_id(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("message_id", "must be the decimal string that the message carried in `msg_id`")
    return found


def as_properties(value: dict[str, Any]) -> dict[str, Any]:
    """For a validator: plain JSON, not too deep."""
    if not _plain(value, MAX_DEPTH):
        raise PydanticCustomError("properties", f"may be nested {MAX_DEPTH} deep, and must not hold a NUL character")
    return value


def _plain(value: Any, depth: int) -> bool:
    match value:
        case dict():
            return depth > 0 and all("\0" not in key and _plain(inner, depth - 1) for key, inner in value.items())
        case list():
            return depth > 0 and all(_plain(inner, depth - 1) for inner in value)
        case str():
            return "\0" not in value
        case _:
            return True


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_fit)]


class EventIn(BaseModel):
    """One event as the app sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    user: Name
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
    id: Name
    at: Annotated[datetime | None, BeforeValidator(as_instant)] = None
    message_id: Annotated[int | None, BeforeValidator(_message_id)] = None
    properties: Annotated[dict[str, Any], AfterValidator(as_properties)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_its_message(self) -> Self:
        if self.name in NEED_MESSAGE and self.message_id is None:
            raise PydanticCustomError(
                "message_id", "this event has to name the message it is about", {"field": "message_id"}
            )
        return self


_EVENTS = TypeAdapter(list[EventIn])


def read_events(body: bytes, now: datetime) -> list[IncomingEvent] | Refusal:
    """The events of a request, or all that is wrong with it; ``now`` is when an event without ``at`` happened.

    Nothing of a request is used unless all of it is right.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal((Fault(None, "", "the body is not JSON"),), unreadable=True)
    if not isinstance(document, dict) or document.keys() != {"events"} or not isinstance(document["events"], list):
        return Refusal((Fault(None, "events", 'the body must be {"events": [...]}'),))
    if len(document["events"]) > MAX_EVENTS:
        return Refusal((Fault(None, "events", f"at most {MAX_EVENTS} events in one request"),))
    try:
        events = _EVENTS.validate_python(document["events"])
    except ValidationError as error:
        faults = [_fault(dict(item)) for item in error.errors(include_input=False, include_url=False)[:MAX_FAULTS]]
    else:
        faults = _early(events, now)
        if not faults:
            return [_incoming(event, now) for event in events]
    return Refusal(tuple(faults))


def _early(events: Sequence[EventIn], now: datetime) -> list[Fault]:
    limit = now + AHEAD
    reason = "lies more than 5 minutes in the future: check the clock, and that the offset is right"
    early = [index for index, event in enumerate(events) if event.at is not None and event.at > limit]
    return [Fault(index, "at", reason) for index in early[:MAX_FAULTS]]


def _fault(error: dict[str, Any]) -> Fault:
    index, *path = error["loc"]
    field = str(path[0])[:64] if path else error.get("ctx", {}).get("field", "")
    match error["type"]:
        case "extra_forbidden":
            reason = f"unknown field ({did_you_mean(field, EventIn.model_fields)})"
        case "missing":
            reason = "is required"
        case "string_pattern_mismatch":
            reason = "must be letters, digits and _ . - (at most 64), beginning with a letter or _"
        case _:
            reason = error["msg"]
    return Fault(index, field, reason)


def _incoming(event: EventIn, now: datetime) -> IncomingEvent:
    return IncomingEvent(event.user, event.name, event.at or now, event.id, event.properties, event.message_id)


def take_in(connection: Connection, requests: Sequence[Sequence[IncomingEvent]], now: datetime) -> list[Taken]:
    """Keep the events of several requests in one transaction; says for each request what was new.

    A message id is kept only if the message is that user's; otherwise the event counts and the link does not.
    """
    recorded = record_events(connection, _own(connection, [event for request in requests for event in request]), now)
    fresh = set(recorded.new)
    return [_taken(request, fresh) for request in requests]


def _taken(request: Sequence[IncomingEvent], fresh: set[str]) -> Taken:
    """What of a request was new; ids that were new in an earlier request of the group are known in this one."""
    new = {event.source_id for event in request} & fresh
    fresh -= new
    return Taken(len(new), len(request) - len(new))


_OWNERS = (  # of a user who was merged: whom they are now
    select(message.c.id, func.coalesce(user_alias.c.user_id, message.c.user_id))
    .outerjoin(user_alias, user_alias.c.old_user_id == message.c.user_id)
    .where(message.c.id.in_(bindparam("ids", expanding=True)))
)


def _own(connection: Connection, events: list[IncomingEvent]) -> list[IncomingEvent]:
    """The events, without the message ids that are not their user's."""
    ids = {event.message_id for event in events if event.message_id is not None}
    if not ids:
        return events
    owner = dict(connection.execute(_OWNERS, {"ids": list(ids)}).all())
    about = user_ids(connection, (event.external_user_id for event in events if event.message_id is not None))
    foreign = {
        index
        for index, event in enumerate(events)
        if event.message_id is not None and owner.get(event.message_id, 0) != about.get(event.external_user_id)
    }
    metrics.foreign_message_ids.inc(len(foreign))
    return [replace(event, message_id=None) if index in foreign else event for index, event in enumerate(events)]
