"""Events: what users did. Taken in as often as they come, kept once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, select

from orchestrator.audience.rows import insert, slices
from orchestrator.audience.users import ensure_users
from orchestrator.clock import to_micros
from orchestrator.store.tables import event


@dataclass(frozen=True, slots=True)
class IncomingEvent:
    """Something a user did at an instant; ``source_id`` names it for ever, whoever tells of it and how often."""

    external_user_id: str
    name: str
    at: datetime
    source_id: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Source ids of the events that are new, and of those that were here before (or came twice in the batch)."""

    new: tuple[str, ...]
    known: tuple[str, ...]


_COLUMNS = ("user_id", "name", "at", "received_at", "source_id", "message_id", "properties")


def record_events(connection: Connection, events: Sequence[IncomingEvent], received_at: datetime) -> Recorded:
    """Keep events, each once by its source id; users who are not known yet are added.

    On PostgreSQL two transactions that bring the same event at the same moment may both call it new; it is kept once.
    """
    known = _known(connection, [one.source_id for one in events])
    new: dict[str, IncomingEvent] = {}
    again: list[str] = []
    for one in events:
        if one.source_id in known or one.source_id in new:
            again.append(one.source_id)
        else:
            new[one.source_id] = one
    ids = ensure_users(connection, (one.external_user_id for one in new.values()), received_at)
    received = to_micros(received_at)
    insert(connection, event, _COLUMNS, [_row(one, ids[one.external_user_id], received) for one in new.values()])
    return Recorded(tuple(new), tuple(again))


def add_events(
    connection: Connection, events: Sequence[tuple[int, str, int, str, str | None]], received_at: datetime
) -> int:
    """Keep events (user's id, name, microseconds, source id, JSON), each once by its source id; how many are new."""
    received = to_micros(received_at)
    rows = [(user, name, at, received, source_id, None, said) for user, name, at, source_id, said in events]
    return insert(connection, event, _COLUMNS, rows)


def _known(connection: Connection, source_ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in slices(source_ids):
        found.update(connection.execute(select(event.c.source_id).where(event.c.source_id.in_(some))).scalars())
    return found


def _row(one: IncomingEvent, user_id: int, received: int) -> tuple[Any, ...]:
    properties = orjson.dumps(one.properties).decode() if one.properties else None
    return (user_id, one.name, to_micros(one.at), received, one.source_id, one.message_id, properties)
