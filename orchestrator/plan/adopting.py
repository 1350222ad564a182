"""Edits to a running campaign: its live runs take on the version that was launched.

What waits is taken back, and planned again by the planner's own functions, under the new version and as of the same
instant; what has begun stays under the version it began with. Chunk by chunk, while the run cannot be claimed from, so
that a kill in the middle is taken up like any plan. Members stay who they are, with their arm and their anchor.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    ScalarSelect,
    TextClause,
    bindparam,
    delete,
    false,
    literal_column,
    or_,
    select,
    text,
    update,
)

from orchestrator.audience.segment import clause
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.adopted import AGAIN, EDITED_OUT, Span, begun_in, follow, lock_run, take_back, turn
from orchestrator.ledger.ids import RUN_SHIFT, STEP_BITS, ids_of_run
from orchestrator.ledger.runs import Run, runs_in
from orchestrator.ledger.shards import drop
from orchestrator.ledger.states import RunState
from orchestrator.plan.audience import audience
from orchestrator.plan.due import closes_at
from orchestrator.plan.places import COUNTRY
from orchestrator.store.dialect import within_sql
from orchestrator.store.tables import lane, member, slot, slot_hour, users


@dataclass(frozen=True, slots=True)
class Live:
    """A run that is not over, of a campaign that is launched again; ``why_not``: it keeps its version."""

    run: Run
    why_not: str | None = None


def live_runs(connection: Connection, bundle: Bundle, digest: str, now: datetime) -> list[Live]:
    """The live runs of a campaign that have another version than ``digest`` (which is ``bundle``'s), or take it on."""
    found = [item for item in runs_in(connection, RunState.PLANNING, RunState.ACTIVE) if item.closes_at > now]
    mine = [item for item in found if item.campaign == bundle.campaign.name]
    others = [Live(item, _why_not(connection, item, bundle.campaign)) for item in mine if item.version != digest]
    return [*others, *(Live(item) for item in mine if item.version == digest and item.reason in AGAIN)]


NO_DATE, TOO_LARGE, NO_ARM = "date_not_in_schedule", "max_audience", "arm_gone"
"""Why a run keeps its version."""


def _why_not(connection: Connection, item: Run, new: Campaign) -> str | None:
    if not _fires(new, item):
        return NO_DATE
    if item.enrols_until is not None:
        return None  # its members keep theirs, and whoever joins is counted then
    if new.max_audience is not None and item.audience > new.max_audience:
        return TOO_LARGE
    return NO_ARM if _has_other_arms(connection, item, new) else None


def _fires(new: Campaign, item: Run) -> bool:
    if (item.enrols_until is None) != (new.schedule.trigger is None):
        return False
    if item.fires_at is None:
        return not new.schedule.of_instants and new.schedule.fires_on(item.local_date)
    instants = new.schedule.instants(item.fires_at - item.fires_at.resolution, item.fires_at)
    return new.schedule.of_instants and next(iter(instants), None) is not None


_OTHER_ARM = select(member.c.arm).where(
    member.c.run_id == bindparam("run"), member.c.arm.not_in(bindparam("arms", expanding=True))
)


def _has_other_arms(connection: Connection, item: Run, new: Campaign) -> bool:
    """Whether a member is in an arm that the version does not have."""
    arms = {arm.name for arm in new.arms}
    try:
        old = {arm.name for arm in read_bundle(connection, item.version).campaign.arms}
    except OrchestratorError:  # this release cannot read it any more
        old = set()
    if old and old <= arms:
        return False
    return connection.execute(_OTHER_ARM.limit(1), {"run": item.id, "arms": sorted(arms)}).first() is not None


def adopt_live(connection: Connection, bundle: Bundle, digest: str, now: datetime, actor: str) -> list[Live]:
    """Let the live runs of a campaign go on to a version, as far as they can; which they are, as they were."""
    found = live_runs(connection, bundle, digest, now)
    for one in found:
        if one.why_not is not None or one.run.version == digest:  # the latter: somebody was killed in the middle
            continue
        if one.run.enrols_until is None:
            adopt(connection, one.run, bundle, digest, now, actor)
        else:
            follow(connection, one.run, digest, now, actor)
    return found


def adopt(connection: Connection, item: Run, bundle: Bundle, digest: str, now: datetime, actor: str) -> None:
    """Let a live run go on to a version; the planner does the rest. Nothing is done to one that is over by now."""
    drop(connection, item.id)
    item = lock_run(connection, item.id)
    if item.state not in {RunState.PLANNING, RunState.ACTIVE}:
        return
    for table in (slot, slot_hour):
        connection.execute(delete(table).where(table.c.run_id == item.id))
    turn(connection, item, digest, closes_at(bundle.campaign, item.occasion), now, actor)


def look_again(connection: Connection, item: Run, bundle: Bundle, span: Span, place: str) -> Sequence[Row[Any]]:
    """Take back what has not begun of a chunk, and decide anew for its members: who is in the version's audience.

    Who has begun a step that the version has elsewhere, or on another channel, keeps the rest as it was planned.
    ``place``: SQL for where a user is. Returns what was taken back.
    """
    dialect = connection.dialect.name
    kept = begun_in(connection, item.id, span, moved_lanes(connection, item, bundle.campaign))
    taken = take_back(connection, item.id, span, kept)
    within = (member.c.run_id == item.id, member.c.user_id > span[0], member.c.user_id <= span[1])
    where = {} if place == COUNTRY else {"country": _placed(place)}
    connection.execute(update(member).where(*within).values(decision="planned", reason=None, **where))
    chosen = select(users.c.id).where(users.c.id > span[0], users.c.id <= span[1])
    inside = chosen.where(audience(bundle, [item.local_date], dialect))
    excluded = chosen.where(or_(false(), *(clause(name, bundle.segments, dialect) for name in bundle.campaign.exclude)))
    out = update(member).where(*within, or_(member.c.user_id.not_in(inside), member.c.user_id.in_(kept)))
    connection.execute(out.values(decision="skipped", reason=EDITED_OUT), {"as_of": item.as_of})
    if bundle.campaign.exclude:
        left_out = update(member).where(*within, member.c.decision == "planned", member.c.user_id.in_(excluded))
        connection.execute(left_out.values(decision="skipped", reason="excluded"), {"as_of": item.as_of})
    return taken


def _placed(place: str) -> ScalarSelect[Any]:
    """Where a member is, for steps whose channel knows quiet hours by state."""
    return select(literal_column(place)).where(users.c.id == member.c.user_id).scalar_subquery()


_OWN = f"(member.run_id * {1 << RUN_SHIFT} + member.user_id * {1 << STEP_BITS})"


@cache
def _keep_sql(dialect: str) -> TextClause:
    return text(f"""
    UPDATE member SET decision = 'planned', reason = NULL
    WHERE member.run_id = :run AND member.user_id > :low AND member.user_id <= :high AND member.decision = 'skipped'
      AND EXISTS (SELECT 1 FROM message WHERE message.id > {_OWN} AND message.id <= {_OWN} + {(1 << STEP_BITS) - 1}
                  {within_sql(dialect, "message.id")})""")


def keep_begun(connection: Connection, run_id: int, span: Span) -> bool:
    """Whoever has begun stays a member who was sent to, even if nothing more comes for them; whether there are any."""
    within = {"run": run_id, "low": span[0], "high": span[1], **ids_of_run(run_id)}
    done = connection.execute(_keep_sql(connection.dialect.name), within, execution_options={"preserve_rowcount": True})
    return done.rowcount > 0


def moved_lanes(connection: Connection, item: Run, new: Campaign) -> list[int]:
    """The lanes of earlier versions whose step the new one has elsewhere, or on another channel."""
    earlier = select(lane.c.id, lane.c.step, lane.c.version).where(lane.c.run_id == item.id, lane.c.version != "")
    return [row.id for row in connection.execute(earlier) if _moved(_steps(connection, row.version), row.step, new)]


def _steps(connection: Connection, version: str) -> Sequence[Step]:
    try:
        return read_bundle(connection, version).campaign.steps
    except OrchestratorError:  # this release cannot read it any more: nobody knows what began
        return ()


def _moved(old: Sequence[Step], index: int, new: Campaign) -> bool:
    """Whether going on with the new steps could repeat step ``index`` of the old ones, or take another for it."""
    if len(old) < index:
        return True
    legs, now = dict(_legs(old)), dict(_legs(new.steps))
    mine = legs[index]
    if now.get(index) == mine:
        return False
    elsewhere = any(leg == mine and legs.get(n) != mine for n, leg in now.items())
    return elsewhere or (index in now and now[index][0] != mine[0])


def _legs(steps: Sequence[Step]) -> Iterator[tuple[int, tuple[str, str]]]:
    return ((step.index, (step.channel, step.template)) for step in steps)
