"""Campaigns and runs: launched, fired, paused, stopped, done. Each change leaves a line of history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, TextClause, bindparam, insert, select, text, update

from orchestrator.clock import to_micros
from orchestrator.errors import InputError, NotFoundError, did_you_mean
from orchestrator.ledger.ids import RunId, ids_of_run
from orchestrator.ledger.in_doubt import ended_sql
from orchestrator.ledger.receipts import apply_kept
from orchestrator.ledger.states import CampaignState, RunState, State
from orchestrator.ledger.transition import Transition, record
from orchestrator.store.dialect import PREPARED, of_row_sql, within_sql
from orchestrator.store.tables import campaign, run


@dataclass(frozen=True, slots=True, order=True)
class Occasion:
    """What a run is of: a local date, or an instant (``at``), whose date is ``day`` in the zone it was written in."""

    day: date
    at: datetime | None = None

    @classmethod
    def of(cls, written: datetime) -> Occasion:
        """An instant in the clock that it is written in."""
        return cls(written.date(), written.astimezone(UTC))

    @property
    def key(self) -> str:
        """A name for machines, the same everywhere: ``2026-12-01``, or ``2026-12-01T01:00:00Z`` for an instant."""
        return self.day.isoformat() if self.at is None else f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True)
class Run:
    """One firing of a campaign on one local date, or at one instant (``fires_at``).

    ``as_of`` fixes the audience; ``closes_at`` ends it for everybody.
    """

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
    fires_at: datetime | None = None
    enrols_until: datetime | None = None
    """Of a triggered campaign: until then members join one by one."""

    @property
    def occasion(self) -> Occasion:
        """What it is the run of."""
        return Occasion(self.local_date, self.fires_at)


UNUSUAL_SIZE, CONFIRMED = "unusual_size", "confirmed"


def launch(connection: Connection, name: str, version: str, now: datetime, actor: str) -> bool:
    """Make ``version`` what the campaign's next runs use, and let it run; False: so it is already, nothing is done."""
    before = connection.execute(select(campaign.c.state, campaign.c.version).where(campaign.c.name == name)).first()
    if before is not None and tuple(before) == (CampaignState.RUNNING, version):
        return False
    known = None if before is None else before.state
    row = {"state": CampaignState.RUNNING, "version": version, "updated_at": now}
    if known is None:
        connection.execute(insert(campaign).values(name=name, launched_at=now, **row))
    else:
        connection.execute(update(campaign).where(campaign.c.name == name).values(launched_at=now, **row))
    record(connection, [Transition(now, CampaignState.RUNNING, actor, known, f"version {version[:12]}", name)])
    return True


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


def create_run(  # one value each
    connection: Connection,
    name: str,
    version: str,
    day: date,
    *,
    now: datetime,
    closes_at: datetime,
    fires_at: datetime | None = None,
) -> RunId | None:
    """A run of ``name`` for a local date or an instant; None when it exists, however often it is asked for."""
    row = {
        "campaign": name,
        "version": version,
        "day": day.isoformat(),
        "now": to_micros(now),
        "closes": to_micros(closes_at),
        "fires": None if fires_at is None else to_micros(fires_at),
    }
    created = connection.execute(_CREATE, row).scalar()
    if created is None:
        return None
    of = Occasion(day, fires_at).key
    record(connection, [Transition(now, RunState.PLANNING, "scheduler", None, of, name, created)])
    return RunId(created)


_CREATE = text("""
    INSERT INTO run (campaign, version, local_date, state, as_of, closes_at, created_at, fires_at)
    SELECT :campaign, :version, :day, 'planning', CAST(:now AS BIGINT), CAST(:closes AS BIGINT), CAST(:now AS BIGINT),
           CAST(:fires AS BIGINT)
    WHERE NOT EXISTS (SELECT 1 FROM run WHERE campaign = :campaign
                      AND (local_date = :day AND fires_at IS NULL AND CAST(:fires AS BIGINT) IS NULL
                           OR fires_at = CAST(:fires AS BIGINT)))
    ON CONFLICT DO NOTHING RETURNING id""")
"""Asked every few seconds: what exists must not take a number of PostgreSQL's, for a message's id has room for 8 M."""


def enrolling_run(  # one value each
    connection: Connection,
    name: str,
    version: str,
    day: date,
    *,
    now: datetime,
    enrols_until: datetime,
    closes_at: datetime,
) -> Run | None:
    """The run of a triggered campaign for a local date, which members join until ``enrols_until``: active at once.

    Made if there is none, and kept to this transaction until its end. None when that date has a run of another kind.
    """
    times = {"now": to_micros(now), "until": to_micros(enrols_until), "closes": to_micros(closes_at)}
    row = {"campaign": name, "version": version, "day": day.isoformat()}
    created = connection.execute(_ENROL, {**row, **times}).scalar()
    if created is not None:
        record(connection, [Transition(now, RunState.ACTIVE, "scheduler", None, day.isoformat(), name, created)])
    of_date = select(run).where(run.c.campaign == name, run.c.local_date == day.isoformat(), run.c.fires_at.is_(None))
    found = _run(connection.execute(of_date.with_for_update()).one())
    return None if found.enrols_until is None else found


