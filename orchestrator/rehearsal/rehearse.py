"""A rehearsal from beginning to end: copy, launch there, play, count, and leave nothing behind."""

from __future__ import annotations

import gc
import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select

from orchestrator.campaign.version import Bundle, read_bundle, save_version
from orchestrator.content.links import Links
from orchestrator.dispatch.restraint import CapsNow
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.plan.adopting import adopt_live
from orchestrator.plan.planner import Planner
from orchestrator.plan.triggers import listeners
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import UNCAPPED
from orchestrator.rehearsal import cautions, counting, echoes
from orchestrator.rehearsal.afterwards import Afterwards
from orchestrator.rehearsal.channels import Terms, open_accounts
from orchestrator.rehearsal.clock import EventClock
from orchestrator.rehearsal.counting import Span
from orchestrator.rehearsal.history import history
from orchestrator.rehearsal.responses import Responses, read_rates
from orchestrator.rehearsal.scaling import whole
from orchestrator.rehearsal.scratch import Extent, analyse, copy, scratch
from orchestrator.rehearsal.stage import Stage
from orchestrator.rehearsal.values import Assumption, Caution, Rehearsed
from orchestrator.report.launched import launched
from orchestrator.report.tally import reach
from orchestrator.store import Store
from orchestrator.store.tables import campaign, users

ACTOR = "rehearsal"
WHOLE = 250_000
"""Users up to whom a rehearsal takes everybody; of more it takes a stable sample of about so many."""
_GRAINS = ((1_000, 10), (50_000, 60))
_COARSEST = 120
_COLLECT_AFTER = (100_000, 50, 100)
_EVENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")

COPYING, PLAYING, COUNTING = "copying", "playing", "counting"
Progress = Callable[[str, float], None]
"""Told the phase, and how much of it is done (rows copied; a share of the time played)."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to rehearse, and on what terms. ``share`` None: everybody, or a sample when there are very many."""

    bundle: Bundle
    span: timedelta
    accounts: Sequence[Terms]
    planner: Planner
    """As the deployment has it; its clock is not asked."""
    caps: CapsNow = lambda: UNCAPPED
    seed: int = 1
    rates: Path | None = None
    responses: Responses | None = None
    """Instead of history and file: what the answers are."""
    alone: bool = False
    """Without the other running campaigns."""
    share: float | None = None
    links: Links | None = None
    only_to: OnlyTo = None
    sms_price: float | None = None
    """Of one part, in whatever money."""
    grain: timedelta | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Before:
    """How things stood at the start."""

    people: int
    spent: tuple[int, int]
    stopped: frozenset[str]


@dataclass(frozen=True, slots=True)
class Staged:
    """A rehearsal that is ready to be played: the scratch database is filled, the campaign launched there."""

    store: Store
    stage: Stage
    responses: Responses
    share: float
    before: Before


@contextmanager
def staged(
    real: Store, order: Order, now: datetime, progress: Progress = lambda _phase, _done: None
) -> Iterator[Staged]:
    """Everything up to the first instant; the real database is read, and nothing else."""
    with scratch() as store:
        with real.read() as connection:
            share = order.share or _share(connection)
            extent = _extent(connection, order, now, share)
            responses = _responses(connection, order, now)
        copy(real, store, extent, lambda rows: progress(COPYING, rows))
        before = _launch(store, order, now)
        yield Staged(store, _stage(store, order, EventClock(now), responses, share, before), responses, share, before)


def rehearse(real: Store, order: Order, now: datetime, progress: Progress = lambda _phase, _done: None) -> Rehearsed:
    """Play the campaign from ``now`` on, and count; nothing of it stays."""
    began = time.perf_counter()
    with _few_collections(), staged(real, order, now, progress) as ready:
        ready.stage.play(now + order.span, lambda instant: progress(PLAYING, (instant - now) / order.span))
        progress(COUNTING, 0.0)
        analyse(ready.store)
        with ready.store.read() as connection:
            found = _counted(connection, order, now, ready)
    return replace(found, took=time.perf_counter() - began)


@contextmanager
def _few_collections() -> Iterator[None]:
    """What a rehearsal keeps has no cycles: to look through it time and again would be a tenth of its time."""
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _share(connection: Connection) -> float:
    people = connection.execute(select(func.count()).select_from(users)).scalar_one()
    return 1.0 if people <= WHOLE else WHOLE / people


def _extent(connection: Connection, order: Order, now: datetime, share: float) -> Extent:
    """What campaigns and segments speak of: every name in them that an event or a campaign could have."""
    rows = connection.execute(select(campaign.c.name, campaign.c.version, campaign.c.state)).all()
    bundles = [order.bundle]
    for row in rows:
        if row.state == CampaignState.RUNNING and not order.alone:
            bundles += _readable(connection, row.version)
    in_segments = {word for bundle in bundles for word in _words(dict(bundle.segments))}
    goals = {word for bundle in bundles for word in _goals(bundle)}
    said = {word for bundle in bundles for word in _words(dict(bundle.definition))}
    names = {word for word in in_segments | said if _EVENT_NAME.fullmatch(word)} | goals
    return Extent(now, share, names, {row.name for row in rows} & in_segments)


