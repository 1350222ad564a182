"""Workers and the sweeper at the same moment, which PostgreSQL alone allows: one waits, or sees what the other did."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Connection, text

from orchestrator.errors import LeaseLostError
from orchestrator.ledger import claim as queue
from orchestrator.ledger import lease
from orchestrator.ledger.claim import Claimed
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.mark import mark
from orchestrator.ledger.recover import recover
from orchestrator.ledger.settle import Settlement, settle
from orchestrator.ledger.states import State
from orchestrator.store import Store
from tests.ledger.book import LEASE, PUSH, RESEND, SMS, START, Ledger

pytestmark = pytest.mark.on("postgresql")
WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


@pytest.fixture
def book(store: Store) -> Ledger:
    return Ledger(store).open()


@contextmanager
def broken(module: ModuleType, part: str, cached: Any) -> Iterator[None]:
    """Statements made without one of their parts; whole ones are made again afterwards, whatever happens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, part, lambda _: "")
        cached.cache_clear()
        try:
            yield
        finally:
            cached.cache_clear()


def in_the_middle(book: Ledger, work: Callable[[Connection], object]) -> None:
    """The sweeper finds the worker's lease over while the worker's transaction, begun in time, is still open."""
    with ThreadPoolExecutor(1) as other, book.store.write() as connection:
        work(connection)
        swept = other.submit(sweep, book)
        wait_until_it_waits(book.store, swept)
        connection.commit()
        swept.result(20)


def test_a_worker_that_froze_in_the_middle_of_a_transaction_is_not_waited_for(
    book: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel still answers for it: the server would wait until it wakes up, and recovery of all others with it."""
    monkeypatch.setattr(lease, "PATIENCE", 1)
    holder = book.holder(book.worker())
    with ThreadPoolExecutor(1) as other, book.store.writer_engine.connect() as frozen:
        lease.check(frozen, holder)
        swept = other.submit(sweep, book)
        try:
            swept.result(8)
        finally:
            frozen.invalidate()
    with book.store.write() as connection, pytest.raises(LeaseLostError):
        lease.check(connection, holder)


def sweep(book: Ledger) -> None:
    with book.store.write() as connection:
        dead = lease.end_silent(connection, book.clock.machine() + LEASE)
        recover(connection, dead, book.clock.now(), resend=RESEND)


def wait_until_it_waits(store: Store, swept: Future[None]) -> None:
    waiting = False
    while not (waiting or swept.done()):
        with store.read() as connection:
            waiting = connection.execute(WAITING).scalar_one() > 0


def history(book: Ledger, number: int) -> list[tuple[str | None, str]]:
    return [(old, new) for old, new, _ in book.history(number)]


def marked_late(book: Ledger) -> int:
    number, me = book.owe(1, SMS), book.worker()
    book.claim(me, SMS)
    holder = Holder(me, book.clock.machine())
    in_the_middle(book, lambda c: mark(c, holder, START, send=[number], out=(), hold=()))
    return number


def settled_late(book: Ledger) -> int:
    number, me = book.owe(1, SMS), book.worker()
    [item] = book.send(me, SMS)
    holder = Holder(me, book.clock.machine())
    times: dict[str, Any] = {"started_at": START, "ended_at": START, "account": "sms", "outcome": "accepted"}
    made = Settlement(id=item.id, n=1, state=State.ACCEPTED, provider_id="p", **times)
    in_the_middle(book, lambda c: settle(c, holder, START, [made]))
    return number


def test_what_was_marked_at_the_last_moment_is_in_doubt_and_nothing_else(book: Ledger) -> None:
    number = marked_late(book)
    assert (book.state(number), history(book, number)) == (State.UNKNOWN, [("sending", "unknown")])


def test_what_was_settled_at_the_last_moment_stays_settled(book: Ledger) -> None:
    number = settled_late(book)
    assert (book.state(number), history(book, number)) == (State.ACCEPTED, [])


@pytest.mark.parametrize("late", [marked_late, settled_late])
def test_without_keeping_the_lease_the_sweeper_writes_what_never_was(
    book: Ledger, late: Callable[[Ledger], int]
) -> None:
    with broken(lease, "keep_rows_sql", lease._alive_sql):
        number = late(book)
    lines = history(book, number)
    assert lines
    assert lines[-1][1] != book.state(number)


def claims(book: Ledger) -> list[int]:
    """What eight workers claim at once, a few at a time."""
    for user in range(400):
        book.owe(user)
    taken: list[int] = []
    begin = threading.Barrier(8)

    def work(number: WorkerId) -> None:
        begin.wait()
        while batch := slowly(book, number):
            taken.extend(item.id for item in batch)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, [book.worker() for _ in range(8)]))
    return taken


def slowly(book: Ledger, number: WorkerId) -> list[Claimed]:
    def work(connection: Connection) -> list[Claimed]:
        batch = queue.claim(connection, book.holder(number), PUSH, 7, book.clock.now() + timedelta(seconds=1))
        connection.execute(text("SELECT pg_sleep(0.002)"))
        return batch

    return book.store.again(work)  # those who do not step over locked rows may wait for each other


def test_eight_workers_claim_everything_once(book: Ledger) -> None:
    taken = claims(book)
    assert len(taken) == len(set(taken)) == 400


def test_without_stepping_over_locked_rows_they_claim_twice(book: Ledger) -> None:
    with broken(queue, "skip_locked_sql", queue._due_sql):
        taken = claims(book)
    assert len(taken) > len(set(taken))
