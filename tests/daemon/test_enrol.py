"""The daemon's tick for triggered campaigns: members join by it, and a process that is to end leaves the rest."""

from __future__ import annotations

from orchestrator.clock import ManualClock
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.wiring import Parts
from orchestrator.store import Store
from tests import world
from tests.plan.carts import CART, NOON, WAIT, happened, joined, launched


def test_whoever_is_due_joins_at_a_tick(store: Store) -> None:
    clock = ManualClock(NOON)
    launched(store, clock)
    made = world.planner(clock)
    ending = [True]
    ticks = Ticks(store, Parts(clock, made.quiet, made, {}, {}, {}), lambda: ending[0])
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    ticks.enrol()
    assert joined(store) == {}
    ending[0] = False
    ticks.runs()  # makes no run of a date for it
    assert joined(store) == {}
    ticks.enrol()
    assert set(joined(store)) == {"u0"}
