"""The inbox at the settle: an item and an accepted message are one commit, however often and wherever it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select
from typing_extensions import override

from orchestrator.channel.base import Envelope, Feed, Outcome, OutcomeClass, PushPayload
from orchestrator.channel.inbox import LIMIT, InboxChannel, open_channel
from orchestrator.clock import ManualClock
from orchestrator.content.links import Links
from orchestrator.dispatch.account import open_account
from orchestrator.dispatch.answers import Answers
from orchestrator.dispatch.feed import CHUNK, forget_expired, show_accepted
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.sweep import recover_dead, sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.errors import ConfigError
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.store.tables import attempt, inbox_item, message
from orchestrator.timing.quiet import QuietHours
from tests import world

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
PEOPLE = 3
WORDS = "title: Hi {{ user.name }}\nlink: app://menu\ndata.kind: lunch\n\nIt is ready.\n"
STEPS = [{"channel": "inbox", "template": "lunch"}]


class DiedError(Exception):
    """The process is gone at this step."""


class Counted(InboxChannel):
    """The real inbox, and what it was asked."""

    sent: list[Envelope]

    @override
    async def send(self, envelope: Envelope) -> Outcome:
        self.sent.append(envelope)
        return await super().send(envelope)


def inbox(keep: str = "P2D") -> Counted:
    real = open_channel("inbox", {"keep": keep}, "")
    assert isinstance(real, InboxChannel)
    real.__class__ = Counted
    assert isinstance(real, Counted)
    real.sent = []
    return real


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


@pytest.fixture
def store(database: str, clock: ManualClock) -> Iterator[Store]:
    """Three people who are owed an item of the inbox now."""
    made = world.fresh(database)
    for n in range(PEOPLE):
        world.person(made, f"u{n}", push=None)
    plain = world.bundle(steps=STEPS)
    what = replace(plain, templates={**plain.templates, "lunch/inbox.en.j2": WORDS})
    world.launch(made, what, clock.now())
    with made.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    Planner(clock, QuietHours.load(None), Routing.plain({"inbox": "inbox"})).plan(made, item, found)
    clock.instant = LUNCH
    yield made
    made.close()


def work(store: Store, clock: ManualClock, channel: Counted, die_at: str = "", kind: type[Worker] = Worker) -> None:
    """One worker, until all is settled, or until it dies at a step."""
    ticks = iter(range(1, 1_000_000))
    common: dict[str, Any] = {"rate": 1000.0, "burst": 100, "ramp": timedelta(0), "connections": 10}
    account = open_account(
        "inbox", channel, limiter=MemoryLimiter(lambda: float(next(ticks))), monotonic=lambda: 0.0, **common
    )

    died: list[str] = []

    def probe(step: str) -> None:
        if step == die_at:
            died.append(step)
            raise DiedError

    async def run() -> None:
        links = Links("https://x.example", b"k" * 32)
        made = kind(store, clock, QuietHours.load(None), {"inbox": account}, probe=probe, links=links)
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(10):
            while not died and not running.done() and await asyncio.to_thread(busy, store):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if died:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise DiedError
        made.stop()
        await running

    asyncio.run(run())


def busy(store: Store) -> bool:
    with store.read() as connection:
        states = set(connection.execute(select(message.c.state)).scalars())
    return bool(states & {State.PLANNED, State.CLAIMED, State.SENDING})


def rows(store: Store, table: Any) -> list[Any]:
    with store.read() as connection:
        return list(connection.execute(select(table).order_by(*table.primary_key.columns)))


def check(store: Store) -> None:
    """There is an item exactly where there is an accepted message."""
    accepted = {row.id for row in rows(store, message) if row.state == State.ACCEPTED}
    assert {row.message_id for row in rows(store, inbox_item)} == accepted


def test_an_item_has_the_words_and_goes_when_its_time_is_over(store: Store, clock: ManualClock) -> None:
    channel = inbox()
    work(store, clock, channel)
    check(store)
    items = rows(store, inbox_item)
    assert {item.title for item in items} == {"Hi U0", "Hi U1", "Hi U2"}
    [item] = [item for item in items if item.title == "Hi U0"]
    assert (item.body, item.link, item.image, item.data) == ("It is ready.", "app://menu", "", {"kind": "lunch"})
    assert (item.expires_at - item.at, item.seen_at, item.read_at) == (timedelta(days=2), None, None)
    assert {row.provider_id for row in rows(store, message)} == {str(row.id) for row in rows(store, message)}
    assert all(sent.address_kind == "user" and sent.ack == "" for sent in channel.sent)
    assert {sent.address for sent in channel.sent} == {"u0", "u1", "u2"}
    clock.instant = item.expires_at - timedelta(microseconds=1)
    assert sweep(store, clock, {"inbox": True}).forgotten == 0
    clock.instant = item.expires_at
    assert sweep(store, clock, {"inbox": True}).forgotten == PEOPLE
    assert rows(store, inbox_item) == []


@pytest.mark.parametrize("step", ["claimed", "marked", "leaving", "sent", "settling", "written", "settled"])
def test_who_dies_at_any_step_leaves_all_or_nothing(store: Store, clock: ManualClock, step: str) -> None:
    with pytest.raises(DiedError):
        work(store, clock, inbox(), step)
    check(store)
    recover_dead(store, clock, {"inbox": True}, others=True)
    clock.instant += timedelta(minutes=2)
    again = inbox()
    work(store, clock, again)
    check(store)
    assert len(rows(store, inbox_item)) == PEOPLE
    assert [row.state for row in rows(store, message)] == [State.ACCEPTED] * PEOPLE
    assert len(again.sent) == (0 if step == "settled" else PEOPLE)


def test_what_was_written_before_is_not_written_again(store: Store, clock: ManualClock) -> None:
    """A message settled, and put back as a restored ledger might: its item stays the first one, read marks and all."""
    work(store, clock, inbox())
    first = rows(store, inbox_item)
    with store.write() as connection:
        connection.execute(inbox_item.update().values(read_at=clock.now()))
        connection.execute(message.update().values(state=State.PLANNED, attempts=1))
        connection.execute(attempt.update().values(n=9))
    clock.instant += timedelta(minutes=3)
    work(store, clock, inbox())
    again = rows(store, inbox_item)
    assert [(row.message_id, row.at) for row in again] == [(row.message_id, row.at) for row in first]
    assert all(row.read_at is not None for row in again)


class Apart(Answers):
    """Broken on purpose: items in a transaction of their own, before the settle's."""

    @override
    def take(self) -> list[Answer]:
        batch = super().take()
        with self.store.write() as connection:
            show_accepted(connection, self.settler.accounts, batch)
        return batch


