"""New events, read by cursor: what triggers and steps that wait for an event listen to.

Ids of PostgreSQL become visible out of order (whoever got the lower one may commit later), and SQLite uses its last ids
again after an erasure. So the cursor stands before the first event that came in only just now (``settled``), and a
reading begins :data:`REREAD` ids before it: some events are read several times. Readers make that harmless: they know
the latest event that they have acted on, or what they do can be done twice.

The cursor moves in the caller's transaction, with what the caller makes of the events: killed in between, it reads
them again. A reader that has never read, or not for long, begins with what came in at ``since``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, text

from orchestrator.clock import Clock, from_micros, to_micros

LIMIT = 2_000
REREAD = 500
SETTLED_AFTER = timedelta(minutes=1)
"""Machine time after which a transaction that took in events has surely committed."""


@dataclass(frozen=True, slots=True)
class Happened:
    """An event: who, what, when it happened, when it came in."""

    id: int
    user_id: int
    name: str
    at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class News:
    """The events of these names up to id ``through``, by their ids; ``more``: there are later ones to look at."""

    events: tuple[Happened, ...]
    through: int
    more: bool


def settled(clock: Clock) -> datetime:
    """Business time before which everything that came in is to be seen by now."""
    return clock.now() - clock.business_span(SETTLED_AFTER)


def has_news(connection: Connection, reader: str) -> bool:
    """Whether there is anything that a reader has not passed yet: asked before a write transaction is begun.

    Also where the cursor stands behind the last of all events: those that it stood at were erased.
    """
    newest: int = connection.execute(_NEWEST).scalar_one()
    return newest != (_cursor(connection, reader) or 0)


def read(
    connection: Connection,
    reader: str,
    names: Collection[str],
    limit: int = LIMIT,
    *,
    since: datetime,
    settled: datetime,
    after: int | None = None,
) -> News:
    """The next events of these names among at most ``limit`` of all; moves the reader's cursor over what is settled.

    Call it again with ``after=news.through`` while there are ``more``: not all of what is new is settled.
    """
    low = _begin(connection, reader, since) if after is None else after
    high = connection.execute(_HIGH, {"low": low, "n": limit}).scalar()
    if high is None:
        return News((), low, more=False)
    rows = connection.execute(_READ, {"low": low, "high": high, "names": sorted(names)}).all() if names else []
    passed = connection.execute(_PASSED, {"low": low, "high": high, "settled": to_micros(settled)}).scalar()
    to = low if passed is None else passed
    if after is None or (_cursor(connection, reader) or 0) >= after:  # an earlier page may have stopped the cursor
        _move(connection, reader, to)
    more = connection.execute(_HIGH, {"low": high, "n": 1}).scalar() is not None
    return News(tuple(_happened(row) for row in rows), high, more)


def passed(connection: Connection, reader: str) -> int:
    """Events up to this id are not read again by this reader (but for the last ones before an erasure)."""
    return max((_cursor(connection, reader) or 0) - REREAD, 0)


def forget(connection: Connection, reader: str) -> None:
    """A reader that listens to nothing any more: should it begin again, then with what is new then."""
    connection.execute(_FORGET, {"reader": reader})


_HIGH = text("SELECT max(id) FROM (SELECT id FROM event WHERE id > :low ORDER BY id LIMIT :n) AS page")
_READ = text("""
    SELECT id, user_id, name, at, received_at FROM event
    WHERE id > :low AND id <= :high AND name IN :names ORDER BY id""").bindparams(bindparam("names", expanding=True))
_PASSED = text("""
    SELECT CASE WHEN first.id IS NULL THEN :high ELSE (
        SELECT max(before.id) FROM event AS before WHERE before.id > :low AND before.id < first.id) END
    FROM (SELECT min(id) AS id FROM event
          WHERE id > :low AND id <= :high AND received_at > :settled) AS first""")
_CURSOR = text("SELECT event_id FROM event_cursor WHERE reader = :reader")
_MOVE = text("""
    INSERT INTO event_cursor (reader, event_id) VALUES (:reader, :id)
    ON CONFLICT (reader) DO UPDATE SET event_id = :id WHERE event_cursor.event_id < :id""")
_BACK = text("UPDATE event_cursor SET event_id = :id WHERE reader = :reader AND event_id > :id")
_FORGET = text("DELETE FROM event_cursor WHERE reader = :reader")
_NEWEST = text("SELECT coalesce(max(id), 0) FROM event")
_AFTER = text("SELECT id, received_at FROM event WHERE id > :low ORDER BY id LIMIT 1")


def _happened(row: Row[Any]) -> Happened:
    return Happened(row.id, row.user_id, row.name, from_micros(row.at), from_micros(row.received_at))


def _cursor(connection: Connection, reader: str) -> int | None:
    found: int | None = connection.execute(_CURSOR, {"reader": reader}).scalar()
    return found


def _move(connection: Connection, reader: str, to: int) -> None:
    connection.execute(_MOVE, {"reader": reader, "id": to})


def _begin(connection: Connection, reader: str, since: datetime) -> int:
    """After which id to read: a little before the cursor, but nothing that came in long before ``since``."""
    newest: int = connection.execute(_NEWEST).scalar_one()
    cursor = _cursor(connection, reader)
    if cursor is not None and cursor > newest:  # the last events were erased: their ids are given out again
        connection.execute(_BACK, {"reader": reader, "id": newest})
        cursor = newest
    low = cursor or 0
    row = connection.execute(_AFTER, {"low": low}).first()
    if row is not None and row.received_at < to_micros(since):
        low = _first_since(connection, low, newest, to_micros(since))
    return max(low - REREAD, 0)


def first_since(connection: Connection, since: datetime) -> int:
    """An id after which is everything that came in at ``since`` or later, and not much else."""
    newest: int = connection.execute(_NEWEST).scalar_one()
    return max(_first_since(connection, 0, newest, to_micros(since)) - REREAD, 0)


def _first_since(connection: Connection, low: int, high: int, since: int) -> int:
    """The last id before those that came in at ``since``: ids and arrival go (nearly) in the same order."""
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_AFTER, {"low": middle}).first()
        if row is None or row.received_at >= since:
            high = middle
        else:
            low = row.id
    return low
