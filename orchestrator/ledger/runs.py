"""Campaigns and runs: launched, fired, paused, stopped, done. Each change leaves a line of history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, text, update

from orchestrator.clock import to_micros
from orchestrator.errors import InputError, NotFoundError, did_you_mean
from orchestrator.ledger.ids import RunId
from orchestrator.ledger.states import CampaignState, RunState
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.tables import campaign, run


@dataclass(frozen=True, slots=True)
class Run:
    """One firing of a campaign on one local date. ``as_of`` fixes the audience; ``closes_at`` ends it for everybody."""

    id: RunId
    campaign: str
    version: str
    local_date: date
    state: RunState
    as_of: datetime
    closes_at: datetime
    planned_through: int
    audience: int
    reason: str | None = None
    """Why it is stopped; of one that is being planned: ``unusual_size`` while it waits, then ``confirmed``."""


UNUSUAL_SIZE, CONFIRMED = "unusual_size", "confirmed"


def launch(connection: Connection, name: str, version: str, now: datetime, actor: str) -> None:
    """Make ``version`` what the campaign's next runs use, and let it run."""
    known = connection.execute(select(campaign.c.state).where(campaign.c.name == name)).scalar()
    row = {"state": CampaignState.RUNNING, "version": version, "updated_at": now}
    if known is None:
        connection.execute(insert(campaign).values(name=name, launched_at=now, **row))
    else:
        connection.execute(update(campaign).where(campaign.c.name == name).values(launched_at=now, **row))
    record(connection, [Transition(now, CampaignState.RUNNING, actor, known, f"version {version[:12]}", name)])


_ALLOWED = {
    CampaignState.PAUSED: (CampaignState.RUNNING,),
    CampaignState.RUNNING: (CampaignState.PAUSED,),
    CampaignState.STOPPED: (CampaignState.RUNNING, CampaignState.PAUSED),
}


def set_campaign_state(connection: Connection, name: str, new: CampaignState, now: datetime, actor: str) -> None:
    """Pause, resume or stop a campaign. Stopping ends its runs: what has not left never will.

    Raises:
        NotFoundError: it was never launched.
        InputError: it cannot go there from where it is.
    """
    old = campaign_state(connection, name)
    if old is new:
        return
    if old not in _ALLOWED[new]:
        hint = "launch it again"  # a stopped one alone gets here: running and paused lead to each other and to stopped
        raise InputError(f"campaign {name} is {old}, it cannot become {new}", hint=hint)
    connection.execute(update(campaign).where(campaign.c.name == name).values(state=new, updated_at=now))
    if new is CampaignState.STOPPED:
        live = run.c.state.in_([RunState.PLANNING, RunState.ACTIVE])
        ended = {"state": RunState.STOPPED, "reason": "stopped", "finished_at": now}
        connection.execute(update(run).where(run.c.campaign == name, live).values(ended))
    record(connection, [Transition(now, new, actor, old, None, name)])


def campaign_state(connection: Connection, name: str) -> CampaignState:
    """Where a launched campaign is.

    Raises:
        NotFoundError: it was never launched; with the nearest that was.
    """
    states = {row.name: row.state for row in connection.execute(select(campaign.c.name, campaign.c.state))}
    if name not in states:
        raise NotFoundError(
            f"campaign {name!r} was never launched", hint=did_you_mean(name, states) or "launch it first"
        )
    return CampaignState(states[name])


def create_run(
    connection: Connection, name: str, version: str, day: date, *, now: datetime, closes_at: datetime
) -> RunId | None:
    """A run of ``name`` for a local date; None when it exists, however often it is asked for."""
    row = {
        "campaign": name,
        "version": version,
        "day": day.isoformat(),
        "now": to_micros(now),
        "closes": to_micros(closes_at),
    }
    created = connection.execute(_CREATE, row).scalar()
    if created is None:
        return None
    record(connection, [Transition(now, RunState.PLANNING, "scheduler", None, day.isoformat(), name, created)])
    return RunId(created)


_CREATE = text("""
    INSERT INTO run (campaign, version, local_date, state, as_of, closes_at, created_at)
    VALUES (:campaign, :version, :day, 'planning', :now, :closes, :now) ON CONFLICT DO NOTHING RETURNING id""")


