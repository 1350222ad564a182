"""Who came back: the first goal event within the goal's span of the run's opening for each member.

Members held out and treated are asked the same question over the same span, from the same anchor; who has no anchor
(no slot) is asked nothing. What is written is computed from *all* events of the member, so events may come late, twice
or in any order, and a pass may be repeated or killed: the end is the same.

A pass looks at members whose users have goal events that are new since the run's watermark (an event id, in ``meta``).
Ids of PostgreSQL become visible out of order, and SQLite uses the last id again after an erasure, so it starts a little
before it. Members of a run that was planned after its opening had events before they existed: a run without watermark
is gone through whole. Events that come more than two days after the last member's span are not looked at any more.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    type_coerce,
    update,
)

from orchestrator import metrics
from orchestrator.audience.aliases import gone
from orchestrator.campaign.spec import Goal
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import span_micros
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.states import RunState
from orchestrator.store import Store
from orchestrator.store.functions import json_number
from orchestrator.store.remember import remember
from orchestrator.store.tables import Instant, event, member, meta, run, slot, user_alias

GRACE = timedelta(days=2)
"""How late an event may come in and still count."""
AHEAD = timedelta(minutes=5)
"""How far in the future an event may lie when it comes in (see :mod:`orchestrator.tracking.ingest`)."""
OVERLAP = 500
CHUNK = 500
DONE = "done"
_PREFIX = "attribution:"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Attributed:
    """Members for whom this pass found a first reopen, or a first conversion."""

    reopened: int = 0
    converted: int = 0

    def __add__(self, other: Attributed) -> Attributed:
        return Attributed(self.reopened + other.reopened, self.converted + other.converted)


@dataclass(frozen=True, slots=True)
class _Run:
    """A run whose goal window is not over; ``watermark`` is None before its first pass."""

    id: int
    version: str
    watermark: int | None


@dataclass(frozen=True, slots=True)
class _Reach:
    """Between which instants the run opened for its members, and the newest event there is."""

    first: datetime
    last: datetime
    newest: int


def attribute(store: Store, now: datetime) -> Attributed:
    """One pass over every run that may still change; transactions are short, and nothing is locked while reading."""
    with store.read() as connection:
        runs = _open_runs(connection)
    found = Attributed()
    for one in runs:
        try:
            found += _pass(store, one, now)
        except OrchestratorError as error:  # its version cannot be read: the other runs go on
            log.error("attribution_failed", extra={"run_id": one.id, "error": error.message})  # noqa: TRY400
    metrics.attributed.labels("reopen").inc(found.reopened)
    metrics.attributed.labels("conversion").inc(found.converted)
    return found


def _open_runs(connection: Connection) -> list[_Run]:
    key = literal(_PREFIX, Text()) + cast(run.c.id, Text)
    rows = connection.execute(
        select(run.c.id, run.c.version, meta.c.value)
        .outerjoin(meta, meta.c.key == key)
        .where(run.c.state != RunState.PLANNING, meta.c.value.is_distinct_from(DONE))
        .order_by(run.c.id)
    )
    return [_Run(row.id, row.version, None if row.value is None else int(row.value)) for row in rows]


def _pass(store: Store, one: _Run, now: datetime) -> Attributed:
    with store.read() as connection:
        goal = read_bundle(connection, one.version).campaign.goal
        reach = _reach(connection, one.id)
    if reach is None:
        _remember(store, one.id, DONE)
        return Attributed()
    found = Attributed()
    if one.watermark is not None or reach.first <= now + AHEAD:
        changed = _changed(goal, everybody=one.watermark is None)
        for bounds in _pieces(store, one, reach.newest):
            found += _apply(store, one.id, changed, bounds)
    over = now >= reach.last + _span(goal) + GRACE
    if over or one.watermark != reach.newest:
        _remember(store, one.id, DONE if over else str(reach.newest))
    return found


def _span(goal: Goal) -> timedelta:
    return max(goal.within, goal.conversion.within) if goal.conversion else goal.within


def _reach(connection: Connection, run_id: int) -> _Reach | None:
    """None when the run opened for nobody."""
    anchors = select(func.min(slot.c.due_at), func.max(slot.c.due_at)).where(slot.c.run_id == run_id, slot.c.step == 0)
    first, last = connection.execute(anchors).one()
    if first is None:
        return None
    opened, enrols_until, closes_at = connection.execute(_TIMES.where(run.c.id == run_id)).one()
    if enrols_until is not None:  # members join one by one, and slots are those of the last who did
        first, last = opened, closes_at
    return _Reach(first, last, connection.execute(select(func.max(event.c.id))).scalar() or 0)


_TIMES = select(run.c.created_at, run.c.enrols_until, run.c.closes_at)
_Bounds = dict[str, int]


def _pieces(store: Store, one: _Run, newest: int) -> Iterator[_Bounds]:
    """Some members, or some new events, at a time: together they name all who may have changed."""
    if one.watermark is None:
        yield from _member_ranges(store, one.id)
        return
    for low in range(max(0, min(one.watermark, newest) - OVERLAP), newest, CHUNK):
        yield {"low": low, "high": min(low + CHUNK, newest)}


def _among_members() -> ColumnElement[bool]:
    return (member.c.user_id > bindparam("low")) & (member.c.user_id <= bindparam("high"))


def _among_events(goal: Goal) -> ColumnElement[bool]:
    names = [goal.event, goal.conversion.event] if goal.conversion else [goal.event]
    lately = (event.c.id > bindparam("low")) & (event.c.id <= bindparam("high")) & event.c.name.in_(names)
    merged = select(user_alias.c.old_user_id).join(event, event.c.user_id == user_alias.c.user_id).where(lately)
    return member.c.user_id.in_(select(event.c.user_id).where(lately).union_all(merged))


def _member_ranges(store: Store, run_id: int) -> Iterator[_Bounds]:
    low: int | None = 0
    while low is not None:
        page = select(member.c.user_id).where(member.c.run_id == run_id, member.c.user_id > low)
        last = select(func.max(page.order_by(member.c.user_id).limit(CHUNK).subquery().c.user_id))
        with store.read() as connection:
            high = connection.execute(last).scalar()
        if high is not None:
            yield {"low": low, "high": high}
        low = high


def _within(name: str, span: timedelta) -> ColumnElement[bool]:
    """Whether an event is the member's, of that name, and in ``[anchor, anchor + span)``."""
    anchor, at = type_coerce(member.c.anchor, BigInteger), type_coerce(event.c.at, BigInteger)
    inside = (at >= anchor) & (at < anchor + span_micros(span))
    return (event.c.user_id == _person()) & (event.c.name == name) & inside


