"""A database that is older than what was sent: found by comparing it with the guard, ended by an operator's word.

The ledger is behind when a run's last mark in it is older than the guard's. What was sent after the backup is not known
to it, and would be sent again. Until somebody accepts that, no account is used; accepting skips what may have left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, TextClause, text

from orchestrator.clock import from_micros, to_micros
from orchestrator.ledger.ids import RUN_SHIFT, ids_of_run
from orchestrator.ledger.in_doubt import ended_sql
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.runs import Run, set_run_state
from orchestrator.ledger.states import RunState, State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import within_sql
from orchestrator.store.remember import recall, remember

REASON = "restored"
ANEW = "made anew"
"""Of a run that was made after the restore and before that was noticed: all of it may have left before."""

RunKey = tuple[str, str]
"""Campaign, and what its run is of: :attr:`orchestrator.ledger.runs.Occasion.key`."""

_RUN_OF = "SELECT id, state, reason, created_at, finished_at FROM run WHERE campaign = :campaign AND"
_RUN, _RUN_AT = text(f"{_RUN_OF} local_date = :day AND fires_at IS NULL"), text(f"{_RUN_OF} fires_at = :at")
_LAST = text("SELECT max(sent_at) FROM message WHERE id >= :low AND id < :high AND sent_at IS NOT NULL")


@dataclass(frozen=True, slots=True)
class Behind:
    """A run of which more was sent than the ledger knows. ``run_id`` is None when the ledger does not have it.

    ``of`` is its local date, or its instant in UTC.
    """

    campaign: str
    of: str
    run_id: int | None
    state: str
    sent_until: datetime
    known_until: datetime | None


def runs_behind(connection: Connection, guard: Mapping[RunKey, datetime]) -> list[Behind]:
    """The runs whose last mark the ledger does not know, by campaign and date or instant."""
    found = []
    for (campaign, of), at in sorted(guard.items()):
        run = _find(connection, campaign, of)
        if run is None:
            if not _accepted(connection, campaign, of):
                found.append(Behind(campaign, of, None, "missing", at, None))
            continue
        if run.finished_at is not None and run.finished_at >= to_micros(at) and run.reason != REASON:
            continue  # the ledger saw its end, after which nothing is marked: its messages need not be read
        last = connection.execute(_LAST, {"low": run.id << RUN_SHIFT, "high": (run.id + 1) << RUN_SHIFT}).scalar()
        known = None if last is None else from_micros(last)
        if (known is None or known < at) and not _accepted(connection, campaign, of, at):
            anew = known is None and run.created_at > to_micros(at)
            found.append(Behind(campaign, of, run.id, ANEW if anew else run.state, at, known))
    return found


def _find(connection: Connection, campaign: str, of: str) -> Row[Any] | None:
    if "T" not in of:
        return connection.execute(_RUN, {"campaign": campaign, "day": of}).first()
    return connection.execute(_RUN_AT, {"campaign": campaign, "at": to_micros(datetime.fromisoformat(of))}).first()


def _key(campaign: str, of: str) -> str:
    return f"restored:{campaign}:{of}"


def _accepted(connection: Connection, campaign: str, of: str, at: datetime | None = None) -> bool:
    """Whether an operator has accepted this run as it is, up to ``at``."""
    value = recall(connection, _key(campaign, of))
    return value is not None and (at is None or int(value) >= to_micros(at))


def bar(connection: Connection, behind: Behind, now: datetime) -> None:
    """A run that is missing, made anew, or was not planned to its end would be sent after what was sent: never send it.

    Done when it is noticed: by the time somebody accepts, the run would look like any other.
    """
    _keep_waits(connection, behind)
    if behind.run_id is None:
        remember(connection, _barred(behind.campaign, behind.of), str(to_micros(behind.sent_until)))
    elif behind.state in {RunState.PLANNING, ANEW}:
        set_run_state(connection, behind.run_id, RunState.STOPPED, now, REASON)


def _keep_waits(connection: Connection, behind: Behind) -> None:
    """Of a triggered campaign: whose wait was over by the guard's last mark may have joined, and been sent to."""
    until = max(to_micros(behind.sent_until), waits_sent_until(connection, behind.campaign))
    remember(connection, _waits(behind.campaign), str(until))


def waits_sent_until(connection: Connection, campaign: str) -> int:
    """Nobody whose wait was over by then joins any more: they may have, after the backup was made. 0: no such time."""
    value = recall(connection, _waits(campaign))
    return 0 if value is None else int(value)


def _waits(campaign: str) -> str:
    return f"waits:{campaign}"


def _barred(campaign: str, of: str) -> str:
    return f"barred:{campaign}:{of}"


def accept(connection: Connection, behind: Behind, now: datetime, actor: str, skipped: int) -> None:
    """Take note that an operator knows, and how many messages were skipped."""
    bar(connection, behind, now)
    remember(connection, _key(behind.campaign, behind.of), str(to_micros(behind.sent_until)))
    said = f"restored: {behind.of} was sent until {behind.sent_until:%Y-%m-%d %H:%M:%SZ}, {skipped} skipped"
    record(connection, [Transition(now, "accepted", actor, None, said, behind.campaign, behind.run_id or 0)])


def stop_if_restored(connection: Connection, item: Run, now: datetime) -> bool:
    """A run that was sent before the restore and is not in the ledger is not sent again when it comes up anew."""
    if recall(connection, _barred(item.campaign, item.occasion.key)) is None:
        return False
    return set_run_state(connection, item.id, RunState.STOPPED, now, REASON)


@cache
def _skip_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE message SET state = {ended_sql(State.SKIPPED, dialect)}, reason = 'restored', state_at = :now WHERE id IN (
        SELECT message.id FROM lane JOIN message ON message.lane_id = lane.id
        WHERE lane.run_id = :run AND message.state = 'planned' AND message.due_at <= :until
          {within_sql(dialect, "message.id")} LIMIT :n)
    AND state = 'planned' {within_sql(dialect, "id")} RETURNING id, state""")


def skip_sent(connection: Connection, behind: Behind, now: datetime, actor: str, limit: int = 1000) -> int:
    """Skip what was due by the guard's last mark, and so may have left; how many (at most ``limit``: call again)."""
    if behind.run_id is None:
        return 0
    values = {"run": behind.run_id, "until": to_micros(behind.sent_until), "now": to_micros(now), "n": limit}
    values |= ids_of_run(behind.run_id)
    rows = connection.execute(_skip_sql(connection.dialect.name), values).all()
    record(connection, [Transition(now, row.state, actor, State.PLANNED, REASON, message_id=row.id) for row in rows])
    apply_kept(connection, [row.id for row in rows if row.state == State.UNKNOWN])
    return len(rows)
