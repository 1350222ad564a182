"""Two users who are one person become one: nothing is lost, and what was sent to either can still be explained.

Addresses, consents, suppressions and events move to the user who stays, with their history. The other keeps the row,
members and messages: their ids embed the user, and a run's members must go on adding up. The old name means the user
who stays from then on, whoever uses it.

Where the two disagree about a consent, the history is put in order of time; and who has refused under either name when
they are merged has refused: a merge never makes anybody reachable who was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Table, delete, func, insert, select, text, update

from orchestrator.audience.aliases import erased_among, family
from orchestrator.audience.consents import ConsentChange, set_consents
from orchestrator.audience.users import user_ids
from orchestrator.audience.whereabouts import zone_key
from orchestrator.clock import Clock
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger.leaving import MERGED, leave
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.engine import Store
from orchestrator.store.tables import (
    address,
    best_hour,
    consent,
    event,
    opt_in,
    suppression,
    user_alias,
    users,
    waiting,
)

CHUNK = 1_000
"""Events that move in one transaction, at most."""
SOURCE = "merge"


@dataclass(frozen=True, slots=True)
class Merged:
    """What moved. ``messages`` waited for the merged user, and leave unsent."""

    kept: str
    merged: str
    events: int
    addresses: int
    consents: int
    suppressions: int
    messages: int


def merge_users(store: Store, keep: str, other: str, clock: Clock, actor: str) -> Merged:
    """Make ``other`` the same person as ``keep`` (both the app's own names).

    Events move a thousand at a time before all the rest moves at once: who was interrupted repeats it.

    Raises:
        NotFoundError: one of them is not known.
        InputError: they are one user already.
    """
    with store.read() as connection:
        kept, old = _ids(connection, keep, other)
    moved, more = 0, True
    while more:
        with store.write() as connection:
            some = _move_events(connection, old, kept)
        moved, more = moved + some, some == CHUNK
    with store.write() as connection:
        _ids(connection, keep, other)  # nobody else has merged them meanwhile
        return _merge(connection, (keep, kept), (other, old), moved, clock.now(), actor)


def _ids(connection: Connection, keep: str, other: str) -> tuple[int, int]:
    found = user_ids(connection, [keep, other])
    for name in (keep, other):
        if name not in found:
            raise NotFoundError(f"there is no user {name[:64]!r}", hint="give the ids that the app uses")
    if found[keep] == found[other]:
        raise InputError(f"{keep[:64]!r} and {other[:64]!r} are one user already")
    if erased_among(connection, [found[keep], found[other]]):
        raise InputError("one of them is being erased", hint="`orchestrator erase` ends it; there is nothing to merge")
    return found[keep], found[other]


def _move_events(connection: Connection, old: int, kept: int) -> int:
    some = select(event.c.id).where(event.c.user_id == old).limit(CHUNK).scalar_subquery()
    return connection.execute(update(event).where(event.c.id.in_(some)).values(user_id=kept)).rowcount


def _merge(
    connection: Connection, keep: tuple[str, int], other: tuple[str, int], moved: int, now: datetime, actor: str
) -> Merged:
    kept, old = keep[1], other[1]
    connection.execute(update(user_alias).where(user_alias.c.user_id == old).values(user_id=kept))
    connection.execute(insert(user_alias).values(old_user_id=old, user_id=kept, merged_at=now, actor=actor))
    words = f"{other[0][:64]} into {keep[0][:64]}"
    record(connection, [Transition(now, "merged", actor, reason=words)])
    _fill_in(connection, kept, old, now)
    _move(connection, opt_in, old, kept)  # before the consents: a refusal of either ends them
    connection.execute(_STILL_WAITS, {"old": old, "kept": kept})
    connection.execute(delete(waiting).where(waiting.c.user_id == old))
    connection.execute(delete(best_hour).where(best_hour.c.user_id == old))
    connection.execute(_LOOK_AGAIN, {"user": kept, "hours": "", "never": 0})
    return Merged(
        kept=keep[0],
        merged=other[0],
        events=moved + _move(connection, event, old, kept),
        addresses=_move_addresses(connection, old, kept, now),
        consents=_move_consents(connection, old, kept, now),
        suppressions=_move(connection, suppression, old, kept),
        messages=leave(connection, old, MERGED, now, actor),
    )


_STILL_WAITS = text("""
    INSERT INTO waiting (campaign, user_id, event_id, event_at, due_at)
    SELECT campaign, :kept, event_id, event_at, due_at FROM waiting WHERE user_id = :old
    ON CONFLICT (campaign, user_id) DO UPDATE
        SET event_id = excluded.event_id, event_at = excluded.event_at, due_at = excluded.due_at
        WHERE excluded.event_at > waiting.event_at
           OR (excluded.event_at = waiting.event_at AND excluded.event_id > waiting.event_id)""")
"""What either did last is what triggered campaigns wait for."""
_LOOK_AGAIN = text("""
    INSERT INTO best_hour (user_id, channel, hours, opens, until, computed_at)
    VALUES (:user, '', :hours, :never, :never, :never)
    ON CONFLICT (user_id, channel) DO UPDATE SET computed_at = excluded.computed_at""")
"""The best hours of a user whose events have changed unseen: to be computed again at the next pass."""


def _move(connection: Connection, table: Table, old: int, kept: int) -> int:
    return connection.execute(update(table).where(table.c.user_id == old).values(user_id=kept)).rowcount


def _move_addresses(connection: Connection, old: int, kept: int, now: datetime) -> int:
    """All but the user's own id, which is an address on the app's own channels: it means who stays from now on."""
    own = (address.c.user_id == old, address.c.kind == "user")
    ended = update(address).where(*own, address.c.valid_until.is_(None)).values(valid_until=now, end_reason="moved")
    connection.execute(ended)
    others = update(address).where(address.c.user_id == old, address.c.kind != "user")
    return connection.execute(others.values(user_id=kept)).rowcount


def _move_consents(connection: Connection, old: int, kept: int, now: datetime) -> int:
    mine = select(consent).where(consent.c.user_id == old)
    versions = connection.execute(mine.order_by(consent.c.valid_from, consent.c.id)).all()
    refused = _refused(connection, (old, kept))
    connection.execute(delete(consent).where(consent.c.user_id == old))
    statements = [
        ConsentChange(kept, one.channel, one.topic, one.granted, one.source, one.valid_from, dated=True)
        for one in versions
    ]
    kept_refusals = [ConsentChange(kept, *key, granted=False, source=SOURCE, at=now) for key in sorted(refused)]
    set_consents(connection, [*statements, *kept_refusals])
    return len(versions)


def _refused(connection: Connection, ids: tuple[int, int]) -> set[tuple[str, str]]:
    """What one of the two refuses now."""
    current = (consent.c.user_id.in_(ids), consent.c.valid_until.is_(None), ~consent.c.granted)
    return set(connection.execute(select(consent.c.channel, consent.c.topic).where(*current)).all())


_OWN = ("name", "locale", "zone", "country")


def _fill_in(connection: Connection, kept: int, old: int, now: datetime) -> None:
    """What only the old user was known to be; the old row keeps what it says."""
    rows = {row.id: row for row in connection.execute(select(users).where(users.c.id.in_([kept, old])))}
    values: dict[str, Any] = {name: getattr(rows[kept], name) or getattr(rows[old], name) for name in _OWN}
    values["attributes"] = {**rows[old].attributes, **rows[kept].attributes}
    values["zone_key"] = zone_key(values["zone"], values["country"])
    connection.execute(update(users).where(users.c.id == kept).values(**values, updated_at=now))


# --- one user, to look at --------------------------------------------------------------------------------------------


def show_user(connection: Connection, external_id: str) -> dict[str, Any]:
    """What is known of a user, under whichever of their names; addresses are shown by their last four characters.

    Raises:
        NotFoundError: there is no such user.
    """
    found = user_ids(connection, [external_id])
    if external_id not in found:
        raise NotFoundError(f"there is no user {external_id[:64]!r}", hint="give the id that the app uses")
    ids = family(connection, found[external_id])
    row = connection.execute(select(users).where(users.c.id == ids[0])).one()
    names = dict(connection.execute(select(users.c.id, users.c.external_id).where(users.c.id.in_(ids))).all())
    return {
        "user": row.external_id,
        "also_called": [names[one] for one in ids[1:]],
        **{name: getattr(row, name) for name in (*_OWN, "attributes", "created_at", "updated_at")},
        "addresses": _rows(connection, address, ids[0], _address),
        "ended_addresses": [_ended(row) for row in connection.execute(_ENDED.where(address.c.user_id == ids[0]))],
        "consents": _rows(connection, consent, ids[0], _consent),
        "suppressions": _rows(connection, suppression, ids[0], _suppression),
        "events": dict(connection.execute(_EVENTS.where(event.c.user_id == ids[0])).all()),
    }


_EVENTS = select(event.c.name, func.count()).group_by(event.c.name).order_by(event.c.name)


def _rows(connection: Connection, table: Table, user_id: int, shown: Any) -> list[dict[str, Any]]:
    current = select(table).where(table.c.user_id == user_id, table.c.valid_until.is_(None)).order_by(table.c.id)
    return [shown(row) for row in connection.execute(current)]


_ENDED = select(address).where(address.c.valid_until.is_not(None)).order_by(address.c.valid_until.desc()).limit(20)


def _address(row: Row[Any]) -> dict[str, Any]:
    shown = {"channel": row.channel, "address": f"…{row.value[-4:]}", "last_seen_at": row.last_seen_at}
    return shown | ({"set_aside_until": row.quarantined_until} if row.quarantined_until else {})


def _ended(row: Row[Any]) -> dict[str, Any]:
    ended = {"ended_at": row.valid_until, "reason": row.end_reason}
    return {"channel": row.channel, "address": f"…{row.value[-4:]}", "last_seen_at": row.last_seen_at, **ended}


def _consent(row: Row[Any]) -> dict[str, Any]:
    return {"channel": row.channel, "topic": row.topic, "granted": row.granted, "since": row.valid_from}


def _suppression(row: Row[Any]) -> dict[str, Any]:
    return {"channel": row.channel, "reason": row.reason, "source": row.source, "since": row.valid_from}
