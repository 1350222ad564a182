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
from sqlalchemy.exc import SQLAlchemyError

from orchestrator import metrics
from orchestrator.campaign.occasions import named
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock, to_micros
from orchestrator.daemon.wiring import Parts
from orchestrator.dispatch.sweep import recover_dead, sweep
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.alerts import raise_alert
from orchestrator.ledger.receipts import apply_kept, crossed
from orchestrator.ledger.recover import Recovered
from orchestrator.ledger.runs import Run, runs_in
from orchestrator.ledger.shards import drop_over
from orchestrator.ledger.states import RunState
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.ledger.waiting import unknown, waiting
from orchestrator.limits.breaker import BreakerState
from orchestrator.plan.brakes import waits
from orchestrator.plan.due import due_runs
from orchestrator.plan.enrolling import Enroller
from orchestrator.plan.sharding import ShardPlanner
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
    ring: Callable[[], None] = lambda: None
    """Tell the workers that there is something to send: see ``bell.py``."""
    stops: Callable[[], bool] = lambda: False
    """Whether the process is to end."""
    enroller: Enroller = field(init=False)
    sharing: ShardPlanner = field(init=False)
    receipts: tuple[int | None, int | None] = (None, None)
    """The newest receipts as of the last two looks: between these, the ids of what is not committed yet may lie."""

    def __post_init__(self) -> None:
        """They keep what they have compiled, from tick to tick."""
        self.enroller = Enroller(self.store, self.parts.planner, self.ends)
        self.sharing = ShardPlanner(self.store, self.parts.planner)

    @property
    def clock(self) -> Clock:
        """Business and machine time."""
        return self.parts.clock

    def runs(self) -> None:
        """Create the runs that are due, and plan every run that is not planned to its end."""
        with self.store.write() as connection:
            drop_over(connection)
            for item, _bundle in due_runs(connection, self.clock.now()):
                log.info("run_due", extra={"campaign": item.campaign, "run": item.id, "date": item.occasion.key})
        with self.store.read() as connection:
            waiting = [item for item in runs_in(connection, RunState.PLANNING) if not waits(item, self.clock.now())]
        with suppress(_StoppingError):
            for item in waiting:
                self._plan(item)

    def shards(self) -> None:
        """Help to plan the runs that are in shards, until there is no shard that nobody else has in hand.

        Those of a version that a run has left go first: a leader of a release that knows no shards leaves them there,
        and they would be taken for those of the same version when it comes back to that.
        """
        worked = False
        try:
            with self.store.write() as connection:
                drop_over(connection)
            while not self.stops() and self.sharing.chunk() is not None:
                worked = True
        except OrchestratorError as error:  # a later release's campaign: others go on with it
            log.warning("shard_failed", extra={"error": error.message})
        except SQLAlchemyError as error:  # rolled back; whoever takes the shard next goes on where it was
            log.warning("shard_failed", extra={"error": type(error).__name__})
        if worked:  # the run may be whole by now
            self.ring()

    def enrol(self) -> None:
        """Let those join whose event triggers a campaign."""
        for joined in self.enroller.tick():
            of, run = f"{joined.run.local_date}", joined.run
            log.info("joined", extra={"campaign": run.campaign, "run": run.id, "date": of, "users": len(joined.users)})
            self.ring()

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
        self.ring()

    def sweeper(self) -> None:
        """Recover, expire, finish; and measure the queue."""
        try:
            swept = sweep(self.store, self.clock, self.parts.resend, self.parts.planner.routing)
            self._apply_receipts()
            self._measure()
        except Exception:
            metrics.forget_queue()  # what was is not what is: no worker at all is what an alert should see
            raise
        self._told(swept.recovered)
        if swept.moved or swept.woken:
            self.ring()

    def _apply_receipts(self) -> None:
        """What overtook the end of its attempt, and was not there yet when that was written."""
        before, last = self.receipts
        with self.store.read() as connection:
            late, newest = crossed(connection, before)
        if late:
            with self.store.write() as connection:
                apply_kept(connection, late)
        self.receipts = (last, newest)

    def recover(self) -> None:
        """Take back what dead workers held: within seconds of their lease's end, not with the next sweep."""
        self._told(recover_dead(self.store, self.clock, self.parts.resend))

    def _told(self, recovered: Recovered) -> None:
        if recovered != Recovered():
            log.warning("recovered", extra={"counts": str(recovered)})
        if recovered.requeued or recovered.resent:
            self.ring()

    def _measure(self) -> None:
        now = self.clock.now()
        with self.store.read() as connection:
            queue = waiting(connection, now)
            doubtful = unknown(connection)
            live = connection.execute(_WORKERS, {"machine": to_micros(self.clock.machine())}).scalar_one()
        metrics.forget_queue()
        for row in queue:
            metrics.queue_due.labels(row.channel, row.account).set(row.messages)
        for channel in {row.channel for row in queue}:
            oldest = min((row.oldest for row in queue if row.channel == channel and row.oldest), default=now)
            metrics.oldest_due_seconds.labels(channel).set((now - oldest).total_seconds())
        for channel, n in doubtful.items():
            metrics.unknown_messages.labels(channel).set(n)
        metrics.workers.set(live)

    def brakes(self) -> None:
        """Show how the breakers of this process stand, and which accounts are stopped: for every process that sends."""
        with self.store.read() as connection:
            stopped = stopped_accounts(connection)
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
