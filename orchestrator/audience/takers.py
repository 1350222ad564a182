"""What each kind of file becomes: a row is read into a value first, values are written by the thousand later."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, get_args

import orjson
from sqlalchemy import Connection

from orchestrator.audience.attributes import NONE, Declarations, held_to
from orchestrator.audience.cells import CellError, instant_reader, needed, reader, readers, truth
from orchestrator.audience.contacts import KINDS, PLATFORMS, check_contact
from orchestrator.audience.events import add_events
from orchestrator.audience.mapping import (
    AddressColumns,
    Columns,
    ConsentColumns,
    EventColumns,
    SuppressionColumns,
    UserColumns,
)
from orchestrator.audience.numbering import Numbering, fingerprint
from orchestrator.audience.opt_in import Asks, never_asks
from orchestrator.audience.people import (
    REASONS,
    AddressRow,
    ConsentChange,
    Suppressed,
    UserRow,
    ensure_users,
    suppress_all,
    take_consents,
    upsert_addresses,
    upsert_users,
)
from orchestrator.audience.suppression_list import Target, unguarded
from orchestrator.audience.terms import ChannelName
from orchestrator.audience.users import UserIds
from orchestrator.audience.whereabouts import Phone, mailbox, phone
from orchestrator.clock import to_micros
from orchestrator.errors import InputError, did_you_mean

MAX_VALUE = 4096
"""Characters of an address or of a name the app calls somebody by, at most."""
CHANNELS = get_args(ChannelName)


@dataclass(frozen=True, slots=True)
class Wrote:
    """What a batch came to: rows that brought something new, and counts of what was not understood in them."""

    written: int
    zones_unknown: int = 0
    countries_unknown: int = 0


class Taker(Protocol):
    """Takes in one kind of file."""

    def read(self, cells: Sequence[Any]) -> Any:
        """A row's value. Touches no database.

        Raises:
            CellError: why the row cannot be taken in.
        """
        ...

    def write(self, connection: Connection, values: Sequence[Any], now: datetime) -> Wrote:
        """Take in the values of up to a thousand rows."""
        ...


def _word(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        raise CellError(f"unknown {what} {value[:40]!r} ({did_you_mean(value[:64], known)})")
    return value


def _name(cell: Any, header: Sequence[str], what: str) -> Callable[[Sequence[Any]], str]:
    read = needed(cell, header, what)

    def found(cells: Sequence[Any]) -> str:
        value: str = read(cells)
        if len(value) > MAX_VALUE:
            raise CellError(f"{what}: is longer than {MAX_VALUE:,} characters")
        return value

    return found


def _contact(channel: str, value: str, region: str | None) -> Phone:
    """An address as it is kept; what is wrong with it is said without repeating it."""
    if channel == "sms":
        try:
            return phone(value, region.upper() if region else None)
        except InputError as error:
            raise CellError(f"the address {error.message}") from None
    if channel == "email":
        try:
            return Phone(mailbox(value), None)
        except InputError as error:
            raise CellError(f"the address {error.message}") from None
    return Phone(value, None)


class Users:
    """Rows about users."""

    def __init__(self, columns: UserColumns, header: Sequence[str], declared: Declarations = NONE) -> None:
        self.declared = declared
        self.external_id = _name(columns.external_id, header, "external_id")
        self.own = {name: reader(getattr(columns, name), header) for name in ("name", "locale", "zone", "country")}
        self.attributes = readers(columns.attributes, header)

    def read(self, cells: Sequence[Any]) -> UserRow:
        """A user."""
        own = {name: None if (value := read(cells)) is None else str(value) for name, read in self.own.items()}
        try:
            attributes = held_to(self.declared, self.attributes(cells))
        except ValueError as error:
            raise CellError(str(error)) from None
        return UserRow(self.external_id(cells), **own, attributes=attributes)

    def write(self, connection: Connection, values: Sequence[UserRow], now: datetime) -> Wrote:
        """Add and change users."""
        done = upsert_users(connection, values, now)
        return Wrote(done.written, done.zones_unknown, done.countries_unknown)


Told = tuple[str, str, int, str, str | None]
"""An event of a file: user, name, instant in microseconds, source id, properties as JSON."""


class Events:
    """Rows about what users did."""

    def __init__(self, columns: EventColumns, header: Sequence[str]) -> None:
        self.user = _name(columns.user, header, "user")
        self.name = _name(columns.name, header, "name")
        self.at = instant_reader(columns.at, header)
        self.source_id = reader(columns.source_id, header)
        self.properties = readers(columns.properties, header)
        self.ids = UserIds()

    def read(self, cells: Sequence[Any]) -> Told:
        """An event; without a source id its own number among equals has still to come."""
        at = self.at(cells)
        if at is None:
            raise CellError("at: is blank")
        user, name, source_id = self.user(cells), self.name(cells), self.source_id(cells)
        properties = self.properties(cells)
        said = orjson.dumps(properties, option=orjson.OPT_SORT_KEYS).decode() if properties else None
        return user, name, to_micros(at), "" if source_id is None else str(source_id), said

    def write(self, connection: Connection, values: Sequence[Told], now: datetime) -> Wrote:
        """Keep what is new."""
        ids = self.ids.of(connection, (one[0] for one in values), now)
        rows = [(ids[user], name, at, source_id, said) for user, name, at, source_id, said in values]
        return Wrote(add_events(connection, rows, now))

    def number(self, values: Sequence[Told], numbering: Numbering) -> Sequence[Told]:
        """Events that have no source id get one that the same row gets each time the file is read."""
        nameless = [one for one in values if not one[3]]
        if not nameless:
            return values
        names = iter(
            numbering.number([fingerprint(user, name, at, said or "") for user, name, at, _, said in nameless])
        )
        return [one if one[3] else (one[0], one[1], one[2], next(names), one[4]) for one in values]


class Addresses:
    """Rows about how users are reached."""

    def __init__(self, columns: AddressColumns, header: Sequence[str]) -> None:
        self.user = _name(columns.user, header, "user")
        self.channel = needed(columns.channel, header, "channel")
        self.value = _name(columns.value, header, "value")
        self.kind = reader(columns.kind, header)
        self.at = instant_reader(columns.at, header)
        self.region = reader(columns.region, header)
        self.platform = reader(columns.platform, header)
        self.details = [(str(name), reader(cell, header)) for name, cell in columns.details.items()]

    def read(self, cells: Sequence[Any]) -> AddressRow:
        """An address."""
        channel = _word(self.channel(cells), CHANNELS, "channel")
        kind, platform = self.kind(cells), self.platform(cells)
        found = _contact(channel, self.value(cells), self.region(cells))
        kind = None if kind is None else _word(str(kind), KINDS, "kind of address")
        platform = None if platform is None else _word(str(platform), PLATFORMS, "platform")
        said = ((name, read(cells)) for name, read in self.details)
        details = {name: str(value) for name, value in said if value is not None}
        try:
            check_contact(channel, kind, found.value, details)
        except InputError as error:
            raise CellError(f"the address's {error.message}") from None
        user, at = self.user(cells), self.at(cells)
        return AddressRow(user, channel, found.value, at, kind, found.country, platform, details or None)

    def write(self, connection: Connection, values: Sequence[AddressRow], now: datetime) -> Wrote:
        """Add, confirm and move addresses."""
        return Wrote(upsert_addresses(connection, values, now))


@dataclass(frozen=True, slots=True)
class _Agreement:
    user: str
    channel: str
    topic: str
    granted: bool
    source: str
    at: datetime | None
    confirmed: bool


class Consents:
    """Rows about what users agreed to."""

    def __init__(self, columns: ConsentColumns, header: Sequence[str], asks: Asks) -> None:
        self.asks = asks
        self.user = _name(columns.user, header, "user")
        self.channel = needed(columns.channel, header, "channel")
        self.topic = _name(columns.topic, header, "topic")
        self.granted = needed(columns.granted, header, "granted")
        self.source = needed(columns.source, header, "source")
        self.at = instant_reader(columns.at, header)
        self.confirmed = reader(columns.confirmed, header)

    def read(self, cells: Sequence[Any]) -> _Agreement:
        """A statement."""
        channel, granted = _word(self.channel(cells), CHANNELS, "channel"), truth(self.granted(cells))
        said = self.confirmed(cells)
        confirmed = said is not None and truth(said)
        user, topic, source = self.user(cells), self.topic(cells), self.source(cells)
        return _Agreement(user, channel, topic, granted, source, self.at(cells), confirmed)

    def write(self, connection: Connection, values: Sequence[_Agreement], now: datetime) -> Wrote:
        """Add the versions that are new."""
        ids = ensure_users(connection, (one.user for one in values), now)
        changes = [
            ConsentChange(
                ids[one.user],
                one.channel,
                one.topic,
                one.granted,
                one.source,
                one.at or now,
                dated=one.at is not None,
                confirmed=one.confirmed,
            )
            for one in values
        ]
        return Wrote(take_consents(connection, changes, now, self.asks, renews=False))


@dataclass(frozen=True, slots=True)
class _Ban:
    channel: str
    address: str | None
    user: str | None
    reason: str
    source: str
    at: datetime | None


class Suppressions:
    """Rows about who must not be sent to."""

    def __init__(self, columns: SuppressionColumns, header: Sequence[str]) -> None:
        self.channel = needed(columns.channel, header, "channel")
        self.address = reader(columns.address, header)
        self.user = reader(columns.user, header)
        self.region = reader(columns.region, header)
        self.reason = needed(columns.reason, header, "reason")
        self.source = needed(columns.source, header, "source")
        self.at = instant_reader(columns.at, header)

    def read(self, cells: Sequence[Any]) -> _Ban:
        """A suppression, of the address where there is one, else of the user."""
        channel = _word(self.channel(cells), CHANNELS, "channel")
        reason = _word(self.reason(cells), REASONS, "reason")
        given = self.address(cells), self.user(cells)
        address, user = (None if one is None else unguarded(str(one)) for one in given)
        if address is None and user is None:
            raise CellError("neither address nor user is given")
        value = None if address is None else _contact(channel, address, self.region(cells)).value
        source = unguarded(str(self.source(cells)))
        return _Ban(channel, value, None if address else user, reason, source, self.at(cells))

    def write(self, connection: Connection, values: Sequence[_Ban], now: datetime) -> Wrote:
        """Add those that are new."""
        ids = ensure_users(connection, (one.user for one in values if one.user), now)
        wanted = [
            Suppressed(one.channel, one.reason, one.source, one.at or now, one.address, ids.get(one.user or ""))
            for one in values
        ]
        return Wrote(suppress_all(connection, wanted))


def target_of(channel: str, address: str | None, user: str | None) -> Target:
    """Of whom an operator speaks; the address in the form in which it is kept.

    Raises:
        InputError: the channel or the address cannot be; the error does not repeat the address.
    """
    try:
        _word(channel, CHANNELS, "channel")
        return Target(channel, None if address is None else _contact(channel, address, None).value, user)
    except CellError as error:
        raise InputError(str(error)) from None


def taker(columns: Columns, header: Sequence[str], declared: Declarations = NONE, asks: Asks = never_asks) -> Taker:
    """What takes in the rows that these columns describe."""
    if isinstance(columns, UserColumns):
        return Users(columns, header, declared)
    if isinstance(columns, ConsentColumns):
        return Consents(columns, header, asks)
    made: Taker = _TAKERS[type(columns)](columns, header)
    return made


_TAKERS: Mapping[type[Any], Callable[[Any, Sequence[str]], Any]] = {
    EventColumns: Events,
    AddressColumns: Addresses,
    SuppressionColumns: Suppressions,
}
