"""What a launch makes of the runs that are under way: those that can take on the new version do so, and are counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from orchestrator.campaign.occasions import labelled
from orchestrator.campaign.version import Bundle
from orchestrator.ledger.adopted import AGAIN, waiting
from orchestrator.ledger.runs import Run, read_run
from orchestrator.ledger.states import RunState
from orchestrator.plan.adopting import Live, adopt_live, live_runs
from orchestrator.plan.planner import Planner
from orchestrator.store import Store

NEW_RUNS_ONLY = "new_runs_only"


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that was under way at a launch, and what becomes or became of it."""

    run: int
    name: str
    """Its date, or date and time."""
    state: str
    adopts: bool
    why_not: str | None
    joins: bool
    """Whether its members join one by one, and only those who join from now on get the new version."""
    people: int
    """Of whom something waits."""
    waiting: int
    """Messages that wait under its version."""
    taken_back: int
    """Messages that were owed, and are not under its version."""
    earlier: int
    """Messages that have begun, or stay, under an earlier version."""


def before_launch(connection: Connection, bundle: Bundle, digest: str, now: datetime) -> list[LiveRun]:
    """The runs that a launch of ``bundle`` would find under way with another version."""
    found = live_runs(connection, bundle, digest, now)
    return [live_run(connection, one.run, one.why_not) for one in found]


def live_run(connection: Connection, item: Run, why_not: str | None) -> LiveRun:
    """A run, with what it has counted."""
    name = labelled(connection, item.version, item.local_date, item.fires_at)
    counted = waiting(connection, item.id)
    joins = item.enrols_until is not None
    numbers = (counted.people, counted.messages, counted.taken_back, counted.earlier)
    return LiveRun(item.id, name, item.state, why_not is None, why_not, joins, *numbers)


def turn_live(
    connection: Connection, bundle: Bundle, digest: str, now: datetime, actor: str, *, new_runs_only: bool
) -> list[Live]:
    """Let the runs under way go on to a version, as far as they can and are to, in the transaction that launches it."""
    if not new_runs_only:
        return adopt_live(connection, bundle, digest, now, actor)
    found = live_runs(connection, bundle, digest, now)
    return [Live(one.run, one.why_not or NEW_RUNS_ONLY) for one in found if one.run.version != digest]


def plan_again(
    store: Store, planner: Planner, bundle: Bundle, found: Sequence[Live], progress: Callable[[int], None]
) -> list[LiveRun]:
    """Plan those that took it on again, to the end; what became of all of them.

    Killed in between, the next planner goes on: that a run takes a version on is in the database.
    """
    return [_planned(store, planner, bundle, one, progress) for one in found]


def _planned(store: Store, planner: Planner, bundle: Bundle, one: Live, progress: Callable[[int], None]) -> LiveRun:
    with store.read() as connection:
        item = read_run(connection, one.run.id)
    if item.state is RunState.PLANNING and item.reason in AGAIN:
        planner.plan(store, item, bundle, progress)
    with store.read() as connection:
        return live_run(connection, read_run(connection, item.id), one.why_not)


def as_json(found: Sequence[LiveRun]) -> list[dict[str, Any]]:
    """For machines, and for the wire."""
    return [{name: getattr(one, name) for name in LiveRun.__slots__} for one in found]
