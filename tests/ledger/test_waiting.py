"""What waits to be claimed, as the gauges of the queue and the alert of a stuck one are told it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from orchestrator.ledger import waiting as what_waits
from orchestrator.ledger.states import CampaignState
from orchestrator.ledger.waiting import Waiting, unknown, waiting
from orchestrator.store import Store
from orchestrator.store.tables import campaign
from tests.ledger.book import PUSH, SMS, START, Ledger

MINUTE = timedelta(minutes=1)


@pytest.fixture
def book(store: Store) -> Ledger:
    return Ledger(store).open()


def found(book: Ledger, later: timedelta = timedelta(0)) -> set[Waiting]:
    with book.store.read() as connection:
        return set(waiting(connection, book.clock.now() + later))


def test_it_is_counted_by_account_with_its_oldest(book: Ledger) -> None:
    for user, due in enumerate((START - MINUTE, START - 2 * MINUTE, START + MINUTE)):
        book.owe(user, PUSH, due_at=due)
    assert found(book) == {Waiting("push", "push", 2, START - 2 * MINUTE), Waiting("sms", "sms", 0, None)}
    assert Waiting("push", "push", 3, START - 2 * MINUTE) in found(book, 2 * MINUTE)


def test_what_is_claimed_waits_no_more(book: Ledger) -> None:
    book.owe(1, SMS)
    book.claim(book.worker(), SMS)
    assert Waiting("sms", "sms", 0, None) in found(book)


def test_nothing_waits_of_a_campaign_that_does_not_run(book: Ledger) -> None:
    book.owe(1)
    with book.store.write() as connection:
        connection.execute(update(campaign).values(state=CampaignState.PAUSED))
    assert found(book) == set()


def test_what_may_have_arrived_is_told_by_channel(book: Ledger) -> None:
    for user in range(2):
        book.owe(user, SMS)
    book.owe(2, PUSH)
    book.send(book.worker(), SMS)
    book.die()
    with book.store.read() as connection:
        assert unknown(connection) == {"sms": 2}


@pytest.mark.on("sqlite")
def test_messages_are_counted_along_the_index_not_sorted(book: Ledger) -> None:
    """A million of them, sorted to be grouped, took 55 MB every 20 s."""
    with book.store.read() as connection:
        sql = what_waits._waiting_sql("sqlite").text.replace(":until", "0")
        plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"))]
    sorting = plan.index("USE TEMP B-TREE FOR GROUP BY")
    looks = [number for number, line in enumerate(plan) if " message " in line]
    assert len(looks) == 2
    assert all(plan[n].startswith("SEARCH message USING INDEX ix_message_due") and n > sorting for n in looks)
    assert sum(line.startswith("CORRELATED") for line in plan) == 2