class TwoCommits(Worker):
    @override
    def start(self) -> None:
        super().start()
        whole = self._answers
        self._answers = Apart(whole.store, whole.settler, whole.holder, whole.probe, whole.wake, whole.refused)


def test_a_worker_that_writes_items_apart_would_be_caught(store: Store, clock: ManualClock) -> None:
    with pytest.raises(DiedError):
        work(store, clock, inbox(), "settling", TwoCommits)
    with pytest.raises(AssertionError):
        check(store)


def test_expired_items_go_in_chunks(store: Store, clock: ManualClock) -> None:
    empty = {"title": "", "body": "", "link": "", "image": "", "at": clock.now()}
    many = [{"message_id": n, "user_id": 1, "expires_at": clock.now(), **empty} for n in range(1, 2 * CHUNK + 2)]
    with store.write() as connection:
        connection.execute(insert(inbox_item), many)
        connection.execute(insert(inbox_item).values({**many[0], "message_id": 9_999_999, "expires_at": LUNCH}))
    assert forget_expired(store, clock) == 2 * CHUNK + 2
    assert forget_expired(store, clock) == 0


def send(payload: Any) -> Outcome:
    envelope = Envelope("7", 1, "u", "user", payload, timedelta(hours=1), "k")
    return asyncio.run(inbox().send(envelope))


def test_the_inbox_takes_eight_kilobytes_of_bytes() -> None:
    room = LIMIT - len("title") - len("t") - len("body")
    assert send(PushPayload("t", "a" * room)).kind is OutcomeClass.ACCEPTED
    for body in ("a" * (room + 1), "你" * (room // 3 + 1)):
        assert send(PushPayload("t", body)).kind is OutcomeClass.DROP_MESSAGE
    assert send(PushPayload("", "")).kind is OutcomeClass.DROP_MESSAGE
    assert send(PushPayload("\ud800", "x")).kind is OutcomeClass.DROP_MESSAGE


def test_the_inbox_is_a_feed_and_names_its_options() -> None:
    assert isinstance(inbox(), Feed)
    assert inbox("P366D").keep == timedelta(days=366)
    for keep in ("PT59M", "P367D", "soon"):
        with pytest.raises(ConfigError, match=r"accounts\.inbox\.options\.keep"):
            inbox(keep)
