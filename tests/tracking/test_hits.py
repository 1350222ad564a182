"""Hits as they are kept, and judged again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from orchestrator.clock import SystemClock
from orchestrator.content.links import TRAP
from orchestrator.daemon.verbs import Desk, reclassify_hits
from orchestrator.ledger.history import Wanted, acts
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.tables import event, receipt
from orchestrator.tracking.hits import Hit, HitBook, reclassify
from orchestrator.tracking.machines import Deed, built_in
from tests.tracking.world import NOW, World

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19 Safari/604.1"


@pytest.fixture
def sent(world: World) -> int:
    world.run()
    return world.message(1, world.user(7))


def hit(message: int, after: float, link: int = 5, deed: Deed = Deed.CLICK, agent: str = IPHONE) -> Hit:
    url = "https://a.example/?u=7" if link and deed is Deed.CLICK else ""
    return Hit(deed, message, link, url, NOW + timedelta(seconds=after), agent, "84.1.2.0/24")


def take(store: Store, book: HitBook, *hits: Hit) -> list[bool]:
    with store.write() as connection:
        return book.take(connection, hits)


def seen(store: Store) -> list[tuple[str, str]]:
    return [(one["confidence"], one["why"]) for one in properties(store)]


def properties(store: Store) -> list[dict[str, Any]]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(select(event.c.properties).order_by(event.c.at)).scalars()]


def test_a_hit_is_kept_once_with_what_it_said(store: Store, sent: int) -> None:
    book = HitBook()
    assert take(store, book, hit(sent, 60), hit(sent, 60)) == [True, True]
    assert take(store, HitBook(), hit(sent, 60.4)) == [False]
    (kept,) = properties(store)
    assert kept["link"] == "https://a.example/"
    assert kept["link_id"] == "5"
    assert kept["agent"] == IPHONE
    assert (kept["confidence"], kept["network"]) == ("human", "84.1.2.0/24")


def test_of_a_message_that_is_not_there_nothing_is_kept(store: Store, world: World) -> None:
    assert take(store, HitBook(), hit(123456, 60)) == [False]
    assert take(store, HitBook()) == []


def test_earlier_clicks_of_a_burst_become_a_machines(store: Store, sent: int) -> None:
    book = HitBook()
    take(store, book, hit(sent, 60, 1))
    take(store, book, hit(sent, 60.7, 2))
    assert [confidence for confidence, _ in seen(store)] == ["human", "human"]
    take(store, book, hit(sent, 61.5, 3))
    assert seen(store) == [("machine", "burst")] * 3


def test_a_burst_is_found_within_one_group(store: Store, sent: int) -> None:
    take(store, HitBook(), *(hit(sent, 60 + n / 10, n) for n in range(1, 5)))
    assert seen(store) == [("machine", "burst")] * 4


def test_a_burst_over_two_messages_is_none(store: Store, sent: int, world: World) -> None:
    other = world.message(1, world.user(8))
    take(store, HitBook(), hit(sent, 60, 1), hit(sent, 60.1, 2), hit(other, 60.2, 3), hit(other, 60.3, 4))
    assert {confidence for confidence, _ in seen(store)} == {"human"}


def test_the_delivery_counts_when_it_is_known(store: Store, sent: int) -> None:
    row = {"provider": "smtp", "provider_id": "1", "status": "delivered", "state": "delivered", "message_id": sent}
    with store.write() as connection:
        connection.execute(insert(receipt).values(received_at=NOW + timedelta(seconds=100), **row))
    take(store, HitBook(), hit(sent, 103, deed=Deed.OPEN))
    assert seen(store) == [("machine", "too-soon")]


def test_who_followed_the_hidden_link_is_a_machine_for_a_day(store: Store, sent: int) -> None:
    book = HitBook()
    take(store, book, hit(sent, 100, TRAP))
    take(store, book, hit(sent, 3600, 9), hit(sent, 90_000, 9), replace(hit(sent, 3700, 9), network="9.9.9.0/24"))
    assert [confidence for confidence, _ in seen(store)] == ["machine", "machine", "human", "human"]


def test_rules_that_changed_are_asked_again_and_the_raw_facts_stay(store: Store, sent: int) -> None:
    take(store, HitBook(), hit(sent, 60, 1), hit(sent, 300, deed=Deed.OPEN), hit(sent, 900, deed=Deed.OPEN))
    before = properties(store)
    assert reclassify(store).changed == 0
    strict = built_in().model_copy(update={"open_is_machine_within": 400.0})
    done = reclassify(store, strict)
    assert (done.looked_at, done.changed) == (3, 1)
    assert seen(store) == [("human", ""), ("machine", "too-soon"), ("human", "")]
    assert reclassify(store).changed == 1
    assert properties(store) == before


def test_judging_again_finds_traps_that_memory_had_lost(store: Store, sent: int) -> None:
    take(store, HitBook(), hit(sent, 100, TRAP))
    take(store, HitBook(), hit(sent, 3600, 9))  # the process began anew in between
    assert seen(store)[1][0] == "human"
    assert reclassify(store).changed == 1
    assert seen(store)[1] == ("machine", "trap")


def test_an_operator_who_has_hits_judged_again_is_told_of_once_something_changes(store: Store, sent: int) -> None:
    take(store, HitBook(), hit(sent, 100, TRAP))
    take(store, HitBook(), hit(sent, 3600, 9))  # the process began anew in between
    for _ in range(2):
        reclassify_hits(Desk(store, SystemClock(), Settings(database=store.url)), "operator anna")
    with store.read() as connection:
        [line] = acts(connection, Wanted(), 10)
    said = "1 of 2 opens and clicks are seen differently"
    assert (line.actor, line.new, line.reason) == ("operator anna", "reclassified", said)


def test_the_apps_own_events_are_left_alone(store: Store, sent: int) -> None:
    row = {"user_id": 7, "name": "message_opened", "at": NOW, "received_at": NOW, "source_id": "x", "message_id": sent}
    with store.write() as connection:
        connection.execute(insert(event).values(properties={"screen": "home"}, **row))
    assert reclassify(store).changed == 0
    assert properties(store) == [{"screen": "home"}]
