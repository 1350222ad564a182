"""One leads; a lost leader is followed; who was frozen leads no more."""

from __future__ import annotations

import threading
from datetime import timedelta

from orchestrator.ledger.leader import LEASE, RENEW, lead, resign
from orchestrator.store import Store
from tests.world import OPENING

START = OPENING


def test_one_leads_and_goes_on(store: Store) -> None:
    with store.write() as connection:
        assert lead(connection, "scheduler", "a", START)
        assert not lead(connection, "scheduler", "b", START)
        assert lead(connection, "sweeper", "b", START), "another role is another matter"
        assert lead(connection, "scheduler", "a", START + LEASE - timedelta(seconds=1))
        assert not lead(connection, "scheduler", "b", START + LEASE)


def test_a_lost_leader_is_followed_within_ten_seconds(store: Store) -> None:
    with store.write() as connection:
        lead(connection, "scheduler", "a", START)
        assert lead(connection, "scheduler", "b", START + LEASE)
        assert not lead(connection, "scheduler", "a", START + LEASE), "frozen, it asks and hears no"
    assert timedelta(seconds=10) > LEASE + RENEW


def test_who_resigns_is_followed_at_once(store: Store) -> None:
    with store.write() as connection:
        lead(connection, "scheduler", "a", START)
        resign(connection, "b")
        assert not lead(connection, "scheduler", "b", START)
        resign(connection, "a")
        assert lead(connection, "scheduler", "b", START)


def test_of_many_that_ask_at_once_one_leads(store: Store) -> None:
    heard: list[bool] = []
    start = threading.Barrier(8)

    def ask(name: str) -> None:
        start.wait()
        with store.write() as connection:
            heard.append(lead(connection, "scheduler", name, START))

    threads = [threading.Thread(target=ask, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(heard) == [False] * 7 + [True]
