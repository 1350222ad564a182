"""Steps that wait for something to happen: planned for the end of their wait, and brought forward when it does.

New events and receipts are read by cursor; they only say whose messages to look at. When it first happened is asked of
the ledger, in one statement a step, so that reading an event twice, late or not at all does no harm: what is missed
here is found by the gate when the wait is over. The gate has the last word in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Connection, TextClause, text

from orchestrator import metrics
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock, from_micros, span_micros, to_micros
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.ids import MAX_STEPS, ids_of_run, message_id, parts
from orchestrator.ledger.states import State
from orchestrator.ledger.transition import Transition, record
from orchestrator.plan import heard
from orchestrator.plan.rules import wait_of
from orchestrator.policy.cues import DELIVERED, Wait, first_at
from orchestrator.store import Store
from orchestrator.store.dialect import among, of_run_sql, one_of_sql, within_sql

EVENTS, RECEIPTS = "awaken", "awaken:receipts"
"""Whose cursors they are."""
WOKEN = "woken"
PAGE = 500
"""Events, receipts or messages of one transaction."""
_ACTOR = "scheduler"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step of a run that waits; ``since``: nobody waited before then. What had happened by then planning has seen."""

    run: int
    step: int
    channel: str
    wait: Wait
    since: datetime


def waiting(connection: Connection) -> list[Waiting]:
    """Every step of a run that waits for something: of one that is still being planned too, or its first are missed."""
    found = []
    for row in connection.execute(_ACTIVE).all():
        try:
            campaign = read_bundle(connection, row.version).campaign
        except OrchestratorError:  # this release cannot read the version: the worker says so
            continue
        steps = [(step, wait) for step in campaign.steps if (wait := wait_of(campaign, step)) is not None]
        since = from_micros(row.as_of)
        found += [Waiting(row.id, step.index, step.channel, wait, since) for step, wait in steps]
    return found


def awaken(store: Store, clock: Clock) -> int:
    """Bring forward what has been waited for, and give up what waited to its deadline; how many were brought forward.

    Costs one look at the active runs where none of them has a step that waits.
    """
    with store.read() as connection:
        steps = waiting(connection)
        news = bool(steps) and heard.has_news(connection, EVENTS)
        idle = not steps and connection.execute(_READING, {"events": EVENTS, "receipts": RECEIPTS}).first() is not None
    if idle:
        _forget(store)
    woken = _hear(store, clock, steps) if news else 0
    deliveries = [one for one in steps if one.wait.cue.word == DELIVERED]
    woken += _take_receipts(store, clock, deliveries) if deliveries else 0
    for one in steps:
        _give_up(store, clock, one)
    return woken


def _hear(store: Store, clock: Clock, steps: Sequence[Waiting]) -> int:
    names = {sign for one in steps for sign in one.wait.cue.signs}
    since, after, more, woken = min(one.since for one in steps), None, True, 0
    while more:
        with store.write() as connection:
            settled = heard.settled(clock)
            news = heard.read(connection, EVENTS, names, PAGE, since=since, settled=settled, after=after)
            for one in steps:
                people = {event.user_id for event in news.events if event.name in one.wait.cue.signs}
                woken += wake(connection, one, [message_id(one.run, user, one.step) for user in people], clock.now())
        after, more = news.through, news.more
    return woken


def _take_receipts(store: Store, clock: Clock, steps: Sequence[Waiting]) -> int:
    """What providers say has arrived: the ids of receipts follow each other as those of events do."""
    with store.read() as connection:
        low, high = _unread(connection, steps)
    woken = 0
    while low < high:
        with store.write() as connection:
            rows = connection.execute(_NEW, {"low": low, "n": PAGE}).all()
            arrived = [row.message_id for row in rows if row.state == State.DELIVERED and row.message_id]
            woken += _delivered(connection, steps, arrived, clock.now())
            low = rows[-1].id
            connection.execute(_MOVE, {"reader": RECEIPTS, "id": low})
    return woken


def _unread(connection: Connection, steps: Sequence[Waiting]) -> tuple[int, int]:
    """After which receipt to read, and up to which: the same where there is none since the last time."""
    high: int = connection.execute(_NEWEST).scalar_one()
    low = connection.execute(_CURSOR, {"reader": RECEIPTS}).scalar()
    if low is None:
        first = connection.execute(_FIRST, {"since": to_micros(min(one.since for one in steps))}).scalar()
        low = high if first is None else first - 1
    return (high, high) if low == high else (max(min(low, high) - heard.REREAD, 0), high)


def _delivered(connection: Connection, steps: Sequence[Waiting], ids: Collection[int], now: datetime) -> int:
    woken, arrived = 0, {parts(number) for number in ids}
    for one in steps:
        members = {user for run, user, step in arrived if run == one.run and step < one.step}
        woken += wake(connection, one, [message_id(one.run, user, one.step) for user in members], now)
    return woken


def wake(connection: Connection, one: Waiting, ids: Sequence[int], now: datetime) -> int:
    """Bring those of the messages forward for whose members it has happened in time; how many."""
    if not ids:
        return 0
    sql = _wake_sql(connection.dialect.name, one.wait.cue.kind, some=True)
    return _woken(connection, sql, one.wait, {"ids": among(ids), **_of_run(one.run)}, now)


