"""Somebody is erased: nothing that says who they were stays, and what they had refused is kept as keyed hashes alone.

The row of the user stays, under a name that nobody can guess, with members, messages, attempts and receipts: their ids
embed the user, and a run's figures must go on adding up. What its reports count beside them stays as well, without
whatever identifies: that messages were opened or clicked, and that the person refused then. Rows of addresses stay as
husks, since SQLite would give their numbers to others', whom messages would go to.

First the user leaves every audience (they are *merged into themselves*), then events go a thousand at a time, at last
all the rest in one transaction, in which the app's id becomes free. Who was interrupted repeats it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, update

from orchestrator.audience import erased
from orchestrator.audience.aliases import erased_among, family
from orchestrator.audience.contacts import KINDS_OF
from orchestrator.audience.erased_refusals import (
    Place,
    erase_consents,
    erase_suppressions,
    held_by_others,
    keep_refusals,
    places_of,
    shared_places,
    suppressions_of,
)
from orchestrator.audience.refused import note
from orchestrator.audience.rows import change, insert
from orchestrator.audience.users import user_ids
from orchestrator.clock import Clock, to_micros
from orchestrator.errors import NotFoundError
from orchestrator.ledger.leaving import ERASED, leave
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.engine import Store
from orchestrator.store.tables import (
    address,
    best_hour,
    campaign,
    consent,
    enrolled,
    event,
    inbox_item,
    message,
    opt_in,
    receipt,
    run,
    transition,
    user_alias,
    users,
    waiting,
)

CHUNK = 1_000
"""Events that go in one transaction, at most."""
HUSK = "erased"
"""What stands where a name stood, with something random behind it; and why an address ended."""
COUNTED = ("message_opened", "link_clicked")
"""Events about a message that reports count."""
_CONFIDENCE = ("human", "suspect", "machine")
"""What reports read in them, and believe; another word counts as suspect."""
_HASHED = re.compile(r" [0-9a-f]{12}$")
_SHOWN_NAME = 64
"""As many characters of a name as a merge writes down."""


@dataclass(frozen=True, slots=True)
class Erased:
    """What went, in rows; ``messages`` waited, and leave unsent. The last two stay: hashed, and nobody's any more."""

    users: int
    addresses: int
    events: int
    consents: int
    suppressions: int
    inbox_items: int
    messages: int
    opt_outs: int
    touches: int


def erase_user(store: Store, name: str, clock: Clock, actor: str) -> Erased:
    """Erase a person, under whichever of the names that the app calls them by.

    Raises:
        NotFoundError: there is no such user (any more).
        ConfigError: the key for what they had refused is not there, or not the one it was.
    """
    with store.write() as connection:
        ids, left = _leave_audiences(connection, name, clock.now(), actor)
    events, more = _Events(), True
    while more:
        with store.write() as connection:
            more = _erase_events(connection, ids, events)
    with store.read() as connection:
        known = _look(connection, ids)
    with store.write() as connection:
        done = _erase(connection, ids, known, events, clock.now(), actor)
    return replace(done, messages=left + done.messages)


def known_of(connection: Connection, name: str) -> dict[str, int]:
    """How many rows of each kind an erasure would end, and how many messages that have left it would make nobody's.

    Raises:
        NotFoundError: there is no such user.
    """
    ids = _family(connection, name)
    tables = {"addresses": address, "events": event, "consents": consent, "inbox_items": inbox_item}
    counts = {what: _count(connection, table, table.c.user_id.in_(ids)) for what, table in tables.items()}
    places = places_of(connection, ids).keys() - shared_places(connection, ids)
    counts["suppressions"] = len(suppressions_of(connection, ids, places))
    sent = _count(connection, message, message.c.user_id.in_(ids) & message.c.sent_at.is_not(None))
    return {"users": len(ids), **counts, "messages_sent": sent}


def _count(connection: Connection, table: Table, condition: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(table).where(condition)).scalar_one()


def _family(connection: Connection, name: str) -> tuple[int, ...]:
    found = user_ids(connection, [name]).get(name)
    if found is None or (name.startswith(f"{HUSK}:") and erased_among(connection, [found])):
        hint = "give the id that the app uses; who was erased is not known any more"
        raise NotFoundError(f"there is no user {name[:64]!r}", hint=hint)
    return family(connection, found)


def _leave_audiences(connection: Connection, name: str, now: datetime, actor: str) -> tuple[tuple[int, ...], int]:
    """Who they are, and how many messages do not wait any more: no segment has them, nothing is planned for them."""
    ids = _family(connection, name)
    erased.begin(connection)
    columns = ("old_user_id", "user_id", "merged_at", "actor")
    insert(connection, user_alias, columns, [(ids[0], ids[0], to_micros(now), actor)])
    return ids, sum(leave(connection, one, ERASED, now, actor) for one in ids)


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Events:
    """How many went, and up to which all have been looked at."""

    gone: int = 0
    through: int = 0


def _erase_events(connection: Connection, ids: Collection[int], done: _Events) -> bool:
    """The next thousand events; whether there may be more."""
    columns = (event.c.id, event.c.name, event.c.message_id, event.c.properties)
    mine = select(*columns).where(event.c.user_id.in_(ids), event.c.id > done.through).order_by(event.c.id).limit(CHUNK)
    rows = connection.execute(mine).all()
    kept = [row for row in rows if row.message_id is not None and row.name in COUNTED]
    others = {row.id for row in rows} - {row.id for row in kept}
    connection.execute(delete(event).where(event.c.id.in_(others)))
    change(
        connection, event, ("source_id", "properties"), [(_random(), _shown(row.properties), row.id) for row in kept]
    )
    done.gone += len(others)
    done.through = rows[-1].id if rows else done.through
    return len(rows) == CHUNK


