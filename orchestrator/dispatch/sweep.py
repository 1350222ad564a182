"""Housekeeping of the ledger: dead workers, passed deadlines, runs that are over. Short transactions, any process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from orchestrator import metrics
from orchestrator.clock import Clock
from orchestrator.dispatch.feed import forget_expired
from orchestrator.dispatch.rerouting import leave_stopped
from orchestrator.ledger import lease
from orchestrator.ledger.adopted import lock_run
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.recover import Recovered, expire, overdue_lanes, recover
from orchestrator.ledger.runs import pending, runs_in, set_run_state, skip_stopped, with_leftovers
from orchestrator.ledger.states import RunState
from orchestrator.plan.awaken import awaken
from orchestrator.policy.carriers import UNKNOWN, Routing
from orchestrator.store import Store

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep put right."""

    recovered: Recovered
    expired: int
    finished: int
    moved: int = 0
    """To another account, since theirs is stopped."""
    forgotten: int = 0
    """Items of the inbox whose time was over."""
    woken: int = 0
    """Messages that what they waited for brought forward."""


def recover_dead(store: Store, clock: Clock, resend: Mapping[str, bool], *, others: bool = False) -> Recovered:
    """Take back what dead workers held; ``others``: every worker there was is dead (SQLite, at start)."""
    with store.write() as connection:
        machine = clock.machine()
        dead = lease.end_others(connection, machine) if others else lease.end_silent(connection, machine)
        dead += lease.end_gone(connection, machine)
        dead += _unrecovered(connection, dead)
        found = recover(connection, dead, clock.now(), resend=resend)
    metrics.lease_steals.inc(found != Recovered())
    return found


_HOLDING = text("""
    SELECT DISTINCT worker.id FROM message JOIN worker ON worker.id = message.worker_id
    WHERE message.worker_id IS NOT NULL AND worker.ended_at IS NOT NULL""")


def _unrecovered(connection: Connection, known: Sequence[WorkerId]) -> list[WorkerId]:
    """Ended workers that still hold something: they were ended in a transaction of their own (a clean stop)."""
    return [WorkerId(row.id) for row in connection.execute(_HOLDING) if row.id not in known]


def sweep(store: Store, clock: Clock, resend: Mapping[str, bool], routing: Routing = UNKNOWN) -> Swept:
    """One round of housekeeping; what has been waited for comes first, so that nothing expires that may still leave."""
    woken = awaken(store, clock)
    recovered = recover_dead(store, clock, resend)
    expired, finished = _expire_all(store, clock), _finish_runs(store, clock)
    moved = leave_stopped(store, clock, routing)
    return Swept(recovered, expired, finished, moved, forget_expired(store, clock), woken)


def _expire_all(store: Store, clock: Clock) -> int:
    with store.read() as connection:
        lanes = overdue_lanes(connection, clock.now())
    total = 0
    for number in lanes:
        while True:
            with store.write() as connection:
                done = expire(connection, number, clock.now(), BATCH)
            total += done
            if done < BATCH:
                break
    return total


def _finish_runs(store: Store, clock: Clock) -> int:
    """Active runs with nothing left to do are done; what a stopped run still has waiting is skipped."""
    with store.read() as connection:
        active = runs_in(connection, RunState.ACTIVE)
        complete = [item for item in active if item.enrols_until is None or item.enrols_until <= clock.now()]
        over = [item for item in complete if not pending(connection, item.id)]
        stopped = with_leftovers(connection)
    for number in stopped:
        done = BATCH
        while done == BATCH:
            with store.write() as connection:
                done = skip_stopped(connection, number, clock.now(), BATCH)
    return sum(_finish(store, clock, item.id) for item in over)


def _finish(store: Store, clock: Clock, run_id: int) -> bool:
    """Asked once more, of a run that nobody plans meanwhile: it may have taken on a version since it was looked at."""
    with store.write() as connection:
        lock_run(connection, run_id)
        return not pending(connection, run_id) and set_run_state(connection, run_id, RunState.DONE, clock.now())
