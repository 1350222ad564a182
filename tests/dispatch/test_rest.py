"""An account with little room rests: what comes free meanwhile is claimed for together."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import replace
from datetime import timedelta

import pytest
from typing_extensions import override

from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import ManualClock
from orchestrator.dispatch import rest
from orchestrator.dispatch.rest import AT_MOST, FEW, PART, Rests
from orchestrator.dispatch.worker import Worker
from orchestrator.limits.rate import Rate
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.dispatch.test_account import LANE, SLOW
from tests.dispatch.test_worker import Silent, account, planned

BEGAN, CONNECTIONS = 1000.0, 10 * PART
WIDE = Rate(1000.0, 1000, timedelta(0))
SOON, LATER = BEGAN + AT_MOST / 2, BEGAN + AT_MOST


def after(room: int, kept: int, rate: Rate = WIDE) -> Rests:
    made = Rests()
    made.begin(LANE, room, kept, CONNECTIONS, rate, BEGAN)
    return made


def test_with_few_connections_free_it_rests_until_there_are_enough_or_a_moment_has_passed() -> None:
    rests = after(room=9, kept=9)
    assert rests.holds(LANE, 9, SOON)
    assert not rests.holds(LANE, 10, SOON)
    assert not rests.holds(LANE, 9, LATER)
    assert rests.left(SOON) == pytest.approx(AT_MOST / 2)


@pytest.mark.parametrize(("room", "kept"), [(10, 10), (FEW, 80)])
def test_with_room_enough_it_does_not_rest(room: int, kept: int) -> None:
    rests = after(room, kept)
    assert not rests.holds(LANE, 0, BEGAN)
    assert rests.left(BEGAN) == math.inf


def test_a_rate_that_lets_few_go_is_waited_for_whatever_is_free() -> None:
    assert after(room=FEW - 1, kept=80).holds(LANE, CONNECTIONS, SOON)


def test_no_longer_than_its_burst_holds_what_the_rate_lets_go_meanwhile() -> None:
    rests = after(5, 80, Rate(1000.0, 10, timedelta(0)))
    assert rests.holds(LANE, CONNECTIONS, BEGAN + 0.004)
    assert not rests.holds(LANE, CONNECTIONS, BEGAN + 0.005)


def test_a_slow_lane_lets_others_of_its_account_go_on() -> None:
    rests = Rests()
    for lane in (SLOW, replace(LANE, id=SLOW.id, campaign_rate=2.0)):
        rests.begin(lane, 1, 80, CONNECTIONS, WIDE, BEGAN)
        assert rests.holds(lane, CONNECTIONS, SOON)
        assert not rests.holds(LANE, 1, SOON)


def test_that_enough_are_free_is_said_once_and_of_connections_alone() -> None:
    rests = after(room=9, kept=9)
    assert [rests.ends(free) for free in (9, 10, 11)] == [False, True, False]
    assert not rests.holds(LANE, 0, SOON)
    assert not after(room=1, kept=80).ends(CONNECTIONS)


def test_rests_that_are_over_are_not_kept() -> None:
    rests = Rests()
    for n in range(100):
        rests.begin(replace(SLOW, id=n + 1), 1, 80, CONNECTIONS, WIDE, BEGAN + n)  # type: ignore[arg-type]
    assert len(rests._of) == 1


class Held(Silent):
    """Accepts what it is told to, in the order in which it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = deque[asyncio.Future[None]]()
        self.count = 0

    @override
    async def send(self, envelope: Envelope) -> Outcome:
        del envelope
        self.count += 1
        answer = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        await answer
        return Outcome(OutcomeClass.ACCEPTED)

    async def holds(self, count: int) -> None:
        """Until it has been asked so often."""
        async with asyncio.timeout(20):
            while self.count < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert self.count == count


def test_connections_that_come_free_one_by_one_are_claimed_for_together(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "AT_MOST", 60.0)
    clock, channel = ManualClock(world.OPENING), Held()
    one = account(channel)
    one.connections = 3 * PART  # three of them are worth a batch
    for n in range(one.connections + 6):
        world.person(store, f"u{n}")
    planned(store, clock)
    worker = Worker(store, clock, QuietHours.load(None), {"fcm": one}, timedelta(seconds=60))

    async def work() -> None:
        worker.start()
        running = asyncio.create_task(worker.run())
        await channel.holds(one.connections)
        channel.waiting.popleft().set_result(None)  # for little room there is a batch, and then a rest
        await channel.holds(one.connections + 1)
        for _ in range(2):
            channel.waiting.popleft().set_result(None)
            await asyncio.sleep(0.1)
        assert channel.count == one.connections + 1
        channel.waiting.popleft().set_result(None)
        await channel.holds(one.connections + 4)
        worker.stop()
        while channel.waiting:
            channel.waiting.popleft().set_result(None)
        async with asyncio.timeout(10):
            await running

    asyncio.run(work())
