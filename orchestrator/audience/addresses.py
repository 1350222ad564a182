"""Addresses: one row for each stretch of time during which an address was a user's. Values move, rows do not.

News of an address is *dated* (the source says when the app registered it) or not. Old news changes nothing: dated news
counts when it is newer than what is known, undated news only when the user has never had that address, so that
importing a file again neither revives a dead token nor takes a phone back from its new owner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, and_, or_, select, text, update

from orchestrator.audience.contacts import PLATFORM_OF, default_kind
from orchestrator.audience.erased import hold_addresses
from orchestrator.audience.rows import change, insert, slices
from orchestrator.audience.users import ensure_users, locate
from orchestrator.clock import to_micros
from orchestrator.store.tables import address


@dataclass(frozen=True, slots=True)
class AddressRow:
    """A user can be reached at ``value``: a token, an E.164 number (``country`` is its own), a mailbox, an endpoint.

    ``at`` is when the app registered or confirmed it; None when the source does not say. ``details`` and kind are as
    :func:`orchestrator.audience.contacts.check_contact` lets them pass.
    """

    external_user_id: str
    channel: str
    value: str
    at: datetime | None = None
    kind: str | None = None
    country: str | None = None
    platform: str | None = None
    details: Mapping[str, str] | None = None


def upsert_addresses(connection: Connection, rows: Sequence[AddressRow], now: datetime) -> int:
    """Take in addresses, a thousand or two at a time; how many rows brought something new.

    An address that arrives for another user ends there (``moved``) and begins here. Unknown users are added; a phone
    gives its country to a user who has none.
    """
    ids = ensure_users(connection, (row.external_user_id for row in rows), now)
    book = _Book(now, _rows_of(connection, ids.values(), rows))
    written = sum(book.take(row, ids[row.external_user_id]) for row in rows)
    book.write(connection)
    hold_addresses(connection, ((begun["channel"], begun["value"]) for begun in book.begun))
    locate(connection, {ids[row.external_user_id]: row.country for row in reversed(rows) if row.country}, now)
    return written


def _rows_of(connection: Connection, user_ids: Iterable[int], rows: Sequence[AddressRow]) -> list[RowMapping]:
    """All rows of these users, and whoever holds these values now."""
    found: dict[int, RowMapping] = {}
    for some in slices(list(user_ids)):
        for row in connection.execute(select(address).where(address.c.user_id.in_(some))).mappings():
            found[row["id"]] = row
    for channel in sorted({row.channel for row in rows}):
        for some in slices(list({row.value for row in rows if row.channel == channel})):
            holds = and_(address.c.channel == channel, address.c.value.in_(some), address.c.valid_until.is_(None))
            for row in connection.execute(select(address).where(holds)).mappings():
                found[row["id"]] = row
    return list(found.values())


_MORE = ("platform", "details")
_SET = ("last_seen_at", "valid_until", "end_reason", *_MORE)
_COLUMNS = ("user_id", "channel", "kind", "value", "country", "valid_from", *_SET)


class _Book:
    """What is known of a batch's addresses, kept up to date while the batch is taken in, and written at its end."""

    def __init__(self, now: datetime, rows: Iterable[RowMapping]) -> None:
        self.now = now
        self.begun: list[dict[str, Any]] = []
        self.changed: dict[int, dict[str, Any]] = {}
        self.current: dict[tuple[str, str], dict[str, Any]] = {}
        self.ended: dict[tuple[int, str, str], datetime] = {}
        for row in rows:
            if row["valid_until"] is None:
                self.current[row["channel"], row["value"]] = dict(row)
            else:
                self._remember(row["user_id"], row["channel"], row["value"], row["valid_until"])

    def _remember(self, user_id: int, channel: str, value: str, until: datetime) -> None:
        key = (user_id, channel, value)
        self.ended[key] = max(until, self.ended.get(key, until))

    def take(self, row: AddressRow, user_id: int) -> bool:
        """Whether the row brought something new."""
        holder = self.current.get((row.channel, row.value))
        if holder is not None and holder["user_id"] == user_id:
            return self._seen(holder, row)
        if self._is_old_news(row, user_id, holder):
            return False
        at = row.at or self.now
        if holder is not None:
            self._end(holder, at)
        self._begin(row, user_id, at)
        return True

    def _is_old_news(self, row: AddressRow, user_id: int, holder: dict[str, Any] | None) -> bool:
        ended = self.ended.get((user_id, row.channel, row.value))
        if row.at is None:
            return ended is not None
        past = [ended] if ended is not None else []
        if holder is not None:
            past.append(holder["last_seen_at"])
        return any(row.at <= instant for instant in past)

    def _seen(self, holder: dict[str, Any], row: AddressRow) -> bool:
        """Newer news replaces what is known besides the value; any news fills in what is not known."""
        newer = row.at is not None and row.at > holder["last_seen_at"]
        news: dict[str, Any] = {
            name: said
            for name, said in _more(row).items()
            if said is not None and said != holder[name] and (newer or holder[name] is None)
        }
        if newer:
            news["last_seen_at"] = row.at
        if news:
            self._set(holder, **news)
        return bool(news)

    def _end(self, holder: dict[str, Any], at: datetime) -> None:
        until = max(at, holder["valid_from"])
        self._set(holder, valid_until=until, end_reason="moved")
        self._remember(holder["user_id"], holder["channel"], holder["value"], until)

    def _set(self, row: dict[str, Any], **values: Any) -> None:
        row.update(values)
        if "id" in row:
            self.changed[row["id"]] = row

    def _begin(self, row: AddressRow, user_id: int, at: datetime) -> None:
        begun = {
            "user_id": user_id,
            "channel": row.channel,
            "kind": row.kind or default_kind(row.channel),
            "value": row.value,
            "country": row.country,
            "valid_from": at,
            "last_seen_at": at,
            "valid_until": None,
            "end_reason": None,
            **_more(row),
        }
        self.begun.append(begun)
        self.current[row.channel, row.value] = begun

    def write(self, connection: Connection) -> None:
        """Ends before beginnings: a value has one current row."""
        change(connection, address, _SET, [(*_raw(row, _SET), row["id"]) for row in self.changed.values()])
        insert(connection, address, _COLUMNS, [_raw(row, _COLUMNS) for row in self.begun])


