"""What happens every few seconds, whoever ticks: due runs and their plans, the sweeper, attribution.

Each is a plain function of the store and the clock; the database decides what there is to do, so a tick too many does
nothing and a tick missed is made up by the next.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import text

from orchestrator import metrics
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import Clock, from_micros, to_micros
from orchestrator.daemon.wiring import Parts
from orchestrator.dispatch.sweep import sweep
from orchestrator.errors import OrchestratorError
from orchestrator.ledger.runs import Run, runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan.due import due_runs
from orchestrator.store import Store
from orchestrator.tracking.attribution import attribute

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ticks:
    """The periodic work of a deployment."""

    store: Store
    parts: Parts

    @property
    def clock(self) -> Clock:
        """Business and machine time."""
        return self.parts.clock

    def runs(self) -> None:
        """Create the runs that are due, and plan every run that is not planned to its end."""
        with self.store.write() as connection:
            for item, _bundle in due_runs(connection, self.clock.now()):
                log.info("run_due", extra={"campaign": item.campaign, "run": item.id, "date": str(item.local_date)})
        with self.store.read() as connection:
            waiting = runs_in(connection, RunState.PLANNING)
        for item in waiting:
            self._plan(item)

    def _plan(self, item: Run) -> None:
        with self.store.read() as connection:
            bundle = read_bundle(connection, item.version)
        try:
            planned = self.parts.planner.plan(self.store, item, bundle)
        except OrchestratorError as error:  # one campaign's fault is not the others'; the next tick tries again
            log.error("plan_failed", extra={"campaign": item.campaign, "run": item.id, "error": error.message})  # noqa: TRY400
            return
        metrics.runs_planned.labels(item.campaign).inc()
        what = {"campaign": item.campaign, "run": item.id, "audience": planned.audience, "state": planned.state}
        log.info("run_planned", extra=what)

    def sweeper(self) -> None:
        """Recover, expire, finish; and measure the queue."""
        swept = sweep(self.store, self.clock, self.parts.resend)
        if any((swept.recovered.requeued, swept.recovered.resent, swept.recovered.unknown, swept.recovered.poisoned)):
            metrics.lease_steals.inc()
            log.warning("recovered", extra={"counts": str(swept.recovered)})
        self._measure()

    def _measure(self) -> None:
        now = to_micros(self.clock.now())
        with self.store.read() as connection:
            queue = connection.execute(_QUEUE, {"now": now}).all()
            unknown = connection.execute(_UNKNOWN).all()
        metrics.queue_due.clear()
        metrics.unknown_messages.clear()
        for row in queue:
            metrics.queue_due.labels(row.channel, row.account).set(row.n)
            age = (self.clock.now() - from_micros(row.oldest)).total_seconds() if row.oldest else 0.0
            metrics.oldest_due_seconds.labels(row.channel).set(age)
        for row in unknown:
            metrics.unknown_messages.labels(row.channel).set(row.n)

    def attribution(self) -> None:
        """Find who came back."""
        attribute(self.store, self.clock.now())


_QUEUE = text("""
    SELECT lane.channel, lane.account, count(message.id) AS n, min(message.due_at) AS oldest
    FROM lane JOIN run ON run.id = lane.run_id AND run.state = 'active'
    LEFT JOIN message ON message.lane_id = lane.id AND message.state = 'planned' AND message.due_at <= :now
    GROUP BY lane.channel, lane.account""")
_UNKNOWN = text("""
    SELECT lane.channel, count(*) AS n FROM message JOIN lane ON lane.id = message.lane_id
    WHERE message.state = 'unknown' GROUP BY lane.channel""")
