"""A run that takes on an edited version: what waits is taken back, to be planned again; what has begun stays.

A message has begun once a worker has held it to a decision: it was marked, skipped, held out, expired or failed. What
was only ever planned (or held at the door before its first mark) is as if it had never been.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, TextClause, bindparam, select, text, update

from orchestrator.clock import to_micros
from orchestrator.ledger.ids import MAX_STEPS, RUN_SHIFT, message_id
from orchestrator.ledger.lanes import turn_lanes
from orchestrator.ledger.runs import Run, read_run
from orchestrator.ledger.states import RunState, State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import lane, run

ADOPTING = "adopting"
"""Why a run that had been planned is planned again: its members stay, nobody is added."""
PLANNED_AGAIN = "planned_again"
"""The same of a run that was only half planned, of which nothing can have begun: members and all. So is one in shards:
a release that knows no shards goes by this."""
AGAIN = frozenset({ADOPTING, PLANNED_AGAIN})
EDITED = "edited"
"""Why a message that was planned is not sent: the version that was launched since does not have it."""
EDITED_OUT = "edited_out"
"""Why a member gets nothing: that version is not for them."""

Span = tuple[int, int]
"""Users after the first id, up to and including the second."""

_WAITING = f"""(message.state = 'planned' AND message.attempts = 0 AND message.sent_at IS NULL
                OR message.state = 'skipped' AND coalesce(message.reason, '') = '{EDITED}')"""
_WITHIN = "message.id > :first AND message.id <= :last"


def lock_run(connection: Connection, run_id: int) -> Run:
    """A run as it is, and stays until the end of the transaction: two may plan it at once."""
    connection.execute(select(run.c.id).where(run.c.id == run_id).with_for_update())
    return read_run(connection, run_id)


def turn(connection: Connection, item: Run, version: str, closes_at: datetime, now: datetime, actor: str) -> None:
    """Let a live run go on to a version: from here on it is being planned, from the beginning."""
    reason = None  # of one whose planning has not begun: how large it is, is asked again
    if connection.execute(select(lane.c.id).where(lane.c.run_id == item.id).limit(1)).first() is not None:
        turn_lanes(connection, item.id, item.version, version)
        whole = item.state is RunState.ACTIVE or item.reason == ADOPTING
        reason = ADOPTING if whole else PLANNED_AGAIN
    values = {"state": RunState.PLANNING, "reason": reason, "version": version, "planned_through": 0}
    over = max(item.closes_at, closes_at)  # what has begun may still be tried until then
    connection.execute(update(run).where(run.c.id == item.id).values(closes_at=over, **values))
    said = f"version {version[:12]}"
    record(connection, [Transition(now, RunState.PLANNING, actor, item.state, said, item.campaign, item.id)])


def follow(connection: Connection, item: Run, version: str, now: datetime, actor: str) -> None:
    """Let a run whose members join one by one go on to a version: whoever is a member stays under the one before."""
    turn_lanes(connection, item.id, item.version, version)
    connection.execute(update(run).where(run.c.id == item.id).values(version=version))
    said = f"version {version[:12]}"
    record(connection, [Transition(now, item.state, actor, item.state, said, item.campaign, item.id)])


def _ends(run_id: int, span: Span) -> dict[str, int]:
    return {"first": message_id(run_id, span[0], MAX_STEPS), "last": message_id(run_id, span[1], MAX_STEPS)}


_BEGUN_IN = text(f"""
    SELECT DISTINCT message.user_id FROM message WHERE {_WITHIN} AND message.lane_id IN :lanes AND NOT {_WAITING}
""").bindparams(bindparam("lanes", expanding=True))


def begun_in(connection: Connection, run_id: int, span: Span, lanes: Collection[int]) -> list[int]:
    """The users of a chunk of whom something has begun in one of these lanes."""
    if not lanes:
        return []
    values = {**_ends(run_id, span), "lanes": list(lanes)}
    return list(connection.execute(_BEGUN_IN, values).scalars())


_TAKE = f"""DELETE FROM message WHERE {_WITHIN} AND {_WAITING} {{but}}
    RETURNING id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at, deadline, timed"""
_TAKE_ALL = text(_TAKE.format(but=""))
_TAKE_BUT = text(_TAKE.format(but="AND message.user_id NOT IN :kept")).bindparams(bindparam("kept", expanding=True))


def take_back(connection: Connection, run_id: int, span: Span, kept: Sequence[int] = ()) -> Sequence[Row[Any]]:
    """Delete what has not begun of a chunk's users, but for those ``kept``; what it was."""
    values: dict[str, object] = dict(_ends(run_id, span))
    statement: TextClause = _TAKE_ALL
    if kept:
        statement, values["kept"] = _TAKE_BUT, list(kept)
    return connection.execute(statement, values).all()