def _readable(connection: Connection, version: str) -> list[Bundle]:
    try:
        return [read_bundle(connection, version)]
    except OrchestratorError:  # the planner leaves it out too
        return []


def _goals(bundle: Bundle) -> Iterator[str]:
    goal = bundle.campaign.goal
    yield goal.event
    if goal.conversion is not None:
        yield goal.conversion.event


def _words(value: Any) -> Iterator[str]:
    """Every text in nested data, wherever it stands."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _words(inner)


def _responses(connection: Connection, order: Order, now: datetime) -> Responses:
    if order.responses is not None:
        return order.responses
    known = history(connection, now, order.seed)
    return read_rates(order.rates, known) if order.rates is not None else known


def _launch(store: Store, order: Order, now: datetime) -> Before:
    """Launch the files as they are, there, runs under way included; the others go on as they are, or wait."""
    name = order.bundle.campaign.name
    with store.write() as connection:
        if order.alone:
            running = select(campaign.c.name).where(campaign.c.state == CampaignState.RUNNING, campaign.c.name != name)
            for other in connection.execute(running).scalars().all():
                runs.set_campaign_state(connection, other, CampaignState.PAUSED, now, ACTOR)
        digest = save_version(connection, order.bundle, now)
        runs.launch(connection, name, digest, now, ACTOR)
        adopt_live(connection, order.bundle, digest, now, ACTOR)
        people = connection.execute(select(func.count()).select_from(users)).scalar_one()
        return Before(people, counting.spent(connection, name), frozenset(stopped_accounts(connection)))


def _stage(  # one value each
    store: Store, order: Order, clock: EventClock, responses: Responses, share: float, before: Before
) -> Stage:
    accounts = open_accounts(order.accounts, responses, clock, share)
    planner = replace(order.planner, clock=clock)
    grain = _grain(order, before)
    came = Afterwards(responses)
    with store.write() as connection:
        triggers = [one.trigger for one in listeners(connection, clock.now()) if one.running]
        again = echoes.prepare(connection, triggers, clock.now(), order.span, echoes.asked_by(order.bundle.campaign))
    return Stage(store, clock, planner, accounts, came, order.links, order.only_to, order.caps, grain, again)


def _grain(order: Order, before: Before) -> timedelta:
    """The more people, the coarser."""
    seconds = next((seconds for most, seconds in _GRAINS if before.people <= most), _COARSEST)
    return order.grain or timedelta(seconds=seconds)


def _counted(connection: Connection, order: Order, now: datetime, ready: Staged) -> Rehearsed:
    share, before = ready.share, ready.before
    name, until = order.bundle.campaign.name, now + order.span
    span = Span(name, now)
    texts = counting.sms(connection, span, before.spent, order.sms_price)
    found = Rehearsed(
        campaign=name,
        since=now,
        until=until,
        users=math.floor(before.people / share + 0.5),
        share=share,
        took=0.0,
        tally=reach(connection, replace(launched(connection, name), since=now), until),
        runs=counting.outlines(connection, span),
        cells=counting.cells(connection, span),
        whys=counting.whys(connection, span),
        loads=counting.loads(connection, span, order.accounts, share, _grain(order, before)),
        sms=texts,
        neighbours=() if order.alone else counting.neighbours(connection, span),
        assumptions=tuple(_assumptions(order, ready.responses)),
        cautions=(),
        notes=order.notes,
    )
    return whole(replace(found, cautions=tuple(_cautions(connection, found, order, before, span, ready.stage.echoes))))


def _cautions(  # one value each
    connection: Connection,
    found: Rehearsed,
    order: Order,
    before: Before,
    span: Span,
    again: echoes.Echoes | None,
) -> Iterator[Caution]:
    channels = {step.channel for step in order.bundle.campaign.steps}
    accounts = [one.name for one in order.accounts if one.channel in channels]
    yield from cautions.of_runs(found.runs, found.sent)
    yield from cautions.stopped(connection, accounts, before.stopped)
    yield from cautions.budget(connection, span)
    yield from cautions.budget_of_sample(order.bundle.campaign, found.sms, found.share)
    yield from cautions.of_messages(found.whys, found.sent)
    yield from cautions.of_loads(found.loads)
    yield from cautions.nowhere(connection, span)
    yield from cautions.of_echoes(order.bundle.campaign, again)
    yield from cautions.of_follow_ups(order.bundle.campaign, again)


def _assumptions(order: Order, responses: Responses) -> Iterator[Assumption]:
    for channel in dict.fromkeys(step.channel for step in order.bundle.campaign.steps):
        source = responses.sources.get(channel, "assumed")
        for name, rate in responses.of(channel):
            yield Assumption(channel, name, rate, source)
    yield Assumption("", "by_themselves", responses.by_themselves, responses.sources.get("", "assumed"))


__all__ = ["COPYING", "COUNTING", "PLAYING", "Order", "Progress", "rehearse"]
