"""Quotas on PostgreSQL, where the marks of two batches do run at once."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.channel.push.quotas import DailyQuota
from orchestrator.clock import ManualClock
from orchestrator.ledger.claim import due_lanes
from orchestrator.store import Store
from tests import world
from tests.dispatch.doors import channel, door
from tests.dispatch.test_quota import CHINA, LUNCH, two_campaigns

pytestmark = pytest.mark.on("postgresql")


def test_two_batches_at_once_do_not_both_take_the_last_of_a_quota(store: Store, tmp_path: Path) -> None:
    """Each would have counted before the other was committed, if nothing kept it."""
    clock, meeting = ManualClock(world.OPENING), threading.Barrier(2)
    for n in range(5):
        world.person(store, f"u{n}")
    two_campaigns(store, clock)
    clock.instant = LUNCH
    with store.read() as connection:
        lanes = due_lanes(connection, clock.now(), clock.machine())
    made, opened = door(store, clock), channel(tmp_path, "push")
    batches = [made.claim_and_compose(lane, 100, opened) for lane in lanes]
    left = list[int]()

    def meet(step: str) -> None:
        if step == "marking":
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.5)

    def work(number: int) -> None:
        ready, out = batches[number]
        left.append(len(replace(made, probe=meet).mark(lanes[number], ready, out, DailyQuota(1, CHINA))))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    asyncio.run(opened.close())
    assert sorted(left) == [0, 5]