_MESSAGES = text(f"SELECT message.id FROM message WHERE {_WITHIN}")
_MEMBERS = text("""
    SELECT user_id FROM member WHERE run_id = :run AND user_id > :low AND user_id <= :high AND decision = 'planned'""")
_GONE = text(f"""
    INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, reason, due_at, deadline,
                         state_at, timed)
    VALUES (:id, :run_id, :user_id, :step, :lane_id, :address_id, :arm, :held_out, 'skipped', '{EDITED}', :due_at,
            :deadline, :now, :timed) ON CONFLICT DO NOTHING""")


def leave_gone(connection: Connection, run_id: int, span: Span, taken: Sequence[Row[Any]], now: datetime) -> int:
    """Of what was taken back and has not come again, keep that it was owed: skipped, as edited; how many.

    Not of members who get nothing at all any more: their own row says why.
    """
    there = set(connection.execute(_MESSAGES, _ends(run_id, span)).scalars())
    gone = [row for row in taken if row.id not in there]
    if not gone:
        return 0
    within = {"run": run_id, "low": span[0], "high": span[1]}
    members = set(connection.execute(_MEMBERS, within).scalars())
    left = [row for row in gone if row.user_id in members]
    if left:
        connection.execute(_GONE, [{**row._mapping, "now": to_micros(now)} for row in left])  # noqa: SLF001
    fresh = [row for row in left if row.state == State.PLANNED]
    record(
        connection,
        [Transition(now, State.SKIPPED, "planner", State.PLANNED, EDITED, message_id=row.id) for row in fresh],
    )
    return len(left)


_WIPE_MESSAGES = text(f"DELETE FROM message WHERE {_WITHIN}")
_WIPE_MEMBERS = text("DELETE FROM member WHERE run_id = :run AND user_id > :low AND user_id <= :high")


def forget(connection: Connection, run_id: int, span: Span) -> int:
    """Delete a chunk of a run that was never claimable; how many members."""
    connection.execute(_WIPE_MESSAGES, _ends(run_id, span))
    within = {"run": run_id, "low": span[0], "high": span[1]}
    done = connection.execute(_WIPE_MEMBERS, within, execution_options={"preserve_rowcount": True})
    return done.rowcount


_LEFT_BEHIND = """
    SELECT min(m.user_id) FROM lane JOIN message m ON m.lane_id = lane.id
    WHERE lane.run_id = :run AND lane.version <> '' AND m.state = 'planned' AND m.attempts = 0 AND m.sent_at IS NULL"""
_BUT_KEPT = f""" AND NOT EXISTS (
        SELECT 1 FROM message WHERE message.id > m.id - m.step AND message.id <= m.id - m.step + {MAX_STEPS}
          AND message.lane_id IN :lanes AND NOT {_WAITING})"""
_LEFT = text(_LEFT_BEHIND)
_LEFT_BUT_KEPT = text(_LEFT_BEHIND + _BUT_KEPT).bindparams(bindparam("lanes", expanding=True))


def left_behind(connection: Connection, run_id: int, lanes: Collection[int]) -> int | None:
    """The first user with a message that waits under an earlier version: a worker held it as its user was looked at.

    Not of those of whom something has begun in one of ``lanes``: they keep what they have.
    """
    values: dict[str, object] = {"run": run_id}
    statement = _LEFT
    if lanes:
        statement, values["lanes"] = _LEFT_BUT_KEPT, list(lanes)
    found: int | None = connection.execute(statement, values).scalar()
    return found


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a run has: people with something that waits, messages that wait, and messages taken back for good."""

    people: int
    messages: int
    taken_back: int
    earlier: int
    """Messages that have begun, or stay, under an earlier version."""


_COUNT = text(f"""
    SELECT count(DISTINCT CASE WHEN message.state = 'planned' THEN message.user_id END) AS people,
           coalesce(sum(CASE WHEN message.state = 'planned' AND lane.version = '' THEN 1 ELSE 0 END), 0) AS messages,
           coalesce(sum(CASE WHEN message.state = 'skipped' AND message.reason = '{EDITED}' THEN 1 ELSE 0 END), 0),
           coalesce(sum(CASE WHEN lane.version <> '' AND NOT (message.state = 'skipped'
                                                             AND message.reason = '{EDITED}') THEN 1 ELSE 0 END), 0)
    FROM message JOIN lane ON lane.id = message.lane_id WHERE message.id >= :first AND message.id < :last""")


def waiting(connection: Connection, run_id: int) -> Waiting:
    """What a run has, counted."""
    ends = {"first": run_id << RUN_SHIFT, "last": (run_id + 1) << RUN_SHIFT}
    return Waiting(*(int(value) for value in connection.execute(_COUNT, ends).one()))
