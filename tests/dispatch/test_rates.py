"""Rates beside the account's own: a campaign's, those of single domains, and an account's warm-up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from orchestrator.audience import people
from orchestrator.channel.log import open_channel
from orchestrator.clock import ManualClock
from orchestrator.content.links import Links
from orchestrator.dispatch.account import Account, open_account, restrain
from orchestrator.dispatch.batch import take_batch
from orchestrator.dispatch.door import Door
from orchestrator.dispatch.warm_up import WarmUp
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.warmed import Warmed, warmed_of
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.policy.carriers import Carrier, Routing
from orchestrator.settings import AccountSettings
from orchestrator.store import Store
from orchestrator.store.tables import message
from tests import world
from tests.dispatch.doors import door, ends

LUNCH = datetime(2026, 12, 7, 10, 15, tzinfo=UTC)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MAIL: dict[str, Any] = {
    "steps": [{"channel": "email", "template": "lunch"}],
    "window": {"local": "00:00-24:00", "spread": "0%"},
}
NEXT: dict[str, Any] = {
    **MAIL,
    "window": {"local": "00:00-24:00", "spread": "0%", "late": "next", "expires_after": "72h"},
    "schedule": {"days": "every", "from": "2026-12-07", "until": "2026-12-08"},
}
MAILS = {"lunch/email.en.j2": 'subject: Lunch\n\n<html><a href="{{ unsubscribe_url }}">no more</a></html>\n'}


def readers(store: Store, mailboxes: Sequence[str]) -> None:
    """People with mailboxes, all in Berlin, in one transaction."""
    at = world.OPENING - timedelta(days=9)
    with store.write() as connection:
        rows = [people.UserRow(f"u{n}", "U", "en", "Europe/Berlin", "DE") for n, _ in enumerate(mailboxes)]
        people.upsert_users(connection, rows, at)
        known = people.user_ids(connection, [row.external_id for row in rows])
        people.upsert_addresses(
            connection, [people.AddressRow(f"u{n}", "email", mailbox, at) for n, mailbox in enumerate(mailboxes)], at
        )
        for user in known.values():
            people.set_consent(connection, user, "email", "promotions", granted=True, source="test", at=at)


def planned(store: Store, **changes: Any) -> ManualClock:
    clock = ManualClock(world.OPENING)
    what = replace(world.bundle({**MAIL, **changes}), templates={**world.TEMPLATES, **MAILS})
    world.launch(store, what, clock.now())
    world.plan_due(store, clock, Routing((Carrier("mail", "email"),)))
    clock.instant = LUNCH
    return clock


def account(clock: ManualClock, tmp_path: Path, limiter: MemoryLimiter | None = None, **more: Any) -> Account:
    made = open_account(
        "mail",
        open_channel("log", {"file": tmp_path / "mail.jsonl", "channel": "email"}, ""),
        rate=1000.0,
        burst=100,
        ramp=timedelta(0),
        connections=100,
        limiter=limiter or MemoryLimiter(clock.monotonic),
        monotonic=clock.monotonic,
    )
    return restrain(made, more.get("domains", {}), more.get("warm_up", ()), clock.monotonic)


class Rig:
    """One worker's turns over the lanes, on a clock that is moved by hand; answers do not matter here."""

    def __init__(self, store: Store, clock: ManualClock, one: Account) -> None:
        warm_ups = {one.name: one.warm_up} if one.warm_up else {}
        self.store, self.clock, self.account = store, clock, one
        links = Links("https://push.example", bytes(32))
        self.door: Door = door(store, clock, warm_ups=warm_ups, links=links)
        self.left: list[tuple[datetime, str]] = []

    def turn(self) -> None:
        with self.store.read() as connection:
            lanes = due_lanes(connection, self.clock.now(), self.clock.machine())
        for lane in lanes:
            while room := self.account.room(lane, 100):
                batch = take_batch(self.door, lane, self.account, room)
                self.left += [(self.clock.now(), item.composed.address) for item in batch.leaving]
                if not batch.claimed:
                    break

    def pass_time(self, span: timedelta, step: timedelta = SECOND) -> None:
        end = self.clock.now() + span
        while self.clock.now() < end:
            self.turn()
            self.clock.advance(step)

    def close(self) -> None:
        asyncio.run(self.account.channel.close())


def most_within(left: Sequence[datetime], span: timedelta) -> int:
    """The most that left within any such span: what a calendar day would not see."""
    return max((sum(at <= other < at + span for other in left) for at in set(left)), default=0)


def test_a_slow_domain_waits_and_holds_up_nobody(store: Store, tmp_path: Path) -> None:
    readers(store, [f"g{n}@gmail.com" for n in range(300)] + [f"o{n}@other.example" for n in range(100)])
    clock = planned(store)
    rig = Rig(store, clock, account(clock, tmp_path, domains={"Gmail.com": 2.0}))
    rig.pass_time(20 * SECOND)
    began = Counter(mail.partition("@")[2] for at, mail in rig.left if at < LUNCH + 3 * SECOND)
    assert began["other.example"] == 100  # though three hundred stood before them
    slow = [at for at, mail in rig.left if mail.endswith("gmail.com")]
    assert 34 <= len(slow) <= 40
    assert most_within(slow, SECOND) <= 2 + 2
    with store.read() as connection:
        waiting = connection.execute(select(message.c.due_at, message.c.reason).where(message.c.state == "planned"))
        due, reasons = zip(*waiting, strict=True)
    assert set(reasons) == {"rate"}
    assert most_within(due, 10 * SECOND) <= 20 + 2  # one after the other, at the domain's rate
    rig.pass_time(140 * SECOND)
    assert len(rig.left) == len({mail for _, mail in rig.left}) == 400
    with store.read() as connection:
        holds = connection.execute(text("SELECT count(*) FROM transition WHERE reason = 'rate'")).scalar_one()
    assert holds < 2 * 300  # each comes to the door about twice, not every second
    rig.close()


