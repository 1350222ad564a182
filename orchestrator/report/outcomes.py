"""What became of every member, one row each, for the warehouse. No addresses and no texts are in it.

Members are read a few thousand at a time in the order of their key, with their messages and opens, so that memory does
not grow with the campaign. Decision and reason are those the report counts: a pivot of this file is the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select

from orchestrator.campaign.occasions import labelled
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.states import State
from orchestrator.report.members import DECISIONS, PENDING, RANK, REASONED, runs_of
from orchestrator.report.touches import CLICKED, KINDS, OPENED, confidence
from orchestrator.report.values import Launched
from orchestrator.store.tables import event, lane, member, message, run, users

CHUNK = 2_000
COLUMNS: Mapping[str, type] = {
    "campaign": str,
    "run_id": int,
    "run_date": str,
    "user": str,
    "arm": str,
    "held_out": bool,
    "decision": str,
    "reason": str,
    "zone": str,
    "country": str,
    "opened_for_member_at": datetime,
    "first_open_at": datetime,
    "opened_by": str,
    "clicked_by": str,
    "reopened_at": datetime,
    "converted_at": datetime,
    "conversion_value": float,
}
"""Names and types of the columns about a member. ``opened_by`` and ``clicked_by``: human, suspect or machine."""
OF_STEP: Mapping[str, type] = {"channel": str, "state": str, "reason": str, "sent_at": datetime, "state_at": datetime}
"""The columns there are for every step: ``step1_channel`` …"""

Outcome = tuple[Any, ...]
"""One row, in the order of the table's columns; None where there is nothing to say."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The whole table: names and types of its columns, and its rows (to be read once, in the same transaction)."""

    columns: Mapping[str, type]
    rows: Iterator[Outcome]


@dataclass(frozen=True, slots=True)
class _Touch:
    """The best open or click of one message."""

    name: str
    rank: int
    at: datetime


def outcomes(connection: Connection, launched: Launched, chunk: int = CHUNK) -> Outcomes:
    """All members of the runs that ``launched`` is about, by run and user."""
    mine = runs_of(launched)
    steps = sorted(connection.execute(select(lane.c.step).distinct().where(lane.c.run_id.in_(mine))).scalars())
    columns = dict(COLUMNS) | {f"step{step}_{name}": kind for step in steps for name, kind in OF_STEP.items()}
    return Outcomes(columns, _rows(connection, launched, steps, chunk))


def _rows(connection: Connection, launched: Launched, steps: Sequence[int], chunk: int) -> Iterator[Outcome]:
    columns = (run.c.id, run.c.version, run.c.local_date, run.c.fires_at)
    query = select(*columns).where(run.c.id.in_(runs_of(launched))).order_by(run.c.id)
    for run_id, *called in connection.execute(query).all():
        day = labelled(connection, *called)
        last = 0
        while some := _members(connection, run_id, last, chunk):
            found = _messages(connection, run_id, last, some[-1].user_id)
            touches = _touches(connection, run_id, last, some[-1].user_id)
            for one in some:
                mine = found.get(one.user_id, {})
                yield (launched.name, run_id, day, *_row(one, mine, touches.get(one.user_id, ()), steps))
            last = some[-1].user_id


def _members(connection: Connection, run_id: int, last: int, chunk: int) -> Sequence[Row[Any]]:
    return connection.execute(
        select(member, users.c.external_id)
        .join_from(member, users, users.c.id == member.c.user_id, isouter=True)
        .where(member.c.run_id == run_id, member.c.user_id > last)
        .order_by(member.c.user_id)
        .limit(chunk)
    ).all()


def _between(run_id: int, last: int, until: int) -> Any:
    """Messages of some users of a run, by their ids alone: those embed run and user."""
    low, high = message_id(run_id, last + 1, 0), message_id(run_id, until + 1, 0)
    return and_(message.c.id >= low, message.c.id < high)


def _messages(connection: Connection, run_id: int, last: int, until: int) -> dict[int, dict[int, Any]]:
    columns = [message.c[name] for name in ("user_id", "step", "state", "reason", "sent_at", "state_at")]
    joined = message.outerjoin(lane, lane.c.id == message.c.lane_id)
    query = select(*columns, lane.c.channel).select_from(joined).where(_between(run_id, last, until))
    found: dict[int, dict[int, Any]] = {}
    for row in connection.execute(query):
        found.setdefault(row.user_id, {})[row.step] = row
    return found


def _touches(connection: Connection, run_id: int, last: int, until: int) -> dict[int, list[_Touch]]:
    rank = confidence().label("rank")
    query = (
        select(message.c.user_id, event.c.name, rank, func.min(event.c.at).label("at"))
        .join_from(message, event, event.c.message_id == message.c.id)
        .where(_between(run_id, last, until), event.c.name.in_([OPENED, CLICKED]), message.c.sent_at.is_not(None))
        .group_by(message.c.user_id, event.c.name, rank)
    )
    found: dict[int, list[_Touch]] = {}
    for row in connection.execute(query):
        found.setdefault(row.user_id, []).append(_Touch(row.name, row.rank, row.at))
    return found


def _row(one: Row[Any], mine: Mapping[int, Row[Any]], touches: Sequence[_Touch], steps: Sequence[int]) -> Outcome:
    opens, clicks = ([touch for touch in touches if touch.name == name] for name in (OPENED, CLICKED))
    human = [touch.at for touch in touches if touch.rank == 0]
    return (
        *(one.external_id, one.arm, bool(one.held_out), *_decision(one, mine), one.zone_key, one.country, one.anchor),
        *(min(human, default=None), _best(opens), _best(clicks)),
        *(one.reopened_at, one.converted_at, one.conversion_value),
        *(value for step in steps for value in _step(mine.get(step))),
    )


def _step(row: Row[Any] | None) -> Outcome:
    return tuple(getattr(row, name) for name in OF_STEP) if row else (None,) * len(OF_STEP)


def _best(touches: Sequence[_Touch]) -> str | None:
    return KINDS[min(touch.rank for touch in touches)] if touches else None


def _decision(one: Row[Any], mine: Mapping[int, Row[Any]]) -> tuple[str, str | None]:
    """As :mod:`orchestrator.report.members` has it in SQL; a test holds the two equal."""
    if not mine:
        return (State.SKIPPED.value, one.reason) if one.decision == "skipped" else (PENDING, None)
    _, step = min((RANK[State(row.state)], step) for step, row in mine.items())
    decision = DECISIONS[RANK[State(mine[step].state)]]
    return decision, mine[step].reason if decision in REASONED else None
