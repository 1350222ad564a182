"""What answers mean for addresses and accounts, through a real worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.channel.base import Outcome, OutcomeClass, Scope
from orchestrator.clock import ManualClock
from orchestrator.dispatch.door import First
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.settling import Settler
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.history import Wanted, acts
from orchestrator.store import Store
from orchestrator.store.tables import address, message, stop
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.doors import door
from tests.dispatch.test_worker import Silent, account, planned


def worked(store: Store, clock: ManualClock, outcome: Outcome, done: Callable[[], bool]) -> None:
    """A worker whose provider answers everything alike, until something is so."""

    async def work() -> None:
        made = Worker(store, clock, QuietHours.load(None), {"fcm": account(Silent(outcome))})
        made.start()
        running = asyncio.create_task(made.run())
        async with asyncio.timeout(20):
            while not running.done() and not await asyncio.to_thread(done):  # noqa: ASYNC110  # the ledger's news
                await asyncio.sleep(0.02)
        made.stop()
        await running

    asyncio.run(work())


@pytest.mark.parametrize(("later", "reason"), [(timedelta(hours=1), "dead"), (timedelta(hours=-1), None)])
def test_a_token_registered_after_its_death_is_kept(store: Store, later: timedelta, reason: str | None) -> None:
    """APNs 410 says since when: what the app registered since then is another registration."""
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock)
    with store.read() as connection:
        seen = connection.execute(select(address.c.last_seen_at)).scalar_one()
    gone = Outcome(OutcomeClass.DROP_ADDRESS, "Unregistered", dead_since=seen + later)
    worked(store, clock, gone, lambda: said(store) == ["failed"])
    with store.read() as connection:
        assert connection.execute(select(address.c.end_reason)).scalar_one() == reason
    store.close()


def said(store: Store) -> list[str]:
    with store.read() as connection:
        return sorted(connection.execute(select(message.c.state)).scalars())


def test_a_storm_of_tokens_of_another_project_stops_the_account_and_ends_nobody(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    for number in range(30):
        world.person(store, f"u{number}")
    planned(store, clock)

    def stopped() -> list[str]:
        with store.read() as connection:
            return list(connection.execute(select(stop.c.reason)).scalars())

    wrong = Outcome(OutcomeClass.DROP_ADDRESS, "SENDER_ID_MISMATCH")
    worked(store, clock, wrong, lambda: bool(stopped()))
    assert stopped() == ["too many SENDER_ID_MISMATCH"]
    with store.read() as connection:
        [line] = [one for one in acts(connection, Wanted(), 10) if one.new == "stopped"]
    assert line.reason == "account fcm: too many SENDER_ID_MISMATCH"
    with store.read() as connection:
        assert connection.execute(select(address.c.id).where(address.c.end_reason == "dead")).all() == []
    store.close()


def test_nothing_is_claimed_with_the_answer_that_stops_its_account(store: Store) -> None:
    """Answers are written in the transaction of the next claim."""
    clock = ManualClock(world.OPENING)
    for name in ("ada", "bob"):
        world.person(store, name)
    planned(store, clock)
    made, channel = door(store, clock), Silent()
    with store.read() as connection:
        [lane] = due_lanes(connection, clock.now(), clock.machine())
    [leaving] = made.mark(lane, *made.claim_and_compose(lane, 1, channel))
    refused = Outcome(OutcomeClass.STOP_CHANNEL, "401", scope=Scope.ACCOUNT)
    answer = Answer(leaving.composed.message, "fcm", refused, leaving.marked_at, clock.now())
    settler = Settler(clock, {"fcm": account(channel)})
    first = First(lambda connection: settler.settle(connection, made.holder(), [answer]), lambda: None)
    assert made.claim_and_compose(lane, 1, channel, first) == ([], [])
    assert said(store) == ["planned", "planned"]


def test_an_answer_that_no_database_stores_keeps_no_others_from_being_written(store: Store) -> None:
    """PostgreSQL takes NUL in no text; a provider's id and words are its own."""
    clock = ManualClock(world.OPENING)
    world.person(store, "ada")
    planned(store, clock)
    odd = Outcome(OutcomeClass.ACCEPTED, "200\0", provider_id="projects/1/\0messages/1", detail="\0fine")
    worked(store, clock, odd, lambda: said(store) == ["accepted"])
    with store.read() as connection:
        assert connection.execute(select(message.c.provider_id)).scalar_one() == "projects/1/messages/1"
    store.close()
