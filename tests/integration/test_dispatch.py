"""From a planned message to an accepted one, through the real channels, over real HTTP, to the sandbox."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text, update

from orchestrator.audience import people
from orchestrator.ledger import runs
from orchestrator.ledger.history import Wanted, acts
from orchestrator.ledger.runs import Run
from orchestrator.ledger.states import CampaignState, State
from orchestrator.store.tables import address, attempt, message, stop, suppression, transition
from tests import world
from tests.integration.conftest import Rig

LUNCH = datetime(
    2026, 12, 7, 10, 15, tzinfo=UTC
)  # 11:15 in Berlin: every first step is due, no second step before 11:20


def planned(rig: Rig, **changes: Any) -> Run:
    what = world.bundle(**changes)
    world.launch(rig.store, what, rig.clock.now())
    from orchestrator.plan.due import due_runs

    with rig.store.write() as connection:
        [(item, found)] = due_runs(connection, rig.clock.now())
    return world.planner(rig.clock).plan(rig.store, item, found)


def states(rig: Rig, step: int = 1) -> Counter[str]:
    with rig.store.read() as connection:
        return Counter(connection.execute(select(message.c.state).where(message.c.step == step)).scalars())


def reasons(rig: Rig, step: int = 1) -> Counter[str | None]:
    with rig.store.read() as connection:
        return Counter(connection.execute(select(message.c.reason).where(message.c.step == step)).scalars())


def settled(rig: Rig, step: int = 1) -> bool:
    return not set(states(rig, step)) & {State.PLANNED, State.CLAIMED, State.SENDING}


ONE_STEP: dict[str, Any] = {"steps": world.DEFINITION["steps"][:1]}


def test_every_due_push_is_accepted_once(rig: Rig) -> None:
    for n in range(300):
        world.person(rig.store, f"u{n}", locale="zh" if n % 2 else "en")
    planned(rig, **ONE_STEP)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 300}
    accepted = rig.far.accepted()
    assert len({row["message_id"] for row in accepted}) == len(accepted) == 300
    assert {row["title"] for row in accepted} >= {"Hello U0", "U1，你好"}
    with rig.store.read() as connection:
        attempts = connection.execute(select(attempt)).all()
    assert len(attempts) == 300
    assert all(row.provider_id and row.outcome == "accepted" and row.n == 1 for row in attempts)


def test_nothing_leaves_before_its_due_time_or_after_the_window(rig: Rig) -> None:
    world.person(rig.store, "ada")
    planned(rig, **ONE_STEP)
    rig.clock.instant = LUNCH - timedelta(hours=2)
    with pytest.raises(TimeoutError):
        rig.work(lambda: settled(rig), seconds=1)
    assert states(rig) == {State.PLANNED: 1}
    rig.clock.instant = LUNCH + timedelta(hours=2)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.EXPIRED: 1}
    assert rig.far.accepted() == []


def test_the_window_is_checked_when_sent_not_only_when_planned(rig: Rig) -> None:  # ThirdSet #7
    user = world.person(rig.store, "ada")
    planned(rig, **ONE_STEP)
    with rig.store.write() as connection:  # somebody moved the due time to the morning, and the deadline to the night
        late = world.MONDAY + timedelta(hours=23)
        connection.execute(update(message).values(due_at=world.MONDAY, deadline=late))
    rig.clock.instant = world.MONDAY + timedelta(hours=7)
    with pytest.raises(TimeoutError):
        rig.work(lambda: settled(rig), seconds=1)
    assert reasons(rig) == {"window": 1}
    rig.clock.instant = world.MONDAY + timedelta(hours=13)
    rig.work(lambda: settled(rig))
    assert (states(rig), reasons(rig)) == ({State.SKIPPED: 1}, {"late": 1})
    assert user
    assert rig.far.accepted() == []


def test_who_unsubscribed_while_queued_is_not_sent(rig: Rig) -> None:  # mautic #9798
    ada, bob = world.person(rig.store, "ada"), world.person(rig.store, "bob")
    planned(rig, **ONE_STEP)
    with rig.store.write() as connection:
        people.set_consent(connection, ada, "push", "promotions", granted=False, source="t", at=rig.clock.now())
        people.suppress(connection, channel="push", reason="stop", source="t", at=rig.clock.now(), user_id=bob)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    assert reasons(rig) == {"no_consent": 1, "suppressed": 1}
    assert rig.far.accepted() == []


def test_who_came_back_gets_no_we_miss_you_and_no_fallback(rig: Rig) -> None:
    world.person(rig.store, "ada")
    world.person(rig.store, "bob", phone="+4915112345678")
    planned(rig)
    world.did(rig.store, "ada", "app_open", world.OPENING + timedelta(hours=1))
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.SKIPPED: 1, State.ACCEPTED: 1}
    assert reasons(rig) == {"came_back": 1, None: 1}
    world.did(rig.store, "bob", "app_open", LUNCH)
    rig.clock.instant = LUNCH + timedelta(minutes=29)
    rig.work(lambda: settled(rig, 2))
    assert reasons(rig, 2)["came_back"] == 1
    assert len(rig.far.accepted()) == 1


def test_the_fallback_goes_to_who_did_not_come_back(rig: Rig) -> None:
    world.person(rig.store, "ada", phone="+4915112345678")
    planned(rig)
    rig.clock.instant = LUNCH - timedelta(minutes=10)
    rig.work(lambda: settled(rig))
    rig.clock.instant = LUNCH + timedelta(minutes=29)
    rig.work(lambda: settled(rig, 2))
    assert states(rig, 2) == {State.ACCEPTED: 1}
    assert [row["provider"] for row in rig.far.accepted()] == ["fcm", "twilio"]


def test_holdouts_pass_every_gate_and_exit_where_the_others_are_marked(rig: Rig) -> None:
    for n in range(40):
        world.person(rig.store, f"u{n}")
    planned(rig, holdout="50%", **ONE_STEP)
    world.did(rig.store, "u3", "app_open", world.OPENING + timedelta(hours=1))
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    found = states(rig)
    assert found[State.HELD_OUT] > 0
    assert found[State.SKIPPED] == 1
    assert found[State.HELD_OUT] + found[State.ACCEPTED] == 39
    assert len(rig.far.accepted()) == found[State.ACCEPTED]


def test_a_dead_token_ends_and_the_users_next_one_is_tried(rig: Rig) -> None:  # django-push-notifications PR 795
    world.person(rig.store, "ada", push="dead-" + "x" * 40)
    with rig.store.write() as connection:
        older = world.OPENING - timedelta(days=90)
        people.upsert_addresses(connection, [people.AddressRow("ada", "push", "t" * 50, older)], older)
    world.person(rig.store, "bob", push="dead-" + "y" * 40)
    world.person(rig.store, "cid")
    planned(rig, **ONE_STEP)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 2, State.FAILED: 1}
    with rig.store.read() as connection:
        ended = connection.execute(select(address.c.end_reason).where(address.c.valid_until.is_not(None))).scalars()
        assert list(ended) == ["dead", "dead"]


def test_a_storm_of_dead_tokens_deletes_nothing(rig: Rig) -> None:
    for n in range(60):
        world.person(rig.store, f"u{n}")
    planned(rig, **ONE_STEP)
    rig.far.fault(provider="fcm", kind="dead_address", times=None)
    rig.clock.instant = LUNCH
    rig.work(lambda: settled(rig))
    with rig.store.read() as connection:
        rows = connection.execute(select(address.c.valid_until, address.c.quarantined_until)).all()
    assert all(row.valid_until is None for row in rows)
    assert sum(row.quarantined_until is not None for row in rows) >= 59


def test_a_push_whose_answer_was_lost_goes_again_under_the_same_collapse_key(rig: Rig) -> None:
    world.person(rig.store, "ada")
    planned(rig, **ONE_STEP)
    rig.far.fault(provider="fcm", kind="reset_after", times=1)
    rig.clock.instant = LUNCH
    rig.work(lambda: _advance_until(rig, settled(rig)))
    assert states(rig) == {State.ACCEPTED: 1}
    first, second = rig.far.accepted()
    assert first["collapse_key"] == second["collapse_key"] != ""
    with rig.store.read() as connection:
        assert list(connection.execute(select(attempt.c.outcome).order_by(attempt.c.n)).scalars()) == [
            "ambiguous",
            "accepted",
        ]


def _advance_until(rig: Rig, done: bool) -> bool:
    rig.clock.instant = min(rig.clock.instant + timedelta(seconds=20), LUNCH + timedelta(minutes=29))
    return done


def sms_only(rig: Rig, people_count: int = 1) -> None:
    for n in range(people_count):
        world.person(rig.store, f"u{n}", push=None, phone=f"+49151123450{n:02d}")
    planned(rig, steps=[{"channel": "sms", "template": "lunch"}])
    rig.clock.instant = LUNCH


def test_an_sms_whose_answer_was_lost_is_unknown_and_never_resent(rig: Rig) -> None:
    sms_only(rig)
    rig.far.fault(provider="twilio", kind="reset_after", times=1)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.UNKNOWN: 1}
    rig.clock.advance(timedelta(minutes=20))
    with pytest.raises(TimeoutError):
        rig.work(lambda: len(rig.far.accepted()) > 1, seconds=1)


def where_it_is_lunch(now: datetime) -> tuple[str, date]:
    """A zone whose clocks show a time between 10:45 and 11:45 now, and its date."""
    hour = 11 if now.minute < 40 else 10
    ahead = (hour - now.hour + 12) % 24 - 12
    zone = f"Etc/GMT{-ahead:+d}" if ahead else "UTC"  # the sign is POSIX's
    return zone, (now + timedelta(hours=ahead)).date()


NAME = world.DEFINITION["name"]


def told_by(rig: Rig, actor: str) -> list[tuple[str | None, str, str | None]]:
    """What `history` lists of somebody, latest first."""
    with rig.store.read() as connection:
        return [(one.campaign, one.new, one.reason) for one in acts(connection, Wanted(actor=actor), 50)]


def test_reconciling_asks_the_provider_and_sends_nothing(rig: Rig) -> None:
    import asyncio

    from orchestrator.dispatch.doubt import Reconciled, reconcile, unknown_messages

    sms_only(rig, 2)
    rig.far.fault(provider="twilio", kind="reset_after", times=1)
    rig.far.fault(provider="twilio", kind="reset_before", times=1)
    rig.clock.instant = datetime.now(UTC)  # the provider's list knows its own time alone
    zone, day = where_it_is_lunch(rig.clock.instant)
    with rig.store.write() as connection:
        connection.execute(text("UPDATE run SET local_date = :day"), {"day": day.isoformat()})
        connection.execute(text("UPDATE member SET zone_key = :zone"), {"zone": zone})
        connection.execute(
            update(message).values(due_at=rig.clock.instant, deadline=rig.clock.instant + timedelta(minutes=20))
        )
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.UNKNOWN: 2}
    with rig.store.read() as connection:
        assert len(unknown_messages(connection)) == 2

    async def ask() -> Reconciled:
        rig.connect()
        try:
            return await reconcile(rig.store, rig.clock, rig.parts.channels, "operator anna")
        finally:
            for channel in rig.parts.channels.values():
                await channel.close()

    assert asyncio.run(ask()) == Reconciled(accepted=1, never_arrived=1)
    lines = [(NAME, "reconciled", f"1 became {state}") for state in ("accepted", "failed")]
    assert sorted(told_by(rig, "anna")) == lines
    assert asyncio.run(ask()) == Reconciled()
    assert sorted(told_by(rig, "anna")) == lines
    assert states(rig) == {State.ACCEPTED: 1, State.FAILED: 1}
    assert len(rig.far.accepted()) == 1


def test_a_refused_credential_stops_the_account_and_keeps_the_messages(rig: Rig) -> None:
    for n in range(5):
        world.person(rig.store, f"u{n}")
    planned(rig, **ONE_STEP)
    rig.far.fault(provider="fcm", kind="status", status=403, code="PERMISSION_DENIED", times=None)
    rig.clock.instant = LUNCH

    def stopped() -> bool:
        with rig.store.read() as connection:
            return connection.execute(select(stop)).first() is not None

    rig.work(stopped)
    assert told_by(rig, "fcm") == [(None, "stopped", "account fcm: PERMISSION_DENIED")]
    assert set(states(rig)) == {State.PLANNED}
    rig.far.calm()
    with rig.store.write() as connection:
        connection.execute(stop.delete())
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 5}


def test_a_person_whom_the_provider_says_refuses_is_suppressed(rig: Rig) -> None:
    sms_only(rig)
    rig.far.fault(provider="twilio", kind="status", status=400, code=21610, times=1)
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.FAILED: 1}
    with rig.store.read() as connection:
        assert len(connection.execute(select(suppression)).all()) == 2


def test_retry_after_is_never_violated(rig: Rig) -> None:
    world.person(rig.store, "ada")
    planned(rig, **ONE_STEP)
    rig.far.fault(provider="fcm", kind="status", status=429, code="QUOTA_EXCEEDED", retry_after="90", times=1)
    rig.clock.instant = LUNCH
    with pytest.raises(TimeoutError):
        rig.work(lambda: settled(rig), seconds=1)
    with rig.store.read() as connection:
        due = connection.execute(select(message.c.due_at)).scalar_one()
    assert due >= LUNCH + timedelta(seconds=90)


def test_pause_holds_and_resume_sends_everybody_once(rig: Rig) -> None:  # listmonk #2070, #2313, #3022
    for n in range(200):
        world.person(rig.store, f"u{n}")
    planned(rig, **ONE_STEP)
    rig.clock.instant = LUNCH
    rig.work(lambda: states(rig)[State.ACCEPTED] >= 20)
    with rig.store.write() as connection:
        runs.set_campaign_state(connection, "lunch", CampaignState.PAUSED, rig.clock.now(), "operator test")
    before = states(rig)[State.ACCEPTED]
    with pytest.raises(TimeoutError):
        rig.work(lambda: states(rig)[State.ACCEPTED] > before, seconds=1)
    with rig.store.write() as connection:
        runs.set_campaign_state(connection, "lunch", CampaignState.RUNNING, rig.clock.now(), "operator test")
    rig.work(lambda: settled(rig))
    assert states(rig) == {State.ACCEPTED: 200}
    assert len(rig.far.accepted()) == len({row["message_id"] for row in rig.far.accepted()}) == 200


def test_a_silent_provider_does_not_stop_another(rig: Rig) -> None:  # sygnal #104, listmonk #2816
    for n in range(100):
        world.person(rig.store, f"p{n}")
        world.person(rig.store, f"s{n}", push=None, phone=f"+4915112346{n:03d}")
    rig.far.fault(provider="twilio", kind="silence", times=None)
    planned(rig)
    rig.clock.instant = LUNCH + timedelta(minutes=29)
    rig.work(lambda: states(rig)[State.ACCEPTED] == 100, seconds=8)
    assert states(rig, 2)[State.UNKNOWN] > 0  # each ended by its own timeout while draining


def test_an_operator_ends_the_doubt_that_no_provider_can(rig: Rig) -> None:
    from orchestrator.dispatch.doubt import resolve, unknown_messages

    sms_only(rig, 4)
    rig.far.fault(provider="twilio", kind="reset_after")
    rig.work(lambda: settled(rig))
    sent = len(rig.far.accepted())
    with rig.store.write() as connection:
        first, second, third, last = unknown_messages(connection)
        now = rig.clock.now()
        assert resolve(connection, [first], State.ACCEPTED, now, "op") == 1
        chosen = [first, second, third]  # the first is decided already
        assert resolve(connection, chosen, State.FAILED, now, "op") == 2
        assert resolve(connection, chosen, State.FAILED, now, "op") == 0
    assert states(rig) == {State.ACCEPTED: 1, State.FAILED: 2, State.UNKNOWN: 1}
    with rig.store.read() as connection:
        assert [one.message_id for one in unknown_messages(connection)] == [last.message_id]
        told = connection.execute(
            select(transition.c.new, transition.c.reason, transition.c.actor).where(transition.c.old == "unknown")
        ).all()
    assert sorted(map(tuple, told)) == [("accepted", "resolved", "op"), *[("failed", "resolved", "op")] * 2]
    lines = [(NAME, "resolved", "2 became failed"), (NAME, "resolved", "1 became accepted")]
    assert told_by(rig, "op") == lines
    assert len(rig.far.accepted()) == sent