def _person() -> ColumnElement[int]:
    """Whose events a member's are: their own, or those of whom they were merged into."""
    now = select(user_alias.c.user_id).where(user_alias.c.old_user_id == member.c.user_id).correlate(member)
    return func.coalesce(now.scalar_subquery(), member.c.user_id)


def _not_erased() -> ColumnElement[bool]:
    """Whose events are gone, or just going, did come back if they were once found to have."""
    return not_(gone(_person()))


def _first(name: str, span: timedelta) -> ScalarSelect[Any]:
    return select(func.min(event.c.at)).where(_within(name, span)).correlate(member).scalar_subquery()


@lru_cache(maxsize=128)
def _changed(goal: Goal, *, everybody: bool) -> Select[Any]:
    """What should stand with which members of ``:of_run``, where it does not stand there yet.

    Between ``:low`` and ``:high`` are members, or else new events. Made once: that takes longer than most answers.
    """
    conversion = goal.conversion
    converted: ColumnElement[Any] = cast(null(), BigInteger)
    value: ColumnElement[Any] = cast(null(), Float)
    if conversion is not None:
        converted = _first(conversion.event, conversion.within)
        if conversion.value is not None:
            total = select(func.sum(json_number(event.c.properties, conversion.value)))
            value = total.where(_within(conversion.event, conversion.within)).correlate(member).scalar_subquery()
    truth = select(
        member.c.user_id,
        member.c.reopened_at.label("old_reopened"),
        member.c.converted_at.label("old_converted"),
        member.c.conversion_value.label("old_value"),
        _first(goal.event, goal.within).label("reopened"),
        type_coerce(converted, Instant).label("converted"),
        type_coerce(value, Float).label("value"),
    )
    which = _among_members() if everybody else _among_events(goal)
    rows = truth.where(
        member.c.run_id == bindparam("of_run"), member.c.anchor.is_not(None), which, _not_erased()
    ).subquery()
    return select(rows).where(
        or_(*(rows.c[f"old_{name}"].is_distinct_from(rows.c[name]) for name in ("reopened", "converted", "value")))
    )


_SET = (
    update(member)
    .where(member.c.run_id == bindparam("in_run"), member.c.user_id == bindparam("of_user"))
    .values(reopened_at=bindparam("reopened"), converted_at=bindparam("converted"), conversion_value=bindparam("value"))
)


def _apply(store: Store, run_id: int, changed: Select[Any], bounds: _Bounds) -> Attributed:
    """Write what changed. Most pieces change nothing and take no write lock."""
    asked = bounds | {"of_run": run_id}
    with store.read() as connection:
        if connection.execute(changed, asked).first() is None:
            return Attributed()
    with store.write() as connection:
        # one at a time per run: an older view of the events must never overwrite a newer one
        connection.execute(select(run.c.id).where(run.c.id == run_id).with_for_update())
        rows = connection.execute(changed, asked).all()
        if rows:
            connection.execute(_SET, [_values(run_id, row) for row in rows])
    return Attributed(
        sum(row.old_reopened is None and row.reopened is not None for row in rows),
        sum(row.old_converted is None and row.converted is not None for row in rows),
    )


def _values(run_id: int, row: Any) -> dict[str, Any]:
    return {
        "in_run": run_id,
        "of_user": row.user_id,
        "reopened": row.reopened,
        "converted": row.converted,
        "value": row.value,
    }


def _remember(store: Store, run_id: int, value: str) -> None:
    with store.write() as connection:
        remember(connection, f"{_PREFIX}{run_id}", value)
