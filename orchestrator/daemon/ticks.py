"""What happens every few seconds, whoever ticks: due runs and their plans, the sweeper, attribution.

Each is a plain function of the store and the clock; the database decides what there is to do, so a tick too many does
nothing and a tick missed is made up by the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from sqlalchemy import text

from orchestrator import metrics
from orchestrator.campaign.occasions import named
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock, to_micros
from orchestrator.daemon.wiring import Parts
from orchestrator.dispatch.sweep import sweep
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.runs import Run, runs_in
from orchestrator.ledger.states import RunState
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.limits.breaker import BreakerState
from orchestrator.plan.brakes import waits
from orchestrator.plan.due import due_runs
from orchestrator.plan.enrolling import Enroller
from orchestrator.store import Store
from orchestrator.tracking.attribution import attribute

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ticks:
    """The periodic work of a deployment."""

    store: Store
    parts: Parts
    ends: Callable[[], bool] = lambda: False
    """Whether the process is to end, or another one leads by now: a plan stops at its next chunk."""
    enroller: Enroller = field(init=False)

    def __post_init__(self) -> None:
        """It keeps what it has compiled, from tick to tick."""
        self.enroller = Enroller(self.store, self.parts.planner, self.ends)

    @property
    def clock(self) -> Clock:
        """Business and machine time."""
        return self.parts.clock

    def runs(self) -> None:
        """Create the runs that are due, and plan every run that is not planned to its end."""
        with self.store.write() as connection:
            for item, _bundle in due_runs(connection, self.clock.now()):
                log.info("run_due", extra={"campaign": item.campaign, "run": item.id, "date": item.occasion.key})
        with self.store.read() as connection:
            waiting = [item for item in runs_in(connection, RunState.PLANNING) if not waits(item, self.clock.now())]
        with suppress(_StoppingError):
            for item in waiting:
                self._plan(item)

    def enrol(self) -> None:
        """Let those join whose event triggers a campaign."""
        for joined in self.enroller.tick():
            of, run = f"{joined.run.local_date}", joined.run
            log.info("joined", extra={"campaign": run.campaign, "run": run.id, "date": of, "users": len(joined.users)})

    def _go_on(self, _count: int) -> None:
        if self.ends():
            raise _StoppingError

    def _plan(self, item: Run) -> None:
        try:
            with self.store.read() as connection:
                bundle = read_bundle(connection, item.version)
            planned = self.parts.planner.plan(self.store, item, bundle, self._go_on)
        except OrchestratorError as error:  # one campaign's fault is not the others'; the next tick tries again
            log.error("plan_failed", extra={"campaign": item.campaign, "run": item.id, "error": error.message})  # noqa: TRY400
            with self.store.write() as connection:
                facts = {"campaign": item.campaign, "date": named(connection, item)}
                raise_alert(connection, str(item.id), "plan_failed", self.clock.now(), facts)
            return
        metrics.runs_planned.labels(item.campaign).inc(planned.state is RunState.ACTIVE)
        what = {"campaign": item.campaign, "run": item.id, "audience": planned.audience, "state": planned.state}
        log.info("run_planned", extra=what)

    def sweeper(self) -> None:
        """Recover, expire, finish; and measure the queue."""
        swept = sweep(self.store, self.clock, self.parts.resend, self.parts.planner.routing)
        if any((swept.recovered.requeued, swept.recovered.resent, swept.recovered.unknown, swept.recovered.poisoned)):
            metrics.lease_steals.inc()
            log.warning("recovered", extra={"counts": str(swept.recovered)})
        self._measure()

    def _measure(self) -> None:
        now = to_micros(self.clock.now())
        with self.store.read() as connection:
            queue = connection.execute(_QUEUE, {"now": now}).all()
            unknown = connection.execute(_UNKNOWN).all()
            live = connection.execute(_WORKERS, {"machine": to_micros(self.clock.machine())}).scalar_one()
            stopped = stopped_accounts(connection)
        for gauge in (metrics.queue_due, metrics.unknown_messages, metrics.oldest_due_seconds):
            gauge.clear()
        for row in queue:
            metrics.queue_due.labels(row.channel, row.account).set(row.n)
        for channel in {row.channel for row in queue}:
            oldest = min((row.oldest for row in queue if row.channel == channel and row.oldest), default=now)
            metrics.oldest_due_seconds.labels(channel).set((now - oldest) / 1e6)
        for row in unknown:
            metrics.unknown_messages.labels(row.channel).set(row.n)
        metrics.workers.set(live)
        for name, account in self.parts.accounts.items():
            level = STOPPED if name in stopped else LEVELS[account.breaker.state(name)]
            metrics.breaker_open.labels(name).set(level)

    def attribution(self) -> None:
        """Find who came back."""
        with metrics.attribution_seconds.time():
            attribute(self.store, self.clock.now())


class _StoppingError(Exception):
    """The process ends: leave the rest of the plan to the next one."""


LEVELS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
STOPPED = 3
"""What the metric ``breaker_open`` shows."""

_WORKERS = text("SELECT count(*) FROM worker WHERE ended_at IS NULL AND lease_until > :machine")
_QUEUE = text("""
    SELECT lane.channel, lane.account, count(message.id) AS n, min(message.due_at) AS oldest
    FROM lane JOIN run ON run.id = lane.run_id AND run.state = 'active'
    LEFT JOIN message ON message.lane_id = lane.id AND message.state = 'planned' AND message.due_at <= :now
    GROUP BY lane.channel, lane.account""")
_UNKNOWN = text("""
    SELECT lane.channel, count(*) AS n FROM message JOIN lane ON lane.id = message.lane_id
    WHERE message.state = 'unknown' GROUP BY lane.channel""")
