"""Users and consents as they enter over HTTP: a JSON body, checked whole, then taken in as a file's rows are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import Connection

from orchestrator.audience.attributes import NONE, Declarations, held_to
from orchestrator.audience.contacts import check_contact
from orchestrator.audience.opt_in import Asks, never_asks
from orchestrator.audience.people import (
    AddressRow,
    ConsentChange,
    UserRow,
    ensure_users,
    take_consents,
    upsert_addresses,
    upsert_users,
)
from orchestrator.audience.whereabouts import mailbox, phone
from orchestrator.errors import InputError, did_you_mean
from orchestrator.tracking.ingest import AHEAD, MAX_FAULTS, Fault, Name, Refusal, as_instant, as_properties

MAX_ITEMS = 1_000
SOURCE = "api"

ChannelIn = Literal["push", "sms", "email", "inbox", "webhook"]
KindIn = Literal[
    "token", "fid", "apns", "webpush", "huawei", "jpush", "getui", "xiaomi", "oppo", "vivo", "phone", "mailbox", "user"
]
InstantIn = Annotated[datetime | None, BeforeValidator(as_instant)]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AddressIn(_In):
    """One way to reach the user."""

    channel: ChannelIn
    value: Annotated[str, Field(min_length=1, max_length=4096, description="a token, a number, a mailbox, an endpoint")]
    kind: KindIn | None = None
    platform: Literal["android", "ios", "web", "harmony"] | None = None
    details: dict[Name, Name] = Field(
        default_factory=dict,
        description="environment and app of an APNs token; p256dh and auth of a Web Push endpoint",
    )
    region: Annotated[str, Field(pattern="^[A-Za-z]{2}$")] | None = Field(
        default=None, description="whose national numbers are meant where a phone number has no +"
    )
    at: InstantIn = Field(default=None, description="when the app registered it; tells old news from new")


class UserIn(_In):
    """A user. What is left out stays as it is known; attributes are merged into the known ones."""

    id: Name = Field(description="the app's own id of the user")
    name: Name | None = None
    locale: Name | None = None
    zone: Name | None = Field(default=None, description="an IANA name such as Europe/Berlin; an unknown one is counted")
    country: Name | None = Field(default=None, description="ISO 3166 alpha-2")
    attributes: Annotated[dict[str, Any], AfterValidator(as_properties)] = Field(default_factory=dict)
    addresses: list[AddressIn] = Field(default_factory=list, max_length=20)


class ConsentIn(_In):
    """A user agreed to a topic on a channel, or refused it."""

    user: Name
    channel: ChannelIn
    topic: Name
    granted: bool
    at: InstantIn = Field(default=None, description="default: now")
    source: Name = SOURCE
    confirmed: bool = Field(default=False, description="confirmed elsewhere: double opt-in does not ask again")


@dataclass(frozen=True, slots=True)
class Statements:
    """One request, checked."""

    users: tuple[UserRow, ...] = ()
    addresses: tuple[AddressRow, ...] = ()
    consents: tuple[tuple[str, ConsentIn], ...] = ()

    @property
    def weight(self) -> int:
        """How many rows it is about."""
        return len(self.users) + len(self.addresses) + len(self.consents)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request brought that was new."""

    users: int
    addresses: int
    consents: int
    zones_unknown: int
    countries_unknown: int


_USERS = TypeAdapter(list[UserIn])
_CONSENTS = TypeAdapter(list[ConsentIn])
_Item = TypeVar("_Item", bound=BaseModel)


def read_users(body: bytes, now: datetime, declared: Declarations = NONE) -> Statements | Refusal:
    """The users of ``{"users": [...]}``, or all that is wrong with it: all or nothing."""
    found = _items(body, "users", _USERS, UserIn)
    if isinstance(found, Refusal):
        return found
    faults: list[Fault] = []
    users = [_user(index, one, declared, faults) for index, one in enumerate(found)]
    given = [(index, place, one.id, way) for index, one in enumerate(found) for place, way in enumerate(one.addresses)]
    addresses = [_address(f"addresses.{place}", index, user, way, now, faults) for index, place, user, way in given]
    if faults:
        return Refusal(tuple(sorted(faults, key=lambda fault: fault.index or 0)[:MAX_FAULTS]))
    return Statements(tuple(users), tuple(row for row in addresses if row is not None))


