"""Which process does what."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.clock import ManualClock
from orchestrator.daemon.roles import ALL, Leadership, Role, roles
from orchestrator.daemon.service import Daemon
from orchestrator.daemon.wiring import build
from orchestrator.errors import InputError
from orchestrator.ledger.leader import LEASE
from orchestrator.settings import Settings
from orchestrator.store import Store
from tests import world
from tests.conftest import NewDatabase

NOW = datetime(2026, 12, 1, tzinfo=UTC)


def test_none_named_is_all() -> None:
    assert roles([]) == roles(["all"]) == roles(["web", "all"]) == ALL
    assert roles(["web", "worker"]) == {Role.WEB, Role.WORKER}


def test_an_unknown_role_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        roles(["sheduler"])
    assert "scheduler" in caught.value.hint


@pytest.mark.postgresql
def test_two_processes_and_one_leader(new_database: NewDatabase) -> None:
    store, clock = world.fresh(new_database("postgresql")), ManualClock(NOW)
    one, other = (Leadership(store, clock, ALL) for _ in range(2))
    assert not one.leads(Role.SCHEDULER), "nobody leads unasked"
    one.ask()
    other.ask()
    assert (one.leads(Role.SCHEDULER), other.leads(Role.SCHEDULER)) == (True, False)
    clock.advance(LEASE)
    assert not one.leads(Role.SCHEDULER), "frozen beyond its lease, it knows so without asking"
    other.ask()
    one.ask()
    assert (one.leads(Role.SWEEPER), other.leads(Role.SWEEPER)) == (False, True)
    other.resign()
    one.ask()
    assert one.leads(Role.SWEEPER)
    store.close()


@pytest.mark.postgresql
def test_who_does_not_want_a_role_does_not_lead_in_it(new_database: NewDatabase) -> None:
    store, clock = world.fresh(new_database("postgresql")), ManualClock(NOW)
    worker = Leadership(store, clock, frozenset({Role.WORKER, Role.SWEEPER}))
    worker.ask()
    assert (worker.leads(Role.SCHEDULER), worker.leads(Role.SWEEPER)) == (False, True)
    store.close()


def test_the_one_writer_of_a_sqlite_file_always_leads(new_database: NewDatabase) -> None:
    store: Store = world.fresh(new_database("sqlite"))
    clock = ManualClock(NOW)
    only = Leadership(store, clock, ALL)
    only.ask()
    clock.advance(timedelta(days=1))
    assert only.leads(Role.SCHEDULER)
    store.close()


def test_long_ticks_do_not_cost_the_leader_its_lease(new_database: NewDatabase) -> None:
    """Each tick has a thread while it lasts; asking who leads must not wait for one of them."""

    class Asked:
        def __init__(self) -> None:
            self.times = 0

        def ask(self) -> None:
            self.times += 1

        def leads(self, _role: Role) -> bool:
            return True

    daemon, asked, go_on = Daemon(Settings()), Asked(), threading.Event()
    daemon._leadership = asked  # type: ignore[assignment]
    daemon.store, daemon.parts = world.fresh(new_database("sqlite")), build(daemon.settings)
    daemon._begin_threads()
    try:
        for _ in range(10):
            daemon._threads.submit(go_on.wait)
        asyncio.run(asyncio.wait_for(daemon._lead(), 2))
        assert asked.times == 1
    finally:
        go_on.set()
        daemon._end_threads()
        daemon.store.close()