def wake_planned(  # one value each
    connection: Connection,
    run: int,
    step: int,
    wait: Wait,
    span: tuple[int, int],
    now: datetime,
    some: Sequence[int] | None = None,
) -> None:
    """The same for messages just planned, of users after the first id up to the second: it may have happened before.

    ``some``: of these users alone, whatever the span. A run that they join has the messages of all who joined before.
    """
    if some is not None:
        ids = {"ids": among(message_id(run, user, step) for user in some), **_of_run(run)}
        _woken(connection, _wake_sql(connection.dialect.name, wait.cue.kind, some=True), wait, ids, now)
        return
    bounds = {"low": message_id(run, span[0], MAX_STEPS), "high": message_id(run, span[1], MAX_STEPS), "step": step}
    bounds |= _of_run(run)
    _woken(connection, _wake_sql(connection.dialect.name, wait.cue.kind, some=False), wait, bounds, now)


def _of_run(run: int) -> dict[str, int]:
    return {"run": run, **ids_of_run(run)}


def _woken(connection: Connection, sql: TextClause, wait: Wait, which: Mapping[str, object], now: datetime) -> int:
    cue = wait.cue
    values: dict[str, object] = {**which, "waiting": cue.waiting, "now": to_micros(now)}
    values |= {"after": span_micros(wait.after), **({"awaited": cue.event} if cue.event else {})}
    rows = connection.execute(sql, values).all()
    old, reason = State.PLANNED, f"{WOKEN}:{cue.word}"
    record(connection, [Transition(now, old, _ACTOR, old, reason, message_id=row.id) for row in rows])
    return len(rows)


@cache
def _wake_sql(dialect: str, kind: str, *, some: bool) -> TextClause:
    which = f"m.id {one_of_sql(dialect, 'ids')}"
    if not some:
        which = "m.id > :low AND m.id <= :high AND m.step = :step AND member.anchor <= :now"
    return text(f"""
        WITH heard AS MATERIALIZED (
            SELECT m.id, {first_at(dialect, kind, "awaited")} AS at
            FROM message m JOIN member ON member.run_id = m.run_id AND member.user_id = m.user_id
            WHERE {which} AND m.state = 'planned' AND m.reason = :waiting {of_run_sql(dialect, "member.run_id")})
        UPDATE message SET due_at = heard.at + :after, reason = NULL, state_at = :now
        FROM heard WHERE message.id = heard.id {within_sql(dialect, "message.id")} AND heard.at <= message.due_at
            AND message.state = 'planned' AND message.reason = :waiting
        RETURNING message.id""")


def _give_up(store: Store, clock: Clock, one: Waiting) -> None:
    """Skip what waited until its deadline: nobody claims it any more. A step that can be claimed asks the gate."""
    now, missing = clock.now(), one.wait.cue.missing
    values = {"run": one.run, "step": one.step, "waiting": one.wait.cue.waiting, "n": PAGE}
    values |= {"missing": missing, "now": to_micros(now)}
    with store.read() as connection:
        over = connection.execute(_OVER, values).first() is not None
    while over:
        with store.write() as connection:
            rows = connection.execute(_GIVE_UP, values).all()
            lines = [Transition(now, State.SKIPPED, _ACTOR, State.PLANNED, missing, message_id=row.id) for row in rows]
            record(connection, lines)
        metrics.messages.labels(one.channel, State.SKIPPED).inc(len(rows))
        metrics.skips.labels(one.channel, missing.partition(":")[0]).inc(len(rows))
        over = len(rows) == PAGE


def _forget(store: Store) -> None:
    with store.write() as connection:
        for reader in (EVENTS, RECEIPTS):
            heard.forget(connection, reader)


_ACTIVE = text("SELECT id, version, as_of FROM run WHERE state IN ('planning', 'active') ORDER BY id")
_READING = text("SELECT 1 FROM event_cursor WHERE reader IN (:events, :receipts)")
_CURSOR = text("SELECT event_id FROM event_cursor WHERE reader = :reader")
_MOVE = text("""
    INSERT INTO event_cursor (reader, event_id) VALUES (:reader, :id)
    ON CONFLICT (reader) DO UPDATE SET event_id = :id""")
_NEWEST = text("SELECT coalesce(max(id), 0) FROM receipt")
_FIRST = text("SELECT min(id) FROM receipt WHERE received_at >= :since")
_NEW = text("SELECT id, message_id, state FROM receipt WHERE id > :low ORDER BY id LIMIT :n")
_DUE = """SELECT message.id FROM lane JOIN message ON message.lane_id = lane.id
    WHERE lane.run_id = :run AND lane.step = :step AND message.state = 'planned' AND message.due_at <= :now
      AND message.deadline <= :now AND message.reason = :waiting AND message.attempts = 0 LIMIT :n"""
_OVER = text(_DUE)
_GIVE_UP = text(f"""
    UPDATE message SET state = 'skipped', reason = :missing, state_at = :now
    WHERE id IN ({_DUE}) AND state = 'planned' RETURNING id""")
