"""A tick that is killed at any statement, or run twice, or by two processes at once: the next one makes it good."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event as hooks
from sqlalchemy import text
from typing_extensions import override

from orchestrator.clock import ManualClock, to_micros
from orchestrator.plan.enrolling import Enroller, Joined
from orchestrator.plan.triggers import NEVER, Listener
from orchestrator.store import Store
from tests import world
from tests.plan.carts import CART, NOON, ORDER, WAIT, campaign, everything, happened, joined, launched

PEOPLE = 6
_STEPS = [
    {"channel": "push", "template": "lunch"},
    {"channel": "push", "template": "lunch", "when": {"not": "reopened", "after": "30m"}},
]


class KilledError(BaseException):
    """The process ends here: whatever is not committed never was."""


@contextmanager
def killed_at(store: Store, n: int) -> Iterator[list[int]]:
    """The ``n``-th statement of a writing transaction, or its commit, is never reached; says how many there were."""
    seen = [0]

    def count(*_: Any) -> None:
        seen[0] += 1
        if seen[0] == n:
            raise KilledError

    hooks.listen(store.writer_engine, "before_cursor_execute", count)
    hooks.listen(store.writer_engine, "commit", count)
    try:
        yield seen
    except KilledError:
        pass
    finally:
        hooks.remove(store.writer_engine, "before_cursor_execute", count)
        hooks.remove(store.writer_engine, "commit", count)


def ready(store: Store, clock: ManualClock) -> Enroller:
    """Carts left behind by some, of whom one has ordered; their waits are over, and nothing is heard of yet."""
    world.wipe(store)
    clock.instant = NOON
    what = campaign(steps=_STEPS)
    shop = launched(store, clock, what, PEOPLE)
    for n in range(PEOPLE):
        happened(store, f"u{n}", CART, NOON)
    happened(store, "u1", ORDER, NOON + timedelta(minutes=5))
    clock.advance(WAIT)
    return shop


def ledger(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """All that a tick writes; runs and lines are numbered anew by a process that was killed."""
    return everything(store)


@pytest.mark.on("sqlite")
def test_killed_at_every_statement_it_is_done_all_the_same(store: Store) -> None:
    clock = ManualClock(NOON)
    ready(store, clock).tick()
    wanted, statements = ledger(store), 0
    for n in range(1, 200):
        shop = ready(store, clock)
        with killed_at(store, n) as seen:
            shop.tick()
        Enroller(store, shop.planner).tick()  # the next process
        assert ledger(store) == wanted, n
        statements = seen[0]
        if statements < n:
            break
    assert 20 < statements < 199


@pytest.mark.on("sqlite")
def test_a_tick_too_many_changes_nothing(store: Store) -> None:
    clock = ManualClock(NOON)
    shop = ready(store, clock)
    shop.tick()
    before = ledger(store)
    assert shop.tick() == Enroller(store, shop.planner).tick() == []
    assert ledger(store) == before


class _TwoSteps(Enroller):
    """The naive way: take them off the list, then let them join."""

    __slots__ = ()

    @override
    def _enrol(self, one: Listener) -> Iterator[Joined]:
        with self.store.write() as connection:
            due = connection.execute(_DUE, self._now(one)).scalars().all()
            ready_ = [each.user_id for each in self._ready(connection, one, due)]
            connection.execute(_DEALT, {"never": to_micros(NEVER)})
        if ready_:
            with self.store.write() as connection:
                self._join(connection, one, NOON.date(), ready_)
        yield from ()


_DUE = text("SELECT user_id FROM waiting WHERE campaign = :campaign AND due_at <= :now")
_DEALT = text("UPDATE waiting SET due_at = :never")


@pytest.mark.on("sqlite")
def test_the_naive_way_loses_them(store: Store) -> None:
    clock, lost = ManualClock(NOON), 0
    for n in range(1, 60):
        shop = ready(store, clock)
        with killed_at(store, n):
            _TwoSteps(store, shop.planner).tick()
        Enroller(store, shop.planner).tick()
        lost += len(joined(store)) < PEOPLE - 1
    assert lost


@pytest.mark.on("postgresql")
def test_two_processes_at_once_let_everybody_join_once(store: Store) -> None:
    clock = ManualClock(NOON)
    world.wipe(store)
    shop = launched(store, clock, people=60)
    for n in range(60):
        happened(store, f"u{n}", CART, NOON)
    clock.advance(WAIT)
    both: list[Sequence[Joined]] = []
    begin = threading.Barrier(3)

    def tick() -> None:
        own = Enroller(store, replace(shop.planner))
        begin.wait()
        both.append(own.tick())

    threads = [threading.Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(both) == 3
    assert sorted(user for found in both for one in found for user in one.users) == list(range(1, 61))
    assert len(joined(store)) == 60
    with store.read() as connection:
        assert connection.execute(text("SELECT audience FROM run")).scalar_one() == 60