_ENROL = text("""
    INSERT INTO run (campaign, version, local_date, state, as_of, enrols_until, closes_at, created_at)
    SELECT :campaign, :version, :day, 'active', CAST(:now AS BIGINT), CAST(:until AS BIGINT), CAST(:closes AS BIGINT),
           CAST(:now AS BIGINT)
    WHERE NOT EXISTS (SELECT 1 FROM run WHERE campaign = :campaign AND local_date = :day AND fires_at IS NULL)
    ON CONFLICT DO NOTHING RETURNING id""")


def runs_in(connection: Connection, *states: RunState) -> list[Run]:
    """The runs in these states, oldest first."""
    rows = connection.execute(select(run).where(run.c.state.in_(states)).order_by(run.c.id))
    return [_run(row) for row in rows]


_READ = select(run).where(run.c.id == bindparam("run")).execution_options(**PREPARED)


def read_run(connection: Connection, run_id: int) -> Run:
    """One run."""
    return _run(connection.execute(_READ, {"run": run_id}).one())


def _run(row: Row[Any]) -> Run:
    value = row._mapping  # noqa: SLF001  # SQLAlchemy's documented way to a row's dict
    day, state = date.fromisoformat(value["local_date"]), RunState(value["state"])
    names = ("as_of", "closes_at", "planned_through", "audience", "reason", "fires_at", "enrols_until")
    return Run(RunId(value["id"]), value["campaign"], value["version"], day, state, *(value[name] for name in names))


_RUN_FROM = {
    RunState.PLANNING: (RunState.ACTIVE,),  # it takes on a version (ledger.adopted)
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


def confirm_runs(connection: Connection, name: str, run_id: int | None, now: datetime, actor: str) -> list[Run]:
    """Let the runs of a campaign that wait for it be planned, or that one; which they are."""
    waiting = [item for item in runs_in(connection, RunState.PLANNING) if item.reason == UNUSUAL_SIZE]
    found = [item for item in waiting if item.campaign == name and now < item.closes_at and run_id in {None, item.id}]
    for item in found:
        connection.execute(update(run).where(run.c.id == item.id).values(reason=CONFIRMED))
    old = RunState.PLANNING
    record(connection, [Transition(now, old, actor, old, CONFIRMED, run_id=item.id) for item in found])
    return found


@cache
def _skip_stopped_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE message SET state = {ended_sql(State.SKIPPED, dialect)}, reason = 'stopped', state_at = :now WHERE id IN (
        SELECT message.id FROM lane JOIN message ON message.lane_id = lane.id
        WHERE lane.run_id = :run AND message.state = 'planned' {within_sql(dialect, "message.id")} LIMIT :n)
        AND state = 'planned' {within_sql(dialect, "id")} RETURNING id, state""")


def skip_stopped(connection: Connection, run_id: int, now: datetime, limit: int = 1000) -> int:
    """Skip what a stopped run still has waiting; how many (at most ``limit``: call again)."""
    values = {"run": run_id, "now": to_micros(now), "n": limit, **ids_of_run(run_id)}
    rows = connection.execute(_skip_stopped_sql(connection.dialect.name), values).all()
    record(
        connection,
        [Transition(now, row.state, "sweeper", State.PLANNED, "stopped", message_id=row.id) for row in rows],
    )
    apply_kept(connection, [row.id for row in rows if row.state == State.UNKNOWN])
    return len(rows)


def with_leftovers(connection: Connection) -> list[RunId]:
    """The stopped runs of which something waits: it came back from a worker since, or nobody swept yet."""
    return [RunId(row.id) for row in connection.execute(_leftovers_sql(connection.dialect.name))]


@cache
def _leftovers_sql(dialect: str) -> TextClause:
    # a subquery with a limit is asked run by run, as it should be: few of all that ever were have anything
    return text(f"""
    SELECT run.id FROM run WHERE run.state = 'stopped' AND (
        SELECT 1 FROM lane JOIN message ON message.lane_id = lane.id AND message.state = 'planned'
        {of_row_sql(dialect, "message.id", "run.id")} WHERE lane.run_id = run.id LIMIT 1) = 1 ORDER BY run.id""")


def pending(connection: Connection, run_id: int) -> bool:
    """Whether a run has messages that are still ours to move."""
    return (
        connection.execute(_pending_sql(connection.dialect.name), {"run": run_id, **ids_of_run(run_id)}).first()
        is not None
    )


@cache
def _pending_sql(dialect: str) -> TextClause:
    # with the sum no index on runs is taken: what workers hold is little, a run is all there is
    return text(f"""
    SELECT 1 FROM lane WHERE lane.run_id = :run AND EXISTS (
        SELECT 1 FROM message WHERE message.lane_id = lane.id AND message.state = 'planned'
        {within_sql(dialect, "message.id")})
    UNION ALL SELECT 1 FROM message WHERE message.worker_id IS NOT NULL AND message.run_id + 0 = :run
        {within_sql(dialect, "message.id")} LIMIT 1""")
