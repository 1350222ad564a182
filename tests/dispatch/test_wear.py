"""Mailboxes that keep failing: full three times in a month, refused without a reason on two different days."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, update

from orchestrator.dispatch.wear import worn_out
from orchestrator.store import Store
from orchestrator.store.tables import address, attempt, message
from tests.tracking.world import NOW, World

DAY = timedelta(days=1)


@pytest.fixture
def world(store: Store) -> World:
    made = World(store)
    made.phone(7, "ada@mail.example")
    turn_into(made, "mailbox")
    return made


def turn_into(world: World, kind: str) -> None:
    with world.store.write() as connection:
        connection.execute(update(address).where(address.c.id == 7).values(kind=kind))


def failed(world: World, run: int, code: str, at: datetime = NOW, outcome: str = "drop_message") -> int:
    number = world.message(world.run(run), 7, state="failed", account="mail")
    row = {"message_id": number, "n": 1, "worker_id": 1, "account": "mail", "started_at": at, "outcome": outcome}
    with world.store.write() as connection:
        connection.execute(insert(attempt).values(code=code, **row))
        connection.execute(update(message).where(message.c.id == number).values(sent_at=at))
    return number


def worn(world: World, code: str, current: int | None = None) -> bool:
    with world.store.read() as connection:
        return worn_out(connection, 7, code, NOW, current)


def test_full_three_times_within_thirty_days(world: World) -> None:
    failed(world, 1, "552 5.2.2", NOW - 40 * DAY)
    failed(world, 2, "552 5.2.2", NOW - 20 * DAY)
    now = world.message(world.run(3), 7, state="sending", account="mail")
    assert not worn(world, "552 5.2.2", now)
    failed(world, 4, "452 5.2.2", NOW - 10 * DAY)
    assert worn(world, "552 5.2.2", now)
    assert worn(world, "5.2.2", now)


def test_refused_without_a_reason_on_two_different_days(world: World) -> None:
    failed(world, 1, "550", NOW - timedelta(hours=1))
    now = world.message(world.run(2), 7, state="sending", account="mail")
    assert not worn(world, "550", now)
    failed(world, 3, "554", NOW - DAY)
    assert worn(world, "550", now)


def test_other_failures_do_not_count(world: World) -> None:
    for run, code in enumerate(("550 5.7.1", "552 5.3.4", "30003", "550 5.2.20"), 1):
        failed(world, run, code, NOW - run * DAY)
    failed(world, 5, "550", NOW - 2 * DAY, "retry")
    now = world.message(world.run(6), 7, state="sending", account="mail")
    for code in ("550", "552 5.2.2", "550 5.7.1", "30003", "", "payload"):
        assert not worn(world, code, now)


@pytest.mark.parametrize("kind", ["phone", "getui", "xiaomi"])
def test_a_number_like_that_of_a_mail_server_says_nothing_elsewhere(world: World, kind: str) -> None:
    """A gateway's 500 is its own trouble: no reason to end a phone number."""
    turn_into(world, kind)
    failed(world, 1, "500", NOW - DAY)
    now = world.message(world.run(2), 7, state="sending", account="mail")
    assert not worn(world, "500", now)


@pytest.mark.parametrize(
    ("kind", "code"),
    [("getui", "successed_ignore"), ("vivo", "invalid_user:2"), ("huawei", "2"), ("huawei", "5"), ("huawei", "10")],
)
def test_what_the_pages_of_phone_makers_call_counted_is_counted(world: World, kind: str, code: str) -> None:
    turn_into(world, kind)
    failed(world, 1, code, NOW - DAY)
    now = world.message(world.run(2), 7, state="sending", account="push")
    assert not worn(world, code, now)
    failed(world, 3, code, NOW - 2 * DAY)
    assert worn(world, code, now)
    turn_into(world, "token")
    assert not worn(world, code, now)