def runs_in(connection: Connection, *states: RunState) -> list[Run]:
    """The runs in these states, oldest first."""
    rows = connection.execute(select(run).where(run.c.state.in_(states)).order_by(run.c.id))
    return [_run(row) for row in rows]


_READ = select(run).where(run.c.id == bindparam("run"))  # asked for every batch at the door


def read_run(connection: Connection, run_id: int) -> Run:
    """One run."""
    return _run(connection.execute(_READ, {"run": run_id}).one())


def _run(row: Row[Any]) -> Run:
    value = row._mapping  # noqa: SLF001  # SQLAlchemy's documented way to a row's dict
    day, state = date.fromisoformat(value["local_date"]), RunState(value["state"])
    names = ("as_of", "closes_at", "planned_through", "audience", "reason")
    return Run(RunId(value["id"]), value["campaign"], value["version"], day, state, *(value[name] for name in names))


_RUN_FROM = {
    RunState.PLANNING: (),
    RunState.ACTIVE: (RunState.PLANNING,),
    RunState.DONE: (RunState.ACTIVE,),
    RunState.STOPPED: (RunState.PLANNING, RunState.ACTIVE),
}


def set_run_state(connection: Connection, run_id: int, new: RunState, now: datetime, reason: str | None = None) -> bool:
    """Move a run on; False when it has been stopped meanwhile (or is over): a stopped run never lives again."""
    finished = now if new in {RunState.DONE, RunState.STOPPED} else None
    where = (run.c.id == run_id, run.c.state.in_(_RUN_FROM[new]))
    moved = update(run).where(*where).values(state=new, reason=reason, finished_at=finished)
    if not connection.execute(moved).rowcount:
        return False
    record(connection, [Transition(now, new, "scheduler", None, reason, run_id=run_id)])
    return True


def await_confirmation(connection: Connection, item: Run, now: datetime) -> bool:
    """Let a run wait until an operator says that its size is meant; whether it did not wait before."""
    where = (run.c.id == item.id, run.c.state == RunState.PLANNING, run.c.reason.is_(None))
    if not connection.execute(update(run).where(*where).values(reason=UNUSUAL_SIZE)).rowcount:
        return False
    record(connection, [Transition(now, RunState.PLANNING, "scheduler", None, UNUSUAL_SIZE, run_id=item.id)])
    return True


def confirm_runs(connection: Connection, name: str, day: date | None, now: datetime, actor: str) -> list[Run]:
    """Let the runs of a campaign that wait for it be planned, or the one of ``day``; which they are."""
    waiting = [item for item in runs_in(connection, RunState.PLANNING) if item.reason == UNUSUAL_SIZE]
    found = [
        item for item in waiting if item.campaign == name and now < item.closes_at and day in {None, item.local_date}
    ]
    for item in found:
        connection.execute(update(run).where(run.c.id == item.id).values(reason=CONFIRMED))
    old = RunState.PLANNING
    record(connection, [Transition(now, old, actor, old, CONFIRMED, run_id=item.id) for item in found])
    return found


_SKIP_STOPPED = text("""
    UPDATE message SET state = 'skipped', reason = 'stopped', state_at = :now WHERE id IN (
        SELECT message.id FROM lane JOIN message ON message.lane_id = lane.id
        WHERE lane.run_id = :run AND message.state = 'planned' LIMIT :n) AND state = 'planned' RETURNING id""")


def skip_stopped(connection: Connection, run_id: int, now: datetime, limit: int = 1000) -> int:
    """Skip what a stopped run still has waiting; how many (at most ``limit``: call again)."""
    rows = connection.execute(_SKIP_STOPPED, {"run": run_id, "now": to_micros(now), "n": limit}).all()
    record(
        connection,
        [Transition(now, "skipped", "sweeper", "planned", "stopped", message_id=row.id) for row in rows],
    )
    return len(rows)


def pending(connection: Connection, run_id: int) -> bool:
    """Whether a run has messages that are still ours to move."""
    return connection.execute(_PENDING, {"run": run_id}).first() is not None


_PENDING = text("""
    SELECT 1 FROM lane WHERE lane.run_id = :run AND EXISTS (
        SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned')
    UNION ALL SELECT 1 FROM message WHERE message.worker_id IS NOT NULL AND message.run_id = :run LIMIT 1""")