def read_consents(body: bytes, now: datetime, _declared: Declarations = NONE) -> Statements | Refusal:
    """The consents of ``{"consents": [...]}``, or all that is wrong with it."""
    found = _items(body, "consents", _CONSENTS, ConsentIn)
    if isinstance(found, Refusal):
        return found
    faults = [
        Fault(index, "at", _EARLY) for index, one in enumerate(found) if one.at is not None and one.at > now + AHEAD
    ]
    if faults:
        return Refusal(tuple(faults[:MAX_FAULTS]))
    return Statements(consents=tuple((one.user, one) for one in found))


_EARLY = "lies more than 5 minutes in the future: check the clock, and that the offset is right"


def _items(body: bytes, word: str, adapter: TypeAdapter[list[_Item]], model: type[_Item]) -> list[_Item] | Refusal:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Refusal((Fault(None, "", "the body is not JSON"),), unreadable=True)
    if not isinstance(document, dict) or document.keys() != {word} or not isinstance(document[word], list):
        return Refusal((Fault(None, word, f'the body must be {{"{word}": [...]}}'),))
    if len(document[word]) > MAX_ITEMS:
        return Refusal((Fault(None, word, f"at most {MAX_ITEMS} in one request"),))
    try:
        return adapter.validate_python(document[word])
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)[:MAX_FAULTS]
        return Refusal(tuple(_fault(dict(one), model) for one in errors))


def _fault(error: dict[str, Any], model: type[BaseModel]) -> Fault:
    index, *path = error["loc"]
    field = ".".join(str(part) for part in path)[:64]
    match error["type"]:
        case "extra_forbidden":
            known = AddressIn.model_fields if path[0] == "addresses" else model.model_fields
            reason = f"unknown field ({did_you_mean(str(path[-1])[:64], known)})"
        case "missing":
            reason = "is required"
        case _:
            reason = error["msg"]
    return Fault(index, field, reason)


def _user(index: int, one: UserIn, declared: Declarations, faults: list[Fault]) -> UserRow:
    attributes = {name: value for name, value in one.attributes.items() if value is not None}
    try:
        attributes = held_to(declared, attributes)
    except ValueError as error:
        faults.append(Fault(index, "attributes", str(error)))
    return UserRow(one.id, one.name, one.locale, one.zone, one.country, attributes)


def _address(
    field: str, index: int, user: str, given: AddressIn, now: datetime, faults: list[Fault]
) -> AddressRow | None:
    if given.at is not None and given.at > now + AHEAD:
        faults.append(Fault(index, f"{field}.at", _EARLY))
    try:
        value, country = _reached(given)
    except InputError as error:
        faults.append(Fault(index, f"{field}.value", error.message))
        return None
    try:
        check_contact(given.channel, given.kind, value, given.details)
    except InputError as error:
        place, _, reason = error.message.partition(": ")
        faults.append(Fault(index, f"{field}.{place}", reason))
        return None
    more = (given.platform, given.details or None)
    return AddressRow(user, given.channel, value, given.at, given.kind, country, *more)


def _reached(given: AddressIn) -> tuple[str, str | None]:
    """The address as it is kept, and a phone's country.

    Raises:
        InputError: it is none.
    """
    if given.channel == "sms":
        found = phone(given.value, given.region.upper() if given.region else None)
        return found.value, found.country
    return (mailbox(given.value) if given.channel == "email" else given.value.strip()), None


def keep(connection: Connection, requests: Sequence[Statements], now: datetime, asks: Asks = never_asks) -> list[Kept]:
    """Take in several requests in one transaction, in their order."""
    return [_keep(connection, request, now, asks) for request in requests]


def _keep(connection: Connection, request: Statements, now: datetime, asks: Asks) -> Kept:
    done = upsert_users(connection, request.users, now)
    addresses = upsert_addresses(connection, request.addresses, now) if request.addresses else 0
    ids = ensure_users(connection, (user for user, _ in request.consents), now)
    changes = [
        ConsentChange(
            ids[user],
            one.channel,
            one.topic,
            one.granted,
            one.source,
            one.at or now,
            dated=one.at is not None,
            confirmed=one.confirmed,
        )
        for user, one in request.consents
    ]
    news = take_consents(connection, changes, now, asks) if changes else 0
    return Kept(done.written, addresses, news, done.zones_unknown, done.countries_unknown)
