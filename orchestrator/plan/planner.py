"""Planning a run: from its segment to a member row for everybody and a message for what is owed.

Set-based, in chunks of users small enough that nobody waits, each committed with how far it got: a killed planner goes
on where it was, at the run's fixed as-of. The run becomes claimable when the last chunk is committed. A run that takes
on an edited version is planned again in the same way (:mod:`orchestrator.plan.adopting`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection, Insert, text, update

from orchestrator import metrics
from orchestrator.campaign.occasions import named
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import Bundle
from orchestrator.clock import Clock
from orchestrator.ledger.adopted import ADOPTING, PLANNED_AGAIN, forget, leave_gone, left_behind, lock_run
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.lanes import LaneTerms, ensure_lanes
from orchestrator.ledger.runs import CONFIRMED, UNUSUAL_SIZE, Run, await_confirmation, read_run, set_run_state
from orchestrator.ledger.states import RunState
from orchestrator.plan.adopting import keep_begun, look_again, moved_lanes
from orchestrator.plan.best_slots import cut_slots
from orchestrator.plan.brakes import Brake, brake, has_begun, waits
from orchestrator.plan.members import (
    EVERYBODY,
    Range,
    member_rows,
    members_statement,
    own_addresses,
    skip_the_rest,
    step_messages,
)
from orchestrator.plan.places import place_sql
from orchestrator.plan.slots import renew_slots, write_new_slots, write_slots
from orchestrator.policy.caps_sql import tags_text
from orchestrator.policy.carriers import Carriers, Routing
from orchestrator.store import Store
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import run
from orchestrator.timing.quiet import QuietHours

FIRST_CHUNK = 500
MAX_CHUNK = 20_000
CHUNK_SECONDS = 0.03
"""What a chunk aims at, so that no write transaction takes 50 ms."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans runs. ``routing`` says which account carries what; ``scratch``: nothing outside the run is written."""

    clock: Clock
    quiet: QuietHours
    routing: Routing
    scratch: bool = False
    explore: float = 0.1
    """Of members who get their best hour, the share that gets any, where the campaign does not say."""

    def plan(self, store: Store, item: Run, bundle: Bundle, progress: Callable[[int], None] = lambda _: None) -> Run:
        """Plan a run to its end, from wherever an earlier planner left it; returns it active (or stopped).

        ``progress`` is told after every chunk how many users have been looked at; what it raises ends the planning,
        to be taken up again from there.
        """
        with store.read() as connection:
            found = None if item.reason == UNUSUAL_SIZE else brake(connection, item, bundle)
        if found is not None or item.reason == UNUSUAL_SIZE:
            return self._held_up(store, item, found)
        version = item.version
        with store.write() as connection:
            item = lock_run(connection, item.id)
            if not _is_planned(item, version):
                return item
            self.begin(connection, item, bundle, checked=True)
        size, statement = FIRST_CHUNK, self.statement(bundle, store.dialect, item.local_date)
        while True:
            began = time.perf_counter()
            with store.write() as connection:
                item = lock_run(connection, item.id)
                if not _is_planned(item, version):
                    return item
                high = chunk_end(connection, item.planned_through, size)
                if high is not None:
                    self.chunk(connection, statement, item, bundle, high)
                elif self._is_finished(connection, item, bundle.campaign):
                    break
            seconds = time.perf_counter() - began
            metrics.plan_seconds.observe(seconds)
            progress(size)
            size = next_size(size, seconds)
        if item.reason != ADOPTING:
            _count_members(store, item.id)
        return replace(item, state=RunState.ACTIVE)

    def _is_finished(self, connection: Connection, item: Run, campaign: Campaign) -> bool:
        """Make a run claimable; not yet if it took on a version, and of somebody something came back since."""
        user = None
        if item.reason == ADOPTING:
            user = left_behind(connection, item.id, moved_lanes(connection, item, campaign))
        if user is None:
            return set_run_state(connection, item.id, RunState.ACTIVE, self.clock.now())
        connection.execute(update(run).where(run.c.id == item.id).values(planned_through=user - 1))
        return False

    def _held_up(self, store: Store, item: Run, found: Brake | None) -> Run:
        """Stop a run that is too large; let one of an unusual size wait, until it is over."""
        now = self.clock.now()
        with store.write() as connection:
            if not _is_planned(lock_run(connection, item.id), item.version):  # edited or stopped as it was counted
                return read_run(connection, item.id)
            if found is not None and found.reason == UNUSUAL_SIZE:
                if await_confirmation(connection, item, now):
                    facts = {"campaign": item.campaign, "date": named(connection, item)}
                    numbers = {"audience": found.audience, "usual": found.most}
                    raise_alert(connection, str(item.id), UNUSUAL_SIZE, now, {**facts, **numbers})
            elif found is not None or not waits(item, now):
                reason = found.reason if found is not None else UNUSUAL_SIZE
                set_run_state(connection, item.id, RunState.STOPPED, now, reason)
            return read_run(connection, item.id)

    def begin(self, connection: Connection, item: Run, bundle: Bundle, *, checked: bool = False) -> bool:
        """Slots and lanes of a run, once; False when its audience is larger than the campaign allows.

        A run that is taken up again gets lanes for accounts that have come since. ``checked``: its size is known.
        """
        begun = has_begun(connection, item.id)
        if not begun and not checked and self._too_many(connection, item, bundle):
            return False
        if not begun:
            write_slots(connection, item.id, bundle.campaign, item.occasion, self.quiet, self.clock.now())
            self._cut(connection, item, bundle.campaign)
        self.lanes(connection, item, bundle.campaign)
        return True

    def lanes(self, connection: Connection, item: Run, campaign: Campaign) -> None:
        """A run's lanes, for all accounts that there are now."""
        named = (campaign.priority, campaign.topic, tags_text(campaign.tagged))
        for step in campaign.steps:
            terms = LaneTerms(item.id, step.index, step.channel, step.rate, *named, campaign.rate)
            ensure_lanes(connection, terms, [one.name for one in self._carriers(step)])

    def statement(self, bundle: Bundle, dialect: str, day: date, *, some: bool = False) -> Insert:
        """What writes the members of a chunk of the run of a local date; ``some``: :meth:`join`'s, for any date."""
        only = [text(f"users.id IN {among_sql(dialect, 'some')}")] if some else []
        return members_statement(bundle, dialect, place_sql(dialect, bundle.campaign, self.quiet), day, only)

    def chunk(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, high: int) -> Run:
        """Plan the users after ``item.planned_through`` up to ``high``; returns the run as it then is."""
        span, now = (item.planned_through, high), self.clock.now()
        if item.reason == ADOPTING:
            return self._again(connection, item, bundle, span, now)
        gone = forget(connection, item.id, span) if item.reason == PLANNED_AGAIN else 0
        added = member_rows(connection, statement, item, span)
        if added:
            campaign = bundle.campaign
            write_new_slots(connection, item.id, campaign, item.occasion, self.quiet, now, span)
            self._cut(connection, item, campaign)
            self._owe(connection, item, campaign, span, now)
        return _went_on(connection, item, high, added - gone)

    def _again(self, connection: Connection, item: Run, bundle: Bundle, span: Range, now: datetime) -> Run:
        """Plan members of a run that takes on a version: as of the same instant, so due times stay as they were."""
        campaign, place = bundle.campaign, place_sql(connection.dialect.name, bundle.campaign, self.quiet)
        taken = look_again(connection, item, bundle, span, place)
        write_new_slots(connection, item.id, campaign, item.occasion, self.quiet, item.as_of, span, every=True)
        self._cut(connection, item, campaign)
        self._owe(connection, item, campaign, span, now)
        if keep_begun(connection, item.id, span):
            skip_the_rest(connection, item, campaign, span, now, self._carriers(campaign.steps[0]))
        leave_gone(connection, item.id, span, taken, now)
        return _went_on(connection, item, span[1], 0)

    def join(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, users: Sequence[int]) -> int:
        """Let users who are in the segment now be members of a triggered campaign's run; how many of them are.

        None of them is a member yet. Their slots are those of now, and the run opens for them now or when it next may.
        """
        now, campaign = self.clock.now(), bundle.campaign
        self.lanes(connection, item, campaign)
        place = place_sql(connection.dialect.name, campaign, self.quiet)
        renew_slots(connection, item, campaign, place, self.quiet, now, users)
        joined = member_rows(connection, statement, replace(item, as_of=now), EVERYBODY, some=among(users))
        if joined:
            self._owe(connection, item, campaign, EVERYBODY, now, users)
            grown = {"audience": run.c.audience + joined}
            connection.execute(update(run).where(run.c.id == item.id).values(grown))
        return joined

    def _owe(  # one value each
        self,
        connection: Connection,
        item: Run,
        campaign: Campaign,
        span: Range,
        now: datetime,
        some: Sequence[int] | None = None,
    ) -> None:
        """Messages for the members of a chunk, and the reason of whoever gets none."""
        if not self.scratch:
            own_addresses(connection, item, campaign, span, now, some)
        for step in campaign.steps:
            step_messages(connection, item, campaign, step, span, now, self._carriers(step), some)
        skip_the_rest(connection, item, campaign, span, now, self._carriers(campaign.steps[0]), some)

    def _cut(self, connection: Connection, item: Run, campaign: Campaign) -> None:
        if campaign.at_best_hours:
            cut_slots(connection, item.id, campaign, item.occasion, self.quiet, self.explore)

    def account_of(self, channel: str, named: str | None) -> str:
        """The account that a step's messages go through first of all.

        Raises:
            ConfigError: no such account is configured.
        """
        return self.routing.of(channel, named)[0].name

    def _carriers(self, step: Step) -> Carriers:
        return self.routing.of(step.channel, step.account)

    @staticmethod
    def _too_many(connection: Connection, item: Run, bundle: Bundle) -> bool:
        found = brake(connection, replace(item, reason=CONFIRMED), bundle)
        return found is not None


