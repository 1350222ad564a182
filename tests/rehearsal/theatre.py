"""A small town for rehearsals: people in three zones, a campaign, accounts, and a real run to compare with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text

from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import next_due
from orchestrator.limits.rate import MemoryLimiter, Rate
from orchestrator.rehearsal.channels import RehearsedChannel, Terms
from orchestrator.rehearsal.rehearse import Order, rehearse
from orchestrator.rehearsal.responses import SILENT, Responses
from orchestrator.rehearsal.values import Rehearsed
from orchestrator.store import Store
from tests import world

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/Vancouver")
QUIET = Responses(dict.fromkeys(("push", "sms", "email"), SILENT), by_themselves=0.0)
"""Everything is accepted, and nobody does anything."""
WEEK = timedelta(days=7)


def terms(rate: float = 50.0, **more: Any) -> list[Terms]:
    """The accounts of the small world."""
    limit = Rate(rate, 10, timedelta(0))
    return [Terms("fcm", "push", "fcm", limit, **more), Terms("twilio", "sms", "twilio", limit)]


def order(what: Bundle, **more: Any) -> Order:
    """A week of a campaign, with answers that do nothing."""
    usual: dict[str, Any] = {"span": WEEK, "accounts": terms(), "responses": QUIET, "grain": timedelta(seconds=10)}
    return Order(bundle=what, planner=world.planner(ManualClock(world.OPENING)), **(usual | more))


def daily(**more: Any) -> Bundle:
    """The small campaign, every day."""
    return world.bundle({"schedule": {"days": "every"}}, **more)


def town(store: Store, people: int, *, phones: bool = True) -> Store:
    """People in turn in each zone."""
    for n in range(people):
        phone = f"+49151{n:08}" if phones else None
        world.person(store, f"u{n}", ZONES[n % len(ZONES)], phone=phone)
    return store


def played(store: Store, asked: Order, now: datetime = world.OPENING) -> Rehearsed:
    """A rehearsal on a reader of the same file, as the command has it."""
    assert store.path is not None
    reader = Store(str(store.path), writer=False)
    try:
        return rehearse(reader, asked, now)
    finally:
        reader.close()


def decisions(found: Rehearsed) -> dict[str, int]:
    """Members by decision and reason."""
    return {f"{one.name} {one.reason}".strip(): one.members for one in found.tally.decisions}


def reasons(found: Rehearsed, became: str = "skipped") -> dict[str, int]:
    """Messages by reason."""
    counts: dict[str, int] = {}
    for why in found.whys:
        if why.became == became:
            counts[why.reason] = counts.get(why.reason, 0) + why.messages
    return counts


def really(store: Store, what: Bundle, until: datetime, responses: Responses) -> None:
    """The same campaign through the real worker, whose channels answer by the same model, minute by minute."""
    clock = ManualClock(world.OPENING)
    world.plan(store, what, clock)
    accounts = _accounts(responses, clock)
    while clock.now() < until:
        asyncio.run(_minute(store, clock, accounts))
        sweep(store, clock, {})
        with store.read() as connection:
            due = next_due(connection, clock.machine())
        clock.instant = max(clock.now() + timedelta(minutes=1), min(due or until, until))


def _accounts(responses: Responses, clock: ManualClock) -> Mapping[str, Account]:
    limiter = MemoryLimiter(clock.monotonic)
    common: dict[str, Any] = {"rate": 1e6, "burst": 10_000, "ramp": timedelta(0), "connections": 1000}
    common |= {"limiter": limiter, "monotonic": clock.monotonic}
    return {one.name: open_account(one.name, RehearsedChannel(one, responses), **common) for one in terms()}


async def _minute(store: Store, clock: ManualClock, accounts: Mapping[str, Account]) -> None:
    """One worker's life at a standing clock: everything that is due."""
    worker = Worker(store, clock, world.planner(clock).quiet, accounts, routing=world.planner(clock).routing)
    worker.start()
    working = asyncio.create_task(worker.run())
    for _ in range(2000):
        await asyncio.sleep(0.002)
        with store.read() as connection:
            due = next_due(connection, clock.machine())
            busy = connection.execute(text("SELECT 1 FROM message WHERE worker_id IS NOT NULL")).first()
        if busy is None and (due is None or due > clock.now()):
            break
    worker.stop()
    await working


def ledger(store: Store) -> dict[tuple[str, int], tuple[str, str | None, int | None]]:
    """By user and step: state, reason and the instant of the request."""
    with store.read() as connection:
        rows = connection.execute(_MESSAGES).all()
    return {(row.name, row.step): (row.state, row.reason, row.sent_at) for row in rows}


_MESSAGES = text("""
    SELECT users.external_id AS name, message.step, message.state, message.reason, message.sent_at
    FROM message JOIN users ON users.id = message.user_id""")