def _random() -> str:
    return f"{HUSK}:{secrets.token_urlsafe(16)}"


def _shown(properties: dict[str, Any] | None) -> str | None:
    said = (properties or {}).get("confidence")
    if not isinstance(said, str):
        return None
    return orjson.dumps({"confidence": said if said in _CONFIDENCE else "suspect"}).decode()


# --- all the rest, in one transaction ---------------------------------------------------------------------------------


def _erase(
    connection: Connection, ids: tuple[int, ...], known: _Beforehand, events: _Events, now: datetime, actor: str
) -> Erased:
    if connection.dialect.name == "postgresql":
        events.through = max(0, events.through - CHUNK)  # ids become visible out of order
    while _erase_events(connection, ids, events):  # what came in meanwhile
        pass
    messages = sum(leave(connection, one, ERASED, now, actor) for one in ids)
    shared = {*known.shared, *held_by_others(connection, ids)}  # meanwhile some may have moved
    opt_outs = keep_refusals(connection, ids, shared)
    done = Erased(
        users=len(ids),
        events=events.gone,
        suppressions=erase_suppressions(connection, ids, shared, now),
        consents=erase_consents(connection, ids, now),
        addresses=_erase_addresses(connection, ids, now),
        inbox_items=_delete(connection, inbox_item, ids),
        messages=messages,
        opt_outs=opt_outs,
        touches=_count(connection, event, event.c.user_id.in_(ids)),
    )
    for table in (opt_in, best_hour):
        _delete(connection, table, ids)
    _delete(connection, waiting, ids, waiting.c.campaign.in_(select(campaign.c.name)))
    triggered = select(run.c.id).where(run.c.enrols_until.is_not(None), run.c.forgotten_at.is_(None))
    _delete(connection, enrolled, ids, enrolled.c.run_id.in_(triggered))
    connection.execute(update(transition).where(transition.c.id.in_(known.acts)).values(reason=None))
    for one in known.receipts:
        connection.execute(update(receipt).where(receipt.c.id == one).values(status=_random()))
    _erase_names(connection, ids, now, actor)
    return done


def _delete(connection: Connection, table: Table, ids: Collection[int], *more: ColumnElement[bool]) -> int:
    return connection.execute(delete(table).where(table.c.user_id.in_(ids), *more)).rowcount


@dataclass(frozen=True, slots=True)
class _Beforehand:
    """What no index finds, and is read before the last transaction: nobody else waits for it."""

    acts: Sequence[int]
    """The lines of history that name them: what was merged into whom, and copies that they got as seeds."""
    shared: Collection[Place]
    """Addresses that others have too, or had: a refusal for one speaks of them as well."""
    receipts: Sequence[int]
    """Those whose status ends with a plain hash of another address of theirs, which a report had named."""


def _look(connection: Connection, ids: Collection[int]) -> _Beforehand:
    names = connection.execute(select(users.c.external_id).where(users.c.id.in_(ids))).scalars().all()
    said = select(transition.c.id, transition.c.reason).where(transition.c.message_id.is_(None))
    lines = connection.execute(said.where(transition.c.new.in_(_NAMING))).all()
    acts = [row.id for row in lines if any(_names(row.reason or "", name) for name in names)]
    named = select(receipt.c.id, receipt.c.status).join(message, message.c.id == receipt.c.message_id)
    theirs = named.where(message.c.user_id.in_(ids), message.c.sent_at.is_not(None))
    receipts = [row.id for row in connection.execute(theirs) if _HASHED.search(row.status)]
    return _Beforehand(acts, shared_places(connection, ids), receipts)


_NAMING = ("merged", "test_sent")


def _names(words: str, name: str) -> bool:
    """Whether a merge, or a copy for a seed, was of this name."""
    shown = name[:_SHOWN_NAME]
    return words.startswith((f"{shown} into ", f"seed {name}: ")) or words.endswith(f" into {shown}")


def _erase_addresses(connection: Connection, ids: Collection[int], now: datetime) -> int:
    """How many; their rows stay, with when they were somebody's."""
    blank = {"value": "", "country": None, "platform": None, "details": None, "quarantined_until": None}
    ended = {
        "valid_until": func.coalesce(address.c.valid_until, to_micros(now)),
        "end_reason": func.coalesce(address.c.end_reason, HUSK),
    }
    return connection.execute(update(address).where(address.c.user_id.in_(ids)).values(**blank, **ended)).rowcount


def _erase_names(connection: Connection, ids: Collection[int], now: datetime, actor: str) -> None:
    """Now the app's ids are free; and nothing tells any more that these numbers were one person."""
    blank: dict[str, Any] = {
        "name": None,
        "locale": None,
        "zone": None,
        "country": None,
        "zone_key": "",
        "attributes": {},
    }
    for one in ids:
        renamed = update(users).where(users.c.id == one)
        connection.execute(renamed.values(**blank, external_id=_random(), updated_at=now))
    connection.execute(delete(user_alias).where(user_alias.c.old_user_id.in_(ids)))
    alone = [{"old_user_id": one, "user_id": one, "merged_at": now, "actor": actor} for one in ids]
    connection.execute(user_alias.insert(), alone)
    note(connection, ((channel, one) for channel in KINDS_OF for one in ids))
    numbers = ", ".join(map(str, sorted(ids)))
    record(connection, [Transition(now, "erased", actor, reason=f"user {numbers}")])
