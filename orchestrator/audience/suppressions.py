"""Suppressions: addresses and users that must not be sent to, each for a reason, from an instant until it is lifted.

A suppression of an address is by value, so it outlives the address and holds whoever has it next. Several reasons may
hold at once; each is lifted by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, select, update

from orchestrator.audience.aliases import aliases, now_called
from orchestrator.audience.refused import note
from orchestrator.audience.rows import insert, slices
from orchestrator.clock import to_micros
from orchestrator.errors import InputError
from orchestrator.store.tables import suppression

REASONS = ("stop", "complaint", "unsubscribe", "operator", "provider")


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Do not send on ``channel`` to an address or to a user (one of the two)."""

    channel: str
    reason: str
    source: str
    at: datetime
    address: str | None = None
    user_id: int | None = None

    def __post_init__(self) -> None:
        """One target, and a reason we know."""
        if (self.address is None) == (self.user_id is None):
            raise InputError("a suppression is of an address or of a user: give one of the two")
        if self.reason not in REASONS:
            raise InputError(f"unknown reason {self.reason!r} for a suppression", hint=f"one of {', '.join(REASONS)}")


_Key = tuple[str, str | int, str]
_Span = tuple[datetime, datetime | None]
_COLUMNS = ("channel", "address", "user_id", "reason", "source", "valid_from", "valid_until")


def suppress(
    connection: Connection,
    *,
    channel: str,
    reason: str,
    source: str,
    at: datetime,
    address: str | None = None,
    user_id: int | None = None,
) -> bool:
    """Send no more to an address, or to a user on a channel; whether that is news."""
    return suppress_all(connection, [Suppressed(channel, reason, source, at, address, user_id)]) > 0


def suppress_all(connection: Connection, wanted: Sequence[Suppressed]) -> int:
    """Take in suppressions, a thousand or two at a time; how many were news.

    One that was in force at its instant, lifted since or not, is no news: an old list does not undo a lift.
    """
    merged = aliases(connection, (one.user_id for one in wanted if one.user_id is not None))
    if merged:
        wanted = [replace(one, user_id=now_called(merged, one.user_id)) for one in wanted]
    note(connection, ((one.channel, one.address or one.user_id or 0) for one in wanted))
    spans = _spans(connection, wanted)
    added: list[tuple[Any, ...]] = []
    for one in wanted:
        known = spans.setdefault(_key(one), [])
        if any(start <= one.at and (end is None or one.at < end) for start, end in known):
            continue
        end = min((start for start, _ in known if start > one.at), default=None)
        known.append((one.at, end))
        until = None if end is None else to_micros(end)
        added.append((one.channel, one.address, one.user_id, one.reason, one.source, to_micros(one.at), until))
    insert(connection, suppression, _COLUMNS, added)
    return len(added)


def _key(one: Suppressed) -> _Key:
    return one.channel, one.address if one.address is not None else one.user_id or 0, one.reason


def _spans(connection: Connection, wanted: Iterable[Suppressed]) -> dict[_Key, list[_Span]]:
    """When each of these was in force, so far as is known."""
    found: dict[_Key, list[_Span]] = {}
    for channel, targets in _targets(wanted).items():
        for column in (suppression.c.address, suppression.c.user_id):
            values = [target for target in targets if isinstance(target, str) == (column is suppression.c.address)]
            for some in slices(values):
                for ended in (suppression.c.valid_until.is_(None), suppression.c.valid_until.is_not(None)):
                    of = and_(suppression.c.channel == channel, column.in_(some), column.is_not(None), ended)
                    _collect(connection, of, found)
    return found


def _targets(wanted: Iterable[Suppressed]) -> dict[str, list[str | int]]:
    found: dict[str, dict[str | int, None]] = {}
    for one in wanted:
        found.setdefault(one.channel, {})[_key(one)[1]] = None
    return {channel: list(targets) for channel, targets in found.items()}


def _collect(connection: Connection, of: ColumnElement[bool], found: dict[_Key, list[_Span]]) -> None:
    for row in connection.execute(select(suppression).where(of)):
        key = (row.channel, row.address if row.address is not None else row.user_id, row.reason)
        found.setdefault(key, []).append((row.valid_from, row.valid_until))


def lift(
    connection: Connection,
    *,
    channel: str,
    at: datetime,
    address: str | None = None,
    user_id: int | None = None,
    reasons: Collection[str] = REASONS,
) -> bool:
    """End what is in force of an address and of a user on a channel, for some reasons or all; whether anything was.

    What begins after ``at`` stays: it is newer than the word that lifts.
    """
    if address is None and user_id is None:
        raise InputError("nothing to lift: give an address, a user, or both")
    lifted = 0
    if user_id is not None:
        user_id = aliases(connection, [user_id]).get(user_id, user_id)
    for column, value in ((suppression.c.address, address), (suppression.c.user_id, user_id)):
        if value is not None:
            where = (
                suppression.c.channel == channel,
                column == value,
                column.is_not(None),
                suppression.c.valid_until.is_(None),
                suppression.c.valid_from <= at,
                suppression.c.reason.in_(sorted(reasons)),
            )
            lifted += connection.execute(update(suppression).where(*where).values(valid_until=at)).rowcount
    return lifted > 0
