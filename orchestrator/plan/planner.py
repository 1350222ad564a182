"""Planning a run: from its segment to a member row for everybody and a message for what is owed.

Set-based, in chunks of users small enough that nobody waits, each committed with how far it got: a killed planner goes
on where it was, at the run's fixed as-of. The run becomes claimable when the last chunk is committed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection, Insert, text, update

from orchestrator import metrics
from orchestrator.campaign.spec import Campaign, Step
from orchestrator.campaign.version import Bundle
from orchestrator.clock import Clock
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.lanes import LaneTerms, ensure_lanes
from orchestrator.ledger.runs import CONFIRMED, UNUSUAL_SIZE, Run, await_confirmation, read_run, set_run_state
from orchestrator.ledger.states import RunState
from orchestrator.plan.best_slots import cut_slots
from orchestrator.plan.brakes import Brake, brake, has_begun, waits
from orchestrator.plan.members import member_rows, members_statement, own_addresses, skip_the_rest, step_messages
from orchestrator.plan.places import place_sql
from orchestrator.plan.slots import write_new_slots, write_slots
from orchestrator.policy.caps_sql import tags_text
from orchestrator.policy.carriers import Carriers, Routing
from orchestrator.store import Store
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
        with store.write() as connection:
            self.begin(connection, item, bundle, checked=True)
        size, statement = FIRST_CHUNK, self.statement(bundle, store.dialect)
        while True:
            began = time.perf_counter()
            with store.write() as connection:
                state = read_run(connection, item.id).state
                if state is not RunState.PLANNING:  # an operator has stopped it meanwhile
                    return replace(item, state=state)
                high = chunk_end(connection, item.planned_through, size)
                if high is None:
                    set_run_state(connection, item.id, RunState.ACTIVE, self.clock.now())
                    break
                item = self.chunk(connection, statement, item, bundle, high)
            seconds = time.perf_counter() - began
            metrics.plan_seconds.observe(seconds)
            progress(size)
            size = _next_size(size, seconds)
        _count_members(store, item.id)
        return replace(item, state=RunState.ACTIVE)

    def _held_up(self, store: Store, item: Run, found: Brake | None) -> Run:
        """Stop a run that is too large; let one of an unusual size wait, until it is over."""
        now = self.clock.now()
        with store.write() as connection:
            if found is not None and found.reason == UNUSUAL_SIZE:
                if await_confirmation(connection, item, now):
                    facts = {"campaign": item.campaign, "date": str(item.local_date)}
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
            write_slots(connection, item.id, bundle.campaign, item.local_date, self.quiet, self.clock.now())
            self._cut(connection, item, bundle.campaign)
        campaign = bundle.campaign
        named = (campaign.priority, campaign.topic, tags_text(campaign.tagged))
        for step in campaign.steps:
            terms = LaneTerms(item.id, step.index, step.channel, step.rate, *named, campaign.rate)
            ensure_lanes(connection, terms, [one.name for one in self._carriers(step)])
        return True

    def statement(self, bundle: Bundle, dialect: str) -> Insert:
        """What writes the members of a chunk."""
        return members_statement(bundle, dialect, place_sql(dialect, bundle.campaign, self.quiet))

    def chunk(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, high: int) -> Run:
        """Plan the users after ``item.planned_through`` up to ``high``; returns the run as it then is."""
        span, now = (item.planned_through, high), self.clock.now()
        added = member_rows(connection, statement, item, span)
        if added:
            campaign = bundle.campaign
            write_new_slots(connection, item.id, campaign, item.local_date, self.quiet, now, span)
            self._cut(connection, item, campaign)
            if not self.scratch:
                own_addresses(connection, item, campaign, span, now)
            for step in campaign.steps:
                step_messages(connection, item, campaign, step, span, now, self._carriers(step))
            skip_the_rest(connection, item, campaign, span, now, self._carriers(campaign.steps[0]))
        done = {"planned_through": high, "audience": run.c.audience + added}
        connection.execute(update(run).where(run.c.id == item.id).values(done))
        return replace(item, planned_through=high, audience=item.audience + added)

    def _cut(self, connection: Connection, item: Run, campaign: Campaign) -> None:
        if campaign.at_best_hours:
            cut_slots(connection, item.id, campaign, item.local_date, self.quiet, self.explore)

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


def _next_size(size: int, seconds: float) -> int:
    """Towards ``CHUNK_SECONDS``, at most twice or half at a time."""
    wanted = int(size * CHUNK_SECONDS / max(seconds, 1e-6))
    return min(max(wanted, size // 2, FIRST_CHUNK // 5), size * 2, MAX_CHUNK)
