"""Defects that users of other systems reported, and that must not be ours. Each is named for where it was read.

Many more stand beside what they are about: `grep -rniE "listmonk|mautic|parcelvoy|dittofeed|notifuse" tests`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select

from orchestrator.audience import people
from orchestrator.campaign.version import Bundle
from orchestrator.dispatch.sweep import sweep
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import claim, due_lanes
from orchestrator.ledger.lease import Holder, register
from orchestrator.ledger.runs import Run, read_run
from orchestrator.ledger.states import RunState, State
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import members_statement
from orchestrator.report.launched import launched
from orchestrator.report.outcomes import outcomes
from orchestrator.store.tables import address, attempt, message
from tests import world
from tests.integration.conftest import Rig

LUNCH = datetime(2026, 12, 7, 10, 15, tzinfo=UTC)  # 11:15 in Berlin
PUSH_ALONE: dict[str, Any] = {"steps": world.DEFINITION["steps"][:1]}


def due(rig: Rig, what: Bundle) -> tuple[Run, Bundle]:
    """Launch, and the run that falls due."""
    world.launch(rig.store, what, rig.clock.now())
    with rig.store.write() as connection:
        [found] = [
            (run, one) for run, one in due_runs(connection, rig.clock.now()) if run.campaign == what.campaign.name
        ]
    return found


def planned(rig: Rig, **changes: Any) -> Run:
    item, what = due(rig, world.bundle(**changes))
    return world.planner(rig.clock).plan(rig.store, item, what)


def states(rig: Rig, step: int = 1) -> Counter[str]:
    with rig.store.read() as connection:
        return Counter(connection.execute(select(message.c.state).where(message.c.step == step)).scalars())


def settled(rig: Rig, step: int = 1) -> bool:
    return not set(states(rig, step)) & {State.PLANNED, State.CLAIMED, State.SENDING}


def run_state(rig: Rig, item: Run) -> RunState:
    with rig.store.read() as connection:
        return read_run(connection, item.id).state


def test_a_shutdown_does_not_finish_a_campaign_with_people_unsent(rig: Rig) -> None:  # listmonk #2278
    for n in range(200):
        world.person(rig.store, f"u{n}")
    item = planned(rig, **PUSH_ALONE)
    rig.clock.instant = LUNCH
    rig.far.fault(provider="fcm", kind="delay", seconds=0.2, times=None)
    rig.work(lambda: states(rig)[State.ACCEPTED] >= 20)
    rig.far.calm()
    left = states(rig)[State.PLANNED]
    assert left > 0
    sweep(rig.store, rig.clock, {})
    assert run_state(rig, item) is RunState.ACTIVE
    rig.work(lambda: settled(rig))
    sweep(rig.store, rig.clock, {})
    assert run_state(rig, item) is RunState.DONE
    assert states(rig) == {State.ACCEPTED: 200}
    assert len(rig.far.accepted()) == 200


def test_two_workers_make_one_copy(rig: Rig) -> None:  # mautic #9880
    for n in range(200):
        world.person(rig.store, f"u{n}")
    planned(rig, **PUSH_ALONE)
    rig.clock.instant = LUNCH
    rig.connect()

    async def both() -> None:
        lease = timedelta(seconds=60)
        made = [Worker(rig.store, rig.clock, rig.parts.quiet, rig.parts.accounts, lease) for _ in range(2)]
        for worker in made:
            worker.start()
        running = [asyncio.create_task(worker.run()) for worker in made]
        async with asyncio.timeout(20):
            while not settled(rig):  # noqa: ASYNC110  # a test's condition has no event
                await asyncio.sleep(0.02)
        for worker in made:
            worker.stop()
        await asyncio.gather(*running)
        for channel in rig.parts.channels.values():
            await channel.close()

    asyncio.run(both())
    assert states(rig) == {State.ACCEPTED: 200}
    taken = rig.far.accepted()
    assert len(taken) == len({row["message_id"] for row in taken}) == 200


def test_what_an_older_snapshot_shows_is_not_claimed_again(rig: Rig) -> None:  # mautic #15949: replica lag
    for n in range(20):
        world.person(rig.store, f"u{n}")
    planned(rig, **PUSH_ALONE)
    now, machine = LUNCH, rig.clock.machine()
    with rig.store.write() as connection:
        lease = timedelta(seconds=60)
        one, other = (register(connection, host="h", pid=n, machine=machine, lease=lease) for n in (1, 2))
    with rig.store.read() as stale:
        [lane] = due_lanes(stale, now, machine)
        with rig.store.write() as connection:
            first = claim(connection, Holder(one, machine), lane.id, 20, now)
        behind = stale.execute(select(func.count()).where(message.c.state == State.PLANNED)).scalar_one()
        with rig.store.write() as connection:
            second = claim(connection, Holder(other, machine), lane.id, 20, now)
    assert (behind, len(first), second) == (20, 20, [])


def test_one_refused_recipient_neither_ends_nor_repeats_the_batch(rig: Rig) -> None:
    # mautic #7226: repeated for ever; django-push-notifications PR 795, novu #12532: aborted, and the token kept
    for n in range(50):
        world.person(rig.store, f"u{n}", push="dead-" + "x" * 40 if n == 25 else "")
    planned(rig, **PUSH_ALONE)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 49, State.FAILED: 1}
    with rig.store.read() as connection:
        assert connection.execute(select(func.count()).select_from(attempt)).scalar_one() == 50
        ended = connection.execute(select(address.c.end_reason).where(address.c.valid_until.is_not(None))).scalars()
        assert list(ended) == ["dead"]
    assert len(rig.far.accepted()) == 49


def test_planning_one_campaign_does_not_stop_sending_another(rig: Rig) -> None:  # parcelvoy #583
    for n in range(60):
        world.person(rig.store, f"u{n}")
    planned(rig, **PUSH_ALONE)
    item, what = due(rig, world.bundle(name="dinner", **PUSH_ALONE))
    planner = world.planner(rig.clock)
    with rig.store.write() as connection:
        planner.begin(connection, item, what)
        planner.chunk(connection, members_statement(what, rig.store.dialect), item, what, 30)
    rig.clock.instant = LUNCH
    rig.work(lambda: states(rig)[State.ACCEPTED] == 60)
    assert run_state(rig, item) is RunState.PLANNING
    assert states(rig)[State.PLANNED] > 0  # of the half-planned run nothing leaves


def test_everybodys_own_zone_is_read(rig: Rig) -> None:  # notifuse: the recipient's time zone is a flag nobody reads
    for name, zone in (("ada", "Europe/Berlin"), ("wang", "Asia/Shanghai"), ("tom", "America/Vancouver")):
        world.person(rig.store, name, zone)
    planned(rig, **PUSH_ALONE)
    heard = []
    for hour, minute in ((3, 15), (10, 15), (18, 15)):  # 11:15 in Shanghai, Berlin, Vancouver
        rig.clock.instant = world.MONDAY + timedelta(hours=hour, minutes=minute)
        before = len(rig.far.accepted())

        def arrived(known: int = before) -> bool:
            return len(rig.far.accepted()) > known and not states(rig)[State.SENDING]

        rig.work(arrived)
        heard.append([row["title"] for row in rig.far.accepted()[before:]])
    assert heard == [["Hello Wang"], ["Hello Ada"], ["Hello Tom"]]


def test_each_channel_is_judged_by_its_own_consent(rig: Rig) -> None:  # mautic PR 4761: SMS judged by the email rule
    phones = {"ada": "+4915112345678", "bob": "+4915112345679"}
    world.person(rig.store, "ada", phone=phones["ada"], consents=("push",))
    bob = world.person(rig.store, "bob", phone=phones["bob"])
    with rig.store.write() as connection:
        people.suppress(connection, channel="push", reason="stop", source="t", at=rig.clock.now(), user_id=bob)
    planned(rig)
    rig.clock.instant = LUNCH + timedelta(minutes=28)
    rig.work(lambda: settled(rig) and settled(rig, 2))
    taken = rig.far.accepted()
    assert [row["title"] for row in taken if row["provider"] == "fcm"] == ["Hello Ada"]
    assert [row["to"] for row in taken if row["provider"] == "twilio"] == [phones["bob"]]


def test_who_was_sent_this_can_be_answered(rig: Rig) -> None:  # listmonk #2680
    for name in ("ada", "bob", "cid"):
        world.person(rig.store, name, consents=() if name == "ada" else ("push",))
    planned(rig, **PUSH_ALONE)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    with rig.store.read() as connection:
        table = outcomes(connection, launched(connection, "lunch"))
        rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    assert {row["user"]: bool(row["step1_sent_at"]) for row in rows} == {"ada": False, "bob": True, "cid": True}


def test_two_people_with_one_address_get_one_copy(rig: Rig) -> None:  # posthog PR 69305
    for name in ("ada", "bob", "cid"):
        world.person(rig.store, name, push="one-token-for-all" + "x" * 30, phone="+4915112345678")
    planned(rig)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    rig.clock.instant = LUNCH + timedelta(minutes=28)
    rig.work(lambda: settled(rig, 2))
    assert Counter(row["provider"] for row in rig.far.accepted()) == {"fcm": 1, "twilio": 1}
