"""What an erased person had refused: hashed so that it holds again, and left without a name to the figures of runs.

A refusal for an address that others have too, or had, speaks of them as well: it stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, delete, not_, select

from orchestrator.audience import erased
from orchestrator.audience.contacts import KINDS_OF
from orchestrator.audience.erased import OptOut, of_address, of_user
from orchestrator.audience.rows import change, insert
from orchestrator.clock import to_micros
from orchestrator.store.tables import address, consent, suppression, users

Place = tuple[str, str]
"""A channel and an address."""
OWN_ID = frozenset(channel for channel, kinds in KINDS_OF.items() if kinds == ("user",))
"""Channels on which an address is the user's own name."""
_COUNTED = ("stop", "unsubscribe", "complaint")
"""Suppressions that reports lay to a message."""


def shared_places(connection: Connection, ids: Collection[int]) -> set[Place]:
    """Of a person's addresses those that others have too, or had. No index finds the latter."""
    values = {value for _, value in places_of(connection, ids)}
    others = select(address.c.channel, address.c.value).where(
        address.c.value.in_(values), address.c.user_id.not_in(ids)
    )
    return {(row.channel, row.value) for row in connection.execute(others)}


def held_by_others(connection: Connection, ids: Collection[int]) -> set[Place]:
    """Of a person's addresses those that are others' now: an index finds these."""
    found: set[Place] = set()
    places = places_of(connection, ids)
    for channel in sorted({channel for channel, _ in places}):
        values = [value for one, value in places if one == channel]
        theirs = (address.c.channel == channel, address.c.value.in_(values), address.c.valid_until.is_(None))
        rows = connection.execute(select(address.c.value).where(*theirs, address.c.user_id.not_in(ids)))
        found |= {(channel, value) for value in rows.scalars()}
    return found


def places_of(connection: Connection, ids: Collection[int]) -> dict[Place, int]:
    """Their addresses, each with whose it is or was."""
    mine = select(address.c.channel, address.c.value, address.c.user_id).where(address.c.user_id.in_(ids))
    return {(row.channel, row.value): row.user_id for row in connection.execute(mine) if row.value}


def _current_and_past(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> list[Row[Any]]:
    """Versions of either kind, for which each table has an index."""
    return [
        row
        for ended in (table.c.valid_until.is_(None), table.c.valid_until.is_not(None))
        for row in connection.execute(select(table).where(*conditions, ended))
    ]


def suppressions_of(connection: Connection, ids: Collection[int], places: Collection[Place]) -> list[Row[Any]]:
    """Those of the user, and of these addresses."""
    of_user = (suppression.c.user_id.in_(ids), suppression.c.user_id.is_not(None))
    found = _current_and_past(connection, suppression, *of_user)
    for channel in sorted({channel for channel, _ in places}):
        values = [value for one, value in places if one == channel]
        theirs = (
            suppression.c.channel == channel,
            suppression.c.address.in_(values),
            suppression.c.address.is_not(None),
        )
        found += _current_and_past(connection, suppression, *theirs)
    return found


def keep_refusals(connection: Connection, ids: Collection[int], shared: Collection[Place]) -> int:
    """What they refuse now, as hashes: of addresses, and of every name of theirs.

    On the app's own channels an address is such a name; a refusal for an address that is shared just stays.
    """
    seal = erased.begin(connection)
    names = connection.execute(select(users.c.external_id).where(users.c.id.in_(ids))).scalars()
    own = [seal(of_user(name)) for name in names]
    places = {one: seal(of_address(*one)) for one in places_of(connection, ids) if one not in shared}
    kept = []
    for row in suppressions_of(connection, ids, places):
        if row.valid_until is None:
            place = None if row.channel in OWN_ID else places.get((row.channel, row.address))
            digests = own if place is None else [place]
            kept += [OptOut(digest, row.channel, row.reason, row.valid_from) for digest in digests]
    refused = (consent.c.user_id.in_(ids), consent.c.valid_until.is_(None), not_(consent.c.granted))
    for row in connection.execute(select(consent).where(*refused)):
        kept += [OptOut(digest, row.channel, erased.REFUSED, row.valid_from, row.topic) for digest in own]
    return erased.keep(connection, [*own, *places.values()], kept)


def erase_suppressions(connection: Connection, ids: Collection[int], shared: Collection[Place], now: datetime) -> int:
    """How many. What a report lays to a message stays, as something that a number had once said."""
    places = places_of(connection, ids)
    found = suppressions_of(connection, ids, places)
    theirs = [row.id for row in found if (row.channel, row.address) not in shared]
    connection.execute(delete(suppression).where(suppression.c.id.in_(theirs)))
    columns = ("channel", "user_id", "reason", "source", "valid_from", "valid_until")
    husks = [
        (row.channel, whose, row.reason, erased.SOURCE, to_micros(row.valid_from), _ended(row, now))
        for row in found
        if (whose := row.user_id or places[row.channel, row.address]) and row.reason in _COUNTED
    ]
    insert(connection, suppression, columns, husks)
    return len(theirs)


def _ended(row: Row[Any], now: datetime) -> int:
    return to_micros(row.valid_until or max(now, row.valid_from))


def erase_consents(connection: Connection, ids: Collection[int], now: datetime) -> int:
    """How many. Where an agreement was taken back, that stays: reports lay it to a message."""
    rows = _current_and_past(connection, consent, consent.c.user_id.in_(ids))
    said: dict[tuple[int, str, str], set[bool]] = {}
    for row in rows:
        said.setdefault((row.user_id, row.channel, row.topic), set()).add(bool(row.granted))
    counted = [row for row in rows if len(said[row.user_id, row.channel, row.topic]) > 1]
    values = [(erased.SOURCE, _ended(row, now), row.id) for row in counted]
    change(connection, consent, ("source", "valid_until"), values)
    others = {row.id for row in rows} - {row.id for row in counted}
    connection.execute(delete(consent).where(consent.c.id.in_(others)))
    return len(rows)