def test_a_domain_without_room_before_the_deadline_expires_with_that_reason(store: Store, tmp_path: Path) -> None:
    from orchestrator.dispatch.sweep import sweep

    readers(store, [f"g{n}@gmail.com" for n in range(20)])
    clock = planned(store, window={"local": "11:00-11:16", "spread": "0%"})
    rig = Rig(store, clock, account(clock, tmp_path, domains={"gmail.com": 0.1}))
    rig.pass_time(timedelta(minutes=2))
    sweep(store, clock, {"mail": False})
    assert ends(store)["expired", "rate"] == 20 - len(rig.left)
    assert 4 <= len(rig.left) <= 6
    rig.close()


def test_a_campaign_has_a_rate_over_all_its_steps(store: Store, tmp_path: Path) -> None:
    readers(store, [f"a{n}@x.example" for n in range(200)])
    clock = planned(store, rate="300/min")
    rig = Rig(store, clock, account(clock, tmp_path))
    rig.pass_time(30 * SECOND)
    left = [at for at, _ in rig.left]
    assert 140 <= len(left) <= 150
    assert most_within(left, SECOND) <= 5 + 5
    rig.close()


def test_a_warm_up_is_a_rolling_day(store: Store, tmp_path: Path) -> None:
    """And a calendar day (the broken variant) lets two days' worth leave around midnight."""
    readers(store, [f"a{n}@x.example" for n in range(100)])
    clock = planned(store, **NEXT)
    rig = Rig(store, clock, account(clock, tmp_path, warm_up=[20, 50]))
    clock.instant = began = datetime(2026, 12, 6, 23, 30, tzinfo=UTC)
    rig.pass_time(timedelta(hours=47), timedelta(minutes=10))
    left = [at for at, _ in rig.left]
    assert sum(at < began + DAY for at in left) == 20
    assert most_within([at for at in left if at < began + 2 * DAY], DAY) <= 50
    assert len(left) == len({mail for _, mail in rig.left}) == 70
    assert ends(store)["skipped", "warm_up"] == 30
    naive = [min(n // 20, 1) * timedelta(hours=2) + began for n in range(40)]  # 20 a calendar day: 22:30 and 00:30
    assert most_within(naive, DAY) > 20
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM transition WHERE reason = 'warm_up'")).scalar_one() < 300
    rig.close()


def test_what_a_warm_up_cannot_send_in_time_is_skipped(store: Store, tmp_path: Path) -> None:
    readers(store, [f"a{n}@x.example" for n in range(30)])
    clock = planned(store)
    rig = Rig(store, clock, account(clock, tmp_path, warm_up=[12]))
    rig.pass_time(5 * SECOND)
    assert ends(store) == {("sending", None): 12, ("skipped", "warm_up"): 18}
    rig.close()


def test_two_workers_share_a_warm_up(store: Store, tmp_path: Path) -> None:
    readers(store, [f"a{n}@x.example" for n in range(90)])
    clock = planned(store)
    rigs = [Rig(store, clock, account(clock, tmp_path, warm_up=[31])) for _ in range(2)]
    clock.advance(SECOND)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda rig: [rig.turn() for _ in range(5)], rigs))
    assert sum(len(rig.left) for rig in rigs) <= 31
    for _ in range(3):
        clock.advance(SECOND)
        for rig in rigs:
            rig.turn()
    assert sum(len(rig.left) for rig in rigs) == 31
    with store.read() as connection:
        assert warmed_of(connection, "mail", clock.now()).messages == 31
    for rig in rigs:
        rig.close()


def test_the_days_of_a_warm_up() -> None:
    schedule, first = WarmUp("a", (500, 1000, 5000)), LUNCH
    assert schedule.most(Warmed(None), LUNCH) == 500
    for hours, most in ((0, 500), (23.9, 500), (24, 1000), (47.9, 1000), (48, 5000), (71.9, 5000)):
        assert schedule.most(Warmed(first), first + timedelta(hours=hours)) == most
    assert not schedule.warm(Warmed(first), first + timedelta(hours=71.9))
    assert schedule.warm(Warmed(first), first + timedelta(hours=72))


@pytest.mark.parametrize(("said", "rate"), [(20, 20.0), ("20/s", 20.0), ("600/min", 10.0), ("90 / hour", 0.025)])
def test_a_domain_s_rate_as_people_write_it(said: object, rate: float) -> None:
    made = AccountSettings(channel="email", provider="smtp", domains={"gmail.com": said})
    assert made.domains == {"gmail.com": rate}


@pytest.mark.parametrize("said", ["fast", "20/fortnight", 0, "0/s", "x/s"])
def test_a_domain_s_rate_that_is_none(said: object) -> None:
    with pytest.raises(ValueError, match="domains"):
        AccountSettings(channel="email", provider="smtp", domains={"gmail.com": said})
