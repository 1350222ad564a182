"""A process that is over is seen to be from its own machine; who may be alive never is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator.dispatch.sweep import recover_dead
from orchestrator.ledger import lease, place
from orchestrator.ledger.ids import WorkerId
from orchestrator.ledger.leader import lead
from orchestrator.ledger.lease import Holder
from orchestrator.ledger.recover import Recovered
from orchestrator.ledger.states import State
from orchestrator.store import Store
from orchestrator.store.tables import worker
from tests.ledger.book import Ledger
from tests.world import OPENING

LONG = timedelta(hours=1)


@contextmanager
def running() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def dead() -> int:
    """The number of a process that is over."""
    with running() as process:
        pass
    return process.pid


def registered(book: Ledger, host: str, pid: int) -> WorkerId:
    with book.store.write() as connection:
        return lease.register(connection, host=host, pid=pid, machine=book.clock.machine(), lease=LONG)


def test_who_runs_is_not_gone_and_who_was_killed_is() -> None:
    with running() as process:
        assert not place.gone(place.here(), process.pid)
        process.kill()
        assert not place.gone(place.here(), process.pid), "nobody has heard of its end yet: its number is still its own"
        process.wait()
        assert place.gone(place.here(), process.pid)
    assert not place.gone(place.here(), os.getpid())


def test_who_stands_still_is_not_gone() -> None:
    with running() as process:
        process.send_signal(signal.SIGSTOP)
        assert not place.gone(place.here(), process.pid)


@pytest.mark.parametrize("where", ["", "elsewhere", "elsewhere/0123456789abcdef"])
def test_of_another_machine_nobody_is_seen(where: str) -> None:
    assert not place.gone(where, dead())


def test_where_the_kernel_does_not_say_nobody_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(place, "_BOOT", tmp_path / "nothing")
    place._here.cache_clear()
    try:
        assert not place.gone(place.here(), dead())
    finally:
        place._here.cache_clear()


def test_what_a_dead_process_held_goes_back_long_before_its_lease_ends(store: Store) -> None:
    book = Ledger(store).open()
    book.owe(1)
    book.owe(2)
    gone, elsewhere = registered(book, place.here(), dead()), registered(book, "elsewhere/0123456789abcdef", dead())
    with running() as process:
        alive = registered(book, place.here(), process.pid)
        [lost], [kept] = book.claim(gone, n=1), book.claim(alive, n=1)
        assert recover_dead(store, book.clock, {}) == Recovered(requeued=1)
    assert (book.state(lost.id), book.state(kept.id)) == (State.PLANNED, State.CLAIMED)
    with store.read() as connection:
        ended = {row.id for row in connection.execute(select(worker.c.id).where(worker.c.ended_at.is_not(None)))}
    assert ended.isdisjoint({alive, elsewhere})
    assert gone in ended


@pytest.mark.on("postgresql")
def test_nobody_waits_for_the_last_statement_of_a_dead_process(store: Store) -> None:
    """Its server process may still be at it: what it writes is part of what is recovered at the next look."""
    book = Ledger(store).open()
    number, gone = book.owe(1), registered(book, place.here(), dead())
    with ExitStack() as open_still:
        last = open_still.enter_context(store.write())
        lease.check(last, Holder(gone, book.clock.machine()))
        assert recover_dead(store, book.clock, {}) == Recovered()
    book.claim(gone)  # nobody has ended it: the next look does
    assert recover_dead(store, book.clock, {}) == Recovered(requeued=1)
    assert book.state(number) == State.PLANNED


def test_a_leader_that_is_dead_is_followed_at_once_on_its_machine_alone(store: Store) -> None:
    here, number = place.here(), dead()
    with running() as process, store.write() as connection:
        assert lead(connection, "scheduler", f"{here}:{number}:a", OPENING)
        assert lead(connection, "sweeper", f"{here}:{process.pid}:b", OPENING)
        assert lead(connection, "scheduler", f"{here}:{os.getpid()}:c", OPENING)
        assert not lead(connection, "sweeper", f"{here}:{os.getpid()}:c", OPENING), "that one lives"
        assert not lead(connection, "scheduler", f"{here}:{process.pid}:b", OPENING), "and so does this"


def test_a_dead_leader_of_another_machine_keeps_its_lease(store: Store) -> None:
    with store.write() as connection:
        assert lead(connection, "scheduler", f"elsewhere/0123456789abcdef:{dead()}:a", OPENING)
        assert not lead(connection, "scheduler", f"{place.here()}:{os.getpid()}:b", OPENING)