def _is_planned(item: Run, version: str) -> bool:
    """Whether a run is still being planned under this version: nobody has stopped or edited it meanwhile."""
    return item.state is RunState.PLANNING and item.version == version


def _went_on(connection: Connection, item: Run, high: int, added: int) -> Run:
    done = {"planned_through": high, "audience": run.c.audience + added}
    connection.execute(update(run).where(run.c.id == item.id).values(done))
    return replace(item, planned_through=high, audience=item.audience + added)


_DECISIONS = text("SELECT decision, coalesce(reason, ''), count(*) FROM member WHERE run_id = :run GROUP BY 1, 2")


def _count_members(store: Store, run_id: int) -> None:
    with store.read() as connection:
        for decision, reason, count in connection.execute(_DECISIONS, {"run": run_id}):
            metrics.members.labels(decision, reason).inc(count)


_HIGH = text("SELECT max(id) FROM (SELECT id FROM users WHERE id > :low ORDER BY id LIMIT :n) AS chunk")


def chunk_end(connection: Connection, low: int, size: int) -> int | None:
    """The last of the next ``size`` users after ``low``; None when there are none."""
    found: int | None = connection.execute(_HIGH, {"low": low, "n": size}).scalar()
    return found


def next_size(size: int, seconds: float, most: int = MAX_CHUNK) -> int:
    """Towards ``CHUNK_SECONDS``, at most twice or half at a time."""
    wanted = int(size * CHUNK_SECONDS / max(seconds, 1e-6))
    return min(max(wanted, size // 2, FIRST_CHUNK // 5), size * 2, most)
