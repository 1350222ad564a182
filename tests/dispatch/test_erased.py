"""A message that a worker holds while its person is erased: the gate stops it; what is in flight leaves no words."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from orchestrator.audience.erased import seal_with
from orchestrator.audience.erasing import erase_user, known_of
from orchestrator.campaign.version import Bundle
from orchestrator.channel.inbox import open_channel
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.ids import message_id
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import RunState, State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import own_addresses
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store, upgrade
from orchestrator.store.blocks import blocks
from orchestrator.store.tables import address, inbox_item, message, transition
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.recorder import ACCEPTED, Recorder

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
WORDS = {"push": "title: Hi {{ user.name }}\n\nIt is ready.\n", "sms": "{{ user.name }}, it is ready. Reply STOP\n"}
CHANNELS = ("push", "sms", "inbox", "webhook")


def sealed(text: str) -> str:
    return hmac.digest(b"k", text.encode(), "sha256").hex()


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    made = world.fresh(database)
    seal_with(made.writer_engine, sealed)
    yield made
    made.close()


def bundle(channel: str) -> Bundle:
    plain = world.bundle(steps=[{"channel": channel, "template": "lunch"}])
    words = {f"lunch/{channel}.en.j2": WORDS["sms" if channel == "sms" else "push"]}
    return replace(plain, templates={**plain.templates, **words})


def planned(store: Store, channel: str) -> ManualClock:
    """Two people who are owed a message now."""
    clock = ManualClock(world.OPENING)
    for n in range(2):
        world.person(store, f"u{n}", phone=f"+49151000000{n}", consents=("push", "sms"))
    world.launch(store, bundle(channel), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    world.planner(clock, Routing.plain({"account": channel})).plan(store, item, found)
    clock.instant = LUNCH
    return clock


def staged(store: Store, clock: ManualClock, channel: str) -> tuple[Worker, Account]:
    """A worker whose steps are taken one by one."""
    wire: Any = Recorder(clock, channel=channel, kinds=frozenset({"*"}))
    wire = open_channel("inbox", {}, "") if channel == "inbox" else wire
    limits: dict[str, Any] = {"limiter": MemoryLimiter(time.monotonic), "monotonic": time.monotonic}
    account = open_account("account", wire, rate=1e6, burst=100, ramp=timedelta(0), connections=9, **limits)
    worker = Worker(store, clock, QuietHours.load(None), {"account": account}, timedelta(days=9))
    worker.start()
    return worker, account


def claimed(store: Store, clock: ManualClock, worker: Worker, account: Account) -> Any:
    with store.read() as connection:
        [lane] = due_lanes(connection, clock.now(), clock.machine())
    return (lane, *worker._door.claim_and_compose(lane, 10, account.channel))


def erase(store: Store, clock: ManualClock, name: str = "u0") -> int:
    return erase_user(store, name, clock, "operator test").messages


def ends(store: Store) -> dict[int, tuple[str, str | None]]:
    with store.read() as connection:
        return {row.user_id: (row.state, row.reason) for row in connection.execute(select(message))}


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_waits_leaves_and_what_is_held_is_stopped_at_the_gate(store: Store, channel: str) -> None:
    clock = planned(store, channel)
    worker, account = staged(store, clock, channel)
    lane, ready, out = claimed(store, clock, worker, account)
    assert len(ready) == 2
    assert erase(store, clock) == 0  # a worker has it
    leaving = worker._door.mark(lane, ready, out)
    assert [item.composed.message.user_id for item in leaving] == [2]
    state, reason = ends(store)[1]
    assert state == State.SKIPPED
    assert reason in {"no_address", "no_consent"}


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_waits_leaves_with_the_reason(store: Store, channel: str) -> None:
    clock = planned(store, channel)
    assert erase(store, clock) == 1
    assert ends(store) == {1: (State.SKIPPED, "erased"), 2: (State.PLANNED, None)}
    with store.read() as connection:
        [told] = connection.execute(select(transition).where(transition.c.reason == "erased")).all()
    assert (told.message_id, told.actor, told.old) == (message_id(1, 1, 1), "operator test", State.PLANNED)


@pytest.mark.on("postgresql")
def test_also_where_the_ledger_lies_in_blocks(database: str) -> None:
    store = Store(database)
    upgrade(store)
    with store.read() as connection:
        assert blocks(connection)
    seal_with(store.writer_engine, sealed)
    clock = planned(store, "sms")
    worker, account = staged(store, clock, "sms")
    with store.write() as connection:
        connection.execute(
            update(message).where(message.c.user_id == 1).values(due_at=clock.now() + timedelta(hours=1))
        )
    worker._door.mark(*claimed(store, clock, worker, account))
    with store.read() as connection:
        assert known_of(connection, "u1")["messages_sent"] == 1
    assert (erase(store, clock, "u0"), erase(store, clock, "u1")) == (1, 0)
    assert ends(store) == {1: (State.SKIPPED, "erased"), 2: (State.SENDING, None)}
    store.close()


def test_nothing_waits_any_more_from_the_first_step_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = planned(store, "push")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.audience.erasing._erase_events", killed)
    with pytest.raises(KeyboardInterrupt):
        erase(store, clock)
    assert ends(store)[1] == (State.SKIPPED, "erased")


def test_who_had_begun_gets_no_inbox_of_their_own_when_a_new_version_has_one(store: Store) -> None:
    clock = planned(store, "push")
    erase(store, clock)
    with store.write() as connection:
        [item] = runs_in(connection, RunState.ACTIVE)
        own_addresses(connection, item, bundle("inbox").campaign, (0, 9), clock.now())
        found = connection.execute(select(address.c.user_id, address.c.value).where(address.c.channel == "inbox")).all()
    assert found == [(2, "u1")]


def test_what_is_marked_and_has_not_begun_does_not_begin(store: Store) -> None:
    clock = planned(store, "push")
    worker, account = staged(store, clock, "push")
    leaving = worker._door.mark(*claimed(store, clock, worker, account))
    erase(store, clock)
    for item in leaving:
        asyncio.run(worker._flights.request(account, item, clock.monotonic()))
    assert [call.message for call in account.channel.calls] == [str(message_id(1, 2, 1))]  # type: ignore[attr-defined]


def test_what_was_in_flight_shows_no_words_in_the_inbox(store: Store) -> None:
    clock = planned(store, "inbox")
    worker, account = staged(store, clock, "inbox")
    leaving = worker._door.mark(*claimed(store, clock, worker, account))
    assert len(leaving) == 2
    erase(store, clock)
    answers = [
        Answer(made.composed.message, "account", ACCEPTED, made.marked_at, clock.now(), made.composed.payload)
        for made in leaving
    ]
    worker._answers.write(answers)
    assert {user: state for user, (state, _) in ends(store).items()} == {1: State.ACCEPTED, 2: State.ACCEPTED}
    with store.read() as connection:
        assert list(connection.execute(select(inbox_item.c.user_id)).scalars()) == [2]
