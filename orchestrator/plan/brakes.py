"""Brakes on the size of a run: larger than the campaign allows, it is stopped; much larger than usual, it waits.

Usual is the median audience of the last five finished runs of the campaign that had anybody, where there are three at
least: empty ones, such as those of dates on which nobody's points expire, say nothing. A run that waits is not counted
again: an operator confirms it, or it is over when nothing of it could be sent any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from statistics import median

from sqlalchemy import Connection, func, select

from orchestrator.campaign.version import Bundle
from orchestrator.ledger.adopted import PLANNED_AGAIN
from orchestrator.ledger.runs import CONFIRMED, UNUSUAL_SIZE, Run
from orchestrator.ledger.shards import in_shards
from orchestrator.ledger.states import RunState
from orchestrator.plan.audience import audience
from orchestrator.store.tables import lane, run, users

RUNS, ENOUGH = 5, 3
TIMES = 3
LARGE = 1_000
"""Smaller runs than this are never unusual: small numbers jump."""
MAX_AUDIENCE = "max_audience"


@dataclass(frozen=True, slots=True)
class Brake:
    """Why a run does not start: ``audience`` users, where at most ``most`` are (or are usual)."""

    reason: str
    audience: int
    most: int


def usual_size(connection: Connection, campaign: str) -> int | None:
    """What an audience of a campaign usually comes to; None while nobody can say."""
    of_campaign = (run.c.campaign == campaign, run.c.state == RunState.DONE)
    finished = select(run.c.audience).where(*of_campaign, run.c.audience > 0)
    latest = finished.order_by(run.c.local_date.desc(), run.c.fires_at.desc(), run.c.id.desc()).limit(RUNS)
    sizes = connection.execute(latest).scalars().all()
    return round(median(sizes)) if len(sizes) >= ENOUGH else None


def unusual(audience: int, usual: int | None) -> bool:
    """Whether so many are to be confirmed by somebody."""
    return usual is not None and audience > LARGE and audience > TIMES * usual


def brake(connection: Connection, item: Run, bundle: Bundle) -> Brake | None:
    """What keeps a run from starting; None for one that has begun, or that nothing is known against.

    One that was half planned, and chooses its members anew for an edited version, is asked for ``max_audience`` again.

    Counts the segment only where there is something to compare it with: a second for a million users.
    """
    anew = item.reason == PLANNED_AGAIN and item.planned_through == 0
    if has_begun(connection, item.id) and (not anew or in_shards(connection, item)):
        return None
    most = bundle.campaign.max_audience
    usual = None if anew or item.reason == CONFIRMED else usual_size(connection, item.campaign)
    if most is None and usual is None:
        return None
    people = _count(connection, item, bundle)
    if most is not None and people > most:
        return Brake(MAX_AUDIENCE, people, most)
    return Brake(UNUSUAL_SIZE, people, usual) if usual is not None and unusual(people, usual) else None


def has_begun(connection: Connection, run_id: int) -> bool:
    """Whether the planning of a run has begun: it has lanes."""
    return connection.execute(select(lane.c.id).where(lane.c.run_id == run_id).limit(1)).first() is not None


def waits(item: Run, now: datetime) -> bool:
    """Whether a run waits for somebody to confirm it, and still may."""
    return item.reason == UNUSUAL_SIZE and now < item.closes_at


def _count(connection: Connection, item: Run, bundle: Bundle) -> int:
    chosen = audience(bundle, [item.local_date], connection.dialect.name)
    counted = select(func.count()).select_from(users).where(chosen)
    return int(connection.execute(counted, {"as_of": item.as_of}).scalar_one())
