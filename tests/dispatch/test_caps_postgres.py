"""The same race on PostgreSQL, where marks do run at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from orchestrator.dispatch import restraint
from orchestrator.store import Store
from tests.dispatch.doors import door, through
from tests.dispatch.test_caps import TWO_A_DAY, at_once, crowd, most_sent

pytestmark = pytest.mark.on("postgresql")


def race(store: Store, tmp_path: Path, *, patience: float) -> int:
    """The most that anybody gets when eight workers have all counted before any of them marks, if nothing keeps them.

    ``patience``: for how long each waits for the others there.
    """
    clock, meeting = crowd(store, people=100, campaigns=20), threading.Barrier(8)

    def meet(step: str) -> None:
        if step == "marking" and not meeting.broken:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(patience)

    doors = [replace(door(store, clock, caps=lambda: TWO_A_DAY), probe=meet) for _ in range(8)]
    return most_sent(store, at_once(store, clock, tmp_path, doors))


def test_workers_at_once_never_send_more_than_the_cap(store: Store, tmp_path: Path) -> None:
    assert race(store, tmp_path, patience=0.2) == 2


def test_without_the_lock_they_do(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restraint, "lock_users", lambda *_: None)
    assert race(store, tmp_path, patience=10) > 2


WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")


def waiting(store: Store) -> bool:
    with store.read() as connection:  # anew each time: within a transaction the server repeats what it said
        return bool(connection.execute(WAITING).scalar_one())


def hold(connection: Connection, order: str) -> None:
    """Lock one of two people, as an import does that changes them."""
    connection.execute(text(f"SELECT id FROM users ORDER BY id {order} LIMIT 1 FOR UPDATE"))


def test_a_mark_that_the_server_ends_for_an_imports_sake_is_made_again(store: Store, tmp_path: Path) -> None:
    """It locks people in the order of their ids; who has the last of them and wants the first waits for it in turn."""
    clock = crowd(store, people=2, campaigns=1)
    made = door(store, clock, caps=lambda: TWO_A_DAY)
    with ThreadPoolExecutor(1) as other:
        with store.write() as connection:
            connection.execute(text("SET LOCAL deadlock_timeout = '30s'"))  # it is the mark that is ended
            hold(connection, "DESC")
            leaving = other.submit(through, made, clock, tmp_path)
            while not waiting(store):
                assert not leaving.done()
            hold(connection, "ASC")
        assert len(leaving.result(20)) == 2