def _more(row: AddressRow) -> dict[str, Any]:
    """What is said of an address besides its value; a kind may tell the platform."""
    kind = row.kind or default_kind(row.channel)
    return {"platform": row.platform or PLATFORM_OF.get(kind), "details": dict(row.details) if row.details else None}


def _raw(row: dict[str, Any], columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(_plain(row[name]) for name in columns)


def _plain(value: Any) -> Any:
    """A value as the driver takes it."""
    if isinstance(value, datetime):
        return to_micros(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode() if isinstance(value, dict) else value


def end_address(
    connection: Connection, address_id: int, reason: str, at: datetime, *, registered_before: datetime | None = None
) -> bool:
    """End an address: ``dead``, ``removed`` or ``moved``. Whether it was current, and older than ``registered_before``.

    A provider that says since when a token is dead says nothing about one the app has registered again since.
    """
    where = [address.c.id == address_id, address.c.valid_until.is_(None)]
    if registered_before is not None:
        where.append(address.c.last_seen_at < registered_before)
    return connection.execute(update(address).where(*where).values(valid_until=at, end_reason=reason)).rowcount > 0


def quarantine_address(connection: Connection, address_id: int, until: datetime) -> bool:
    """Leave a current address alone until an instant (storm guard); a longer quarantine is never cut short."""
    shorter = or_(address.c.quarantined_until.is_(None), address.c.quarantined_until < until)
    where = (address.c.id == address_id, address.c.valid_until.is_(None), shorter)
    return connection.execute(update(address).where(*where).values(quarantined_until=until)).rowcount > 0


def revive_address(connection: Connection, address_id: int) -> bool:
    """Take back that an address is dead: the provider's word was an incident. Not when somebody holds it by now."""
    return connection.execute(_REVIVE, {"id": address_id}).rowcount > 0


_REVIVE = text("""
    UPDATE address SET valid_until = NULL, end_reason = NULL
    WHERE id = :id AND end_reason = 'dead' AND value <> '' AND NOT EXISTS (
        SELECT 1 FROM address AS holder WHERE holder.channel = address.channel AND holder.value = address.value
        AND holder.valid_until IS NULL)""")
