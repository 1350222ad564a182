"""Planning a run: from its segment to a member row for everybody and a message for what is owed.

Set-based, in chunks of users small enough that nobody waits, each committed with how far it got: a killed planner goes
on where it was, at the run's fixed as-of. The run becomes claimable when the last chunk is committed. A run that takes
on an edited version is planned again in the same way (:mod:`orchestrator.plan.adopting`).

Where several processes write, on PostgreSQL, a large run is cut into shards: whoever leads begins it, and plans it
together with every worker's process (:mod:`orchestrator.plan.sharding`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import Connection, Insert, text, update

from orchestrator import metrics, traces
from orchestrator.campaign.occasions import named
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import Bundle
from orchestrator.clock import Clock
from orchestrator.ledger.adopted import ADOPTING, PLANNED_AGAIN, forget, leave_gone, left_behind, lock_run
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.lanes import LaneTerms, ensure_lanes
from orchestrator.ledger.runs import CONFIRMED, UNUSUAL_SIZE, Run, await_confirmation, read_run, set_run_state
from orchestrator.ledger.shards import WIDTH, cut, drop_over, in_shards
from orchestrator.ledger.states import RunState
from orchestrator.plan.adopting import keep_begun, look_again, moved_lanes
from orchestrator.plan.best_slots import cut_slots
from orchestrator.plan.brakes import Brake, brake, has_begun, waits
from orchestrator.plan.chunks import FIRST_CHUNK, begin_chunk, chunk_end, count_members, next_size
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
from orchestrator.plan.sharding import ShardPlanner
from orchestrator.plan.slots import SlotRow, first_slots, renew_slots, write_new_slots, write_slots
from orchestrator.policy.caps_sql import tags_text
from orchestrator.policy.carriers import Carriers, Routing
from orchestrator.store import Store
from orchestrator.store.counts import count_stale
from orchestrator.store.dialect import among, among_sql
from orchestrator.store.tables import run
from orchestrator.timing.quiet import QuietHours

_PAUSE_SECONDS = 0.02
"""How long who has nothing left to take of a run waits for those who are still at it."""


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans runs. ``routing`` says which account carries what; ``scratch``: nothing outside the run is written."""

    clock: Clock
    quiet: QuietHours
    routing: Routing
    scratch: bool = False
    explore: float = 0.1
    """Of members who get their best hour, the share that gets any, where the campaign does not say."""
    width: int = WIDTH
    """Ids of users to a shard, of runs that are large enough to be cut into several."""

    def plan(self, store: Store, item: Run, bundle: Bundle, progress: Callable[[int], None] = lambda _: None) -> Run:
        """Plan a run to its end, from wherever an earlier planner left it; returns it active (or stopped).

        ``progress`` is told after every chunk how many users have been looked at; what it raises ends the planning,
        to be taken up again from there.
        """
        if item.reason == UNUSUAL_SIZE:
            return self._held_up(store, item, None)
        with store.read() as connection:
            found = brake(connection, item, bundle)
            slots = [] if found is not None else self._first_slots(connection, item, bundle.campaign)
        if found is not None:
            return self._held_up(store, item, found)
        version = item.version
        if store.path is None:
            with store.write() as connection:
                drop_over(connection)
            count_stale(store)
        with store.write() as connection:
            item = lock_run(connection, item.id)
            if not _is_planned(item, version):
                return item
            self.begin(connection, item, bundle, checked=True, slots=slots)
            shared = store.path is None and self._shared(connection, item)
        if shared:
            return self._with_others(store, item, progress)
        return self._alone(store, item, bundle, progress)

    def _shared(self, connection: Connection, item: Run) -> bool:
        return in_shards(connection, item) or cut(connection, item, self.width)

    def _with_others(self, store: Store, item: Run, progress: Callable[[int], None]) -> Run:
        """Plan a run that is in shards together with whoever else does, until it is planned."""
        planner, version = ShardPlanner(store, self), item.version
        while True:
            looked = planner.chunk(item.id)
            if looked is None:
                with store.read() as connection:  # the last shard goes as the run becomes active: it is read after that
                    there = in_shards(connection, item)
                    item = read_run(connection, item.id)
                if not (there and _is_planned(item, version)):
                    return item
                time.sleep(_PAUSE_SECONDS)
            progress(looked or 0)

    def _alone(self, store: Store, item: Run, bundle: Bundle, progress: Callable[[int], None]) -> Run:
        version = item.version
        size, statement = FIRST_CHUNK, self.statement(bundle, store.dialect, item.local_date)
        while True:
            with traces.span("plan chunk", campaign=item.campaign, run=item.id), store.write() as connection:
                began = time.perf_counter()
                begin_chunk(connection)
                item = lock_run(connection, item.id)
                if not _is_planned(item, version):
                    return item
                high = chunk_end(connection, item.planned_through, size)
                if high is not None:
                    self.chunk(connection, statement, item, bundle, high)
                elif self._is_finished(connection, item, bundle.campaign):
                    break
                worked = time.perf_counter() - began
            metrics.plan_seconds.observe(time.perf_counter() - began)
            progress(size)
            size = next_size(size, worked)
        if item.reason != ADOPTING:
            count_members(store, item.id)
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

    def begin(
        self,
        connection: Connection,
        item: Run,
        bundle: Bundle,
        *,
        checked: bool = False,
        slots: Sequence[SlotRow] | None = None,
    ) -> bool:
        """Slots and lanes of a run, once; False when its audience is larger than the campaign allows.

        A run that is taken up again gets lanes for accounts that have come since. ``checked``: its size is known;
        ``slots``: so are they, of before the transaction.
        """
        begun = has_begun(connection, item.id)
        if not begun and not checked and self._too_many(connection, item, bundle):
            return False
        if not begun:
            write_slots(connection, slots or self._first_slots(connection, item, bundle.campaign))
            self._cut(connection, item, bundle.campaign)
        self.lanes(connection, item, bundle.campaign)
        return True

    def _first_slots(self, connection: Connection, item: Run, campaign: Campaign) -> list[SlotRow]:
        """The slots that a run begins with: none if it has begun."""
        if has_begun(connection, item.id):
            return []
        return first_slots(connection, item.id, campaign, item.occasion, self.quiet, self.clock.now())

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
        span = (item.planned_through, high)
        if item.reason == ADOPTING:
            return self._again(connection, item, bundle, span, self.clock.now())
        plans = self.anew if item.reason == PLANNED_AGAIN else self._plan
        return _went_on(connection, item, high, plans(connection, statement, item, bundle, span))

    def anew(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, span: Range) -> int:
        """Plan the users of a chunk, in place of what is there of it; by how many members the run grew."""
        gone = forget(connection, item.id, span)
        return self._plan(connection, statement, item, bundle, span) - gone

    def _plan(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, span: Range) -> int:
        """Plan the users of a chunk of which nothing is there; how many members they are."""
        added = member_rows(connection, statement, item, span)
        if added:
            campaign, now = bundle.campaign, self.clock.now()
            write_new_slots(connection, item.id, campaign, item.occasion, self.quiet, now, span)
            self._cut(connection, item, campaign)
            self._owe(connection, item, campaign, span, now)
        return added

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
