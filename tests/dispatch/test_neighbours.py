"""One account's trouble is its own: a provider that says nothing, or asks to wait, never slows another's lane."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.audience import people
from orchestrator.channel.base import Ambiguity, Envelope, Inquiry, Outcome, OutcomeClass, Payload, SmsPayload
from orchestrator.channel.sms.twilio import TwilioChannel, TwilioOptions
from orchestrator.channel.sms.twilio_callbacks import Signature
from orchestrator.channel.transport import Transport
from orchestrator.clock import ManualClock
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import Lane
from orchestrator.ledger.ids import LaneId
from orchestrator.ledger.states import State
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Carrier, Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests import world
from tests.channel.far_end import FarEnd, answers, silence

LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
AC = "AC" + "0123456789abcdef" * 2
MESSAGES = f"/2010-04-01/Accounts/{AC}/Messages.json"
OK = answers(201, {"sid": "SM" + "f" * 32, "status": "queued", "num_segments": "1", "error_code": None})
PATIENCE = timedelta(seconds=2)
ENOUGH = 4.0
"""Seconds after which it is slow enough to be called so."""
EACH = 60


def twilio(far: FarEnd, clock: ManualClock, patience: timedelta = PATIENCE) -> TwilioChannel:
    given = {"account_sid": AC, "auth_token_file": Path("x"), "base_url": far.url, "from": "+15005550006"}
    options = TwilioOptions.model_validate({**given, "timeout": patience})
    sign = Signature("s3cret", None)
    return TwilioChannel(
        options, "s3cret", Transport(patience), clock, signature=sign, callback_url="https://x.example"
    )


class Mixed:
    """The broken variant: one account, one set of connections, for both providers."""

    channel, provider, kinds, ambiguity, timeout = "sms", "mixed", frozenset({"phone"}), Ambiguity.HOLD, PATIENCE

    def __init__(self, good: TwilioChannel, bad: TwilioChannel) -> None:
        self.good, self.bad = good, bad

    async def send(self, envelope: Envelope) -> Outcome:
        return await (self.bad if envelope.address.startswith("+86") else self.good).send(envelope)

    def problems(self, payload: Payload) -> list[str]:
        return self.good.problems(payload)

    async def reconcile(self, inquiry: Inquiry) -> Outcome | None:
        raise NotImplementedError

    async def close(self) -> None:
        return None


def account(name: str, channel: TwilioChannel | Mixed, limiter: MemoryLimiter) -> Account:
    common = {"rate": 2000.0, "burst": 500, "ramp": timedelta(0), "connections": 8}
    return open_account(name, channel, limiter=limiter, monotonic=time.monotonic, **common)  # type: ignore[arg-type]


def planned(path: Path, clock: ManualClock, routing: Routing, *, china: bool) -> Store:
    store = world.fresh(path)
    for n in range(EACH):
        world.person(store, f"de{n}", push=None, phone=f"+49151123{n:05}")
        if china:
            world.person(store, f"cn{n}", push=None, zone="Europe/Berlin")
            with store.write() as connection:
                at = world.OPENING - timedelta(days=9)
                row = people.AddressRow(f"cn{n}", "sms", f"+86138001{n:05}", at, country="CN")
                people.upsert_addresses(connection, [row], at)
    world.launch(store, world.bundle(steps=[{"channel": "sms", "template": "lunch"}]), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    Planner(clock, QuietHours.load(None), routing).plan(store, item, found)
    clock.instant = LUNCH
    return store


def states(store: Store) -> dict[tuple[str, str], int]:
    sql = text("""
        SELECT substr(users.external_id, 1, 2) AS who, message.state AS state, count(*) AS n FROM message
        JOIN users ON users.id = message.user_id GROUP BY 1, 2""")
    with store.read() as connection:
        return {(row.who, row.state): row.n for row in connection.execute(sql)}


async def seconds_of_the_good_ones(path: Path, *, china: bool, shared: bool = False) -> float:
    """How long until all messages of the provider that works are accepted."""
    clock = ManualClock(world.OPENING)
    names = ("mixed", "mixed") if shared else ("bad", "good")
    to_china = Carrier(names[0], "sms", countries=frozenset({"CN"}))
    routing = Routing((Carrier("mixed", "sms"),)) if shared else Routing((to_china, Carrier("good", "sms")))
    store = planned(path, clock, routing, china=china)
    async with FarEnd().plays(MESSAGES, OK) as good, FarEnd().plays(MESSAGES, silence) as bad:
        limiter = MemoryLimiter(time.monotonic)
        first, second = twilio(good, clock), twilio(bad, clock)
        accounts = {"good": account("good", first, limiter), "bad": account("bad", second, limiter)}
        if shared:
            accounts = {"mixed": account("mixed", Mixed(first, second), limiter)}
        worker = Worker(store, clock, QuietHours.load(None), accounts, routing=routing)
        worker.start()
        began = time.monotonic()
        running = asyncio.create_task(worker.run())
        while states(store).get(("de", State.ACCEPTED), 0) < EACH and time.monotonic() - began < ENOUGH:  # noqa: ASYNC110  # the ledger's
            await asyncio.sleep(0.02)
        took = time.monotonic() - began
        if china and not shared:  # an attempt at the silent one ends within its time, and is in doubt
            while states(store).get(("cn", State.UNKNOWN), 0) < 8:
                assert time.monotonic() - began < took + 3 * PATIENCE.total_seconds()
                await asyncio.sleep(0.05)
            assert len(good.requests) == EACH
        worker.stop()
        await running
        for channel in (first, second):
            await channel.close()
    store.close()
    return took


def test_a_silent_provider_slows_nobody_else(tmp_path: Path) -> None:
    """R29; and the broken variant, one pool of connections for both, is caught by the same measure."""
    alone = asyncio.run(seconds_of_the_good_ones(tmp_path / "alone.db", china=False))
    beside = asyncio.run(seconds_of_the_good_ones(tmp_path / "beside.db", china=True))
    broken = asyncio.run(seconds_of_the_good_ones(tmp_path / "broken.db", china=True, shared=True))
    bound = alone + PATIENCE.total_seconds() / 2
    assert beside < bound, (alone, beside)
    assert broken > bound, (alone, broken)


LANE = Lane(LaneId(17), 1, 1, "sms", "acc", None, 50, "lunch", "v")
ENVELOPE = Envelope("4711", 1, "+15558675309", "phone", SmsPayload("lunch"), timedelta(minutes=90), "r1-1-1")


class Hand:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def in_a_while() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("1", 1, 1),
        ("60", 60, 60),
        ("date", 88, 91),
        ("soon, I hope", 1, 120),
        ("-5", 1, 120),
        (str(365 * 86400), 86400, 86400),
    ],
)
def test_no_request_before_the_wait_is_over(header: str, least: float, most: float) -> None:
    """R7 over the real transport: a 429 pauses the whole account, for as long as was asked, a day at the most."""
    asked = answers(429, {"code": 20429}, **{"Retry-After": in_a_while() if header == "date" else header})

    async def main() -> None:
        clock, hand = ManualClock(datetime.now(UTC).replace(microsecond=0)), Hand()
        async with FarEnd().plays(MESSAGES, asked, OK) as far:
            channel = twilio(far, clock)
            one = open_account(
                "acc",
                channel,
                rate=100.0,
                burst=20,
                ramp=timedelta(0),
                connections=8,
                limiter=MemoryLimiter(hand),
                monotonic=hand,
            )
            one.room(LANE, 1)
            hand.now += 1
            began = hand.now
            outcome = await channel.send(ENVELOPE)
            assert outcome.kind is OutcomeClass.RETRY_AFTER
            assert outcome.scope == "account"
            one.heard(outcome, 0.1)
            while not one.room(LANE, 1):
                hand.now += 0.25 if most < 1000 else 30
                assert hand.now - began <= most + 31
            assert hand.now - began >= least
            assert hand.now - began <= most + (1 if most < 1000 else 31)
            assert len(far.requests) == 1
            assert (await channel.send(ENVELOPE)).kind is OutcomeClass.ACCEPTED
            assert len(far.requests) == 2
            await channel.close()

    asyncio.run(main())


def test_the_wait_of_one_account_is_not_anothers() -> None:
    hand = Hand()
    limiter = MemoryLimiter(hand)
    clock = ManualClock(datetime.now(UTC))
    far = FarEnd()
    common = {"rate": 100.0, "burst": 20, "ramp": timedelta(0), "connections": 8}
    pair = [
        open_account(name, twilio(far, clock), limiter=limiter, monotonic=hand, **common)  # type: ignore[arg-type]
        for name in ("a", "b")
    ]
    for one in pair:
        one.room(LANE, 1)
    hand.now += 1
    pair[0].heard(Outcome(OutcomeClass.RETRY_AFTER, "429", retry_after=timedelta(hours=1), scope="account"), 0.1)  # type: ignore[arg-type]
    assert pair[0].room(LANE, 1) == 0
    assert pair[1].room(LANE, 1) == 1
    for one in pair:
        asyncio.run(one.channel.close())
