"""Double opt-in: an agreement to a topic that asks for it is a request, and no consent before the person confirms it.

A request is made by the statement that comes in, asked once by mail, and confirmed through the mail's signed link. Who
refuses ends it; it expires thirty days after the mail. While one is open the same wish makes no second one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, Table, insert, select, update

from orchestrator.audience.aliases import aliases
from orchestrator.audience.consents import ConsentChange, of_today, set_consents
from orchestrator.audience.erased import believed
from orchestrator.audience.rows import slices
from orchestrator.store.tables import consent, opt_in, users

Asks = Callable[[str, str], bool]
"""Whether a topic asks for double opt-in on a channel."""
SOURCE = "double opt-in"
EXPIRES = timedelta(days=30)
_Key = tuple[int, str, str]


def never_asks(_channel: str, _topic: str) -> bool:
    """No topic asks for double opt-in."""
    return False


def take_consents(
    connection: Connection, changes: Sequence[ConsentChange], now: datetime, asks: Asks, *, renews: bool = True
) -> int:
    """Take in statements as they arrive; how many were news.

    ``renews``: an undated agreement is a new wish of the person. Without it (a file that may be read every night) it
    makes no request where there was a statement before, and takes back nothing that outlived an erasure.
    """
    changes = of_today(connection, changes)
    changes = changes if renews else believed(connection, changes)
    waiting = [one for one in changes if one.granted and not one.confirmed and asks(one.channel, one.topic)]
    if not waiting:
        return set_consents(connection, changes)
    apart = set(map(id, waiting))
    straight = [one for one in changes if id(one) not in apart]
    news = set_consents(connection, straight)
    refused = [one for one in straight if not one.granted]
    waiting = [one for one in waiting if not any(_key(no) == _key(one) and no.at >= one.at for no in refused)]
    return news + _request(connection, waiting, now, renews=renews)


def _request(connection: Connection, waiting: Sequence[ConsentChange], now: datetime, *, renews: bool) -> int:
    """Agreements to what is agreed to already are proofs of it; the others become requests."""
    held = {key: rows[0] for key, rows in _rows(connection, consent, waiting).items()}
    before: dict[_Key, list[Any]] = dict(_rows(connection, opt_in, waiting))
    again, new = [], []
    for one in sorted(waiting, key=lambda each: each.at):
        now_held, known = held.get(_key(one)), before.setdefault(_key(one), [])
        if now_held is not None and (now_held.granted or now_held.valid_from >= one.at):
            again += [one] if now_held.granted and now_held.valid_from <= one.at else []
        elif _is_new(one, known, now) and (one.dated or renews or not (known or now_held)):
            made = _Request(*_key(one), one.source, one.at, now, now)
            known.append(made)
            new.append(made)
    if new:
        names = _Request.__dataclass_fields__
        connection.execute(insert(opt_in), [{name: getattr(one, name) for name in names} for one in new])
    return len(new) + (set_consents(connection, again) if again else 0)


def _is_new(one: ConsentChange, known: Iterable[Any], now: datetime) -> bool:
    return not any(each.requested_at >= one.at or _is_open(each, now) for each in known)


@dataclass(frozen=True, slots=True)
class _Request:
    """A row to be."""

    user_id: int
    channel: str
    topic: str
    source: str
    requested_at: datetime
    created_at: datetime
    ask_at: datetime
    asked_at: datetime | None = None
    confirmed_at: datetime | None = None
    ended_at: datetime | None = None


def _key(one: Any) -> _Key:
    return one.user_id, one.channel, one.topic


def _rows(connection: Connection, table: Table, wanted: Sequence[ConsentChange]) -> Mapping[_Key, list[Row[Any]]]:
    """The current consents, or all requests, of the same users, channels and topics."""
    keys = {_key(one) for one in wanted}
    found: dict[_Key, list[Row[Any]]] = {}
    for some in slices(sorted({key[0] for key in keys})):
        statement = select(table).where(table.c.user_id.in_(some))
        if table is consent:
            statement = statement.where(consent.c.valid_until.is_(None))
        for row in connection.execute(statement):
            if _key(row) in keys:
                found.setdefault(_key(row), []).append(row)
    return found


def _is_open(row: Any, now: datetime) -> bool:
    if row.confirmed_at is not None or row.ended_at is not None:
        return False
    until: datetime = (row.asked_at or row.created_at) + EXPIRES
    return now < until


# --- what the person does with it ------------------------------------------------------------------------------------


class Progress(StrEnum):
    """Where a request stands."""

    OPEN = "open"
    CONFIRMED = "confirmed"
    OVER = "over"
    """Expired, or refused before or after it was confirmed."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, for the page that its link opens."""

    channel: str
    topic: str
    locale: str
    progress: Progress


def request_of(connection: Connection, number: int, now: datetime) -> Request | None:
    """A request by its number; None when there is none."""
    row = connection.execute(select(opt_in).where(opt_in.c.id == number)).first()
    if row is None:
        return None
    user = aliases(connection, [row.user_id]).get(row.user_id, row.user_id)
    locale = connection.execute(select(users.c.locale).where(users.c.id == user)).scalar() or ""
    return Request(row.channel, row.topic, locale, _progress(connection, row, user, now))


def _progress(connection: Connection, row: Row[Any], user: int, now: datetime) -> Progress:
    if row.confirmed_at is None:
        return Progress.OPEN if _is_open(row, now) else Progress.OVER
    mine = (consent.c.user_id == user, consent.c.channel == row.channel, consent.c.topic == row.topic)
    granted = connection.execute(select(consent.c.granted).where(*mine, consent.c.valid_until.is_(None))).scalar()
    return Progress.CONFIRMED if granted else Progress.OVER


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Somebody pressed the button."""

    number: int
    at: datetime


def take_confirmations(connection: Connection, given: Sequence[Confirmation]) -> list[Request | None]:
    """Confirm requests in the caller's transaction; again changes nothing. Where each stands now."""
    return [_confirm(connection, one) for one in given]


def _confirm(connection: Connection, one: Confirmation) -> Request | None:
    row = connection.execute(select(opt_in).where(opt_in.c.id == one.number)).first()
    if row is not None and _is_open(row, one.at):
        connection.execute(update(opt_in).where(opt_in.c.id == row.id).values(confirmed_at=one.at))
        set_consents(connection, [ConsentChange(*_key(row), granted=True, source=SOURCE, at=one.at, dated=True)])
    return request_of(connection, one.number, one.at)


def waiting_choices(connection: Connection, user_id: int, now: datetime) -> set[tuple[str, str]]:
    """What a user has agreed to and not confirmed yet: channels and topics."""
    rows = connection.execute(select(opt_in).where(opt_in.c.user_id == user_id)).all()
    return {(row.channel, row.topic) for row in rows if _is_open(row, now)}
