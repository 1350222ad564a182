"""Triggered campaigns: launches, pauses, merges, restores and others at work meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import OperationalError

from orchestrator.audience.merging import merge_users
from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.restored import Behind, bar
from orchestrator.ledger.states import CampaignState
from orchestrator.plan import enrolling, heard
from orchestrator.plan.heard import REREAD
from orchestrator.plan.triggers import Listener, listen, listeners
from orchestrator.store import Store
from orchestrator.store.tables import member, message, users
from tests import world
from tests.plan.carts import CART, NOON, WAIT, campaign, happened, joined, launched, waiting

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def test_events_from_before_the_launch_do_not_count_and_an_edit_is_not_deaf(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON - DAY - MINUTE, received=NOON)
    happened(store, "u1", CART, NOON + MINUTE)
    clock.advance(2 * MINUTE)
    world.launch(store, campaign(priority=60), clock.now())  # before anything was heard
    shop.tick()
    assert waiting(store) == {"u1"}


def test_a_paused_campaign_listens_and_lets_nobody_join(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)

    def turn(state: CampaignState) -> None:
        with store.write() as connection:
            runs.set_campaign_state(connection, "lunch", state, clock.now(), "operator t")

    turn(CampaignState.PAUSED)
    happened(store, "u0", CART, NOON)
    happened(store, "u1", CART, NOON + 2 * HOUR)
    clock.instant = NOON + 2 * HOUR + WAIT
    assert shop.tick() == []
    turn(CampaignState.RUNNING)
    shop.tick()
    assert set(joined(store)) == {"u1"}  # two hours after u0's wait was over it is not worth sending any more
    turn(CampaignState.STOPPED)
    happened(store, "u2", CART, clock.now())
    shop.tick()
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM waiting")).scalar_one() == 0
    clock.advance(HOUR)
    world.launch(store, campaign(), clock.now())
    shop.tick()
    assert set(joined(store)) == {"u1"}


def test_the_wait_of_who_is_merged_goes_on_under_the_name_that_stays(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    happened(store, "u1", CART, NOON + 10 * MINUTE)
    clock.advance(15 * MINUTE)
    shop.tick()
    merge_users(store, "u0", "u1", clock, "operator t")
    assert waiting(store) == {"u0"}
    clock.instant = NOON + WAIT
    shop.tick()
    assert joined(store) == {}
    clock.advance(10 * MINUTE)
    shop.tick()
    assert set(joined(store)) == {"u0"}


def test_who_was_a_member_under_another_name_does_not_join_again(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u1", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    merge_users(store, "u0", "u1", clock, "operator t")
    happened(store, "u0", CART, NOON + DAY)
    clock.instant = NOON + DAY + WAIT
    shop.tick()
    assert set(joined(store)) == {"u1"}


def test_an_event_that_is_gone_makes_nobody_a_member(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    clock.advance(MINUTE)
    shop.tick()
    with store.write() as connection:
        connection.execute(text("DELETE FROM event"))
    clock.advance(WAIT)
    shop.tick()
    assert joined(store) == {}


def test_held_out_members_join_like_the_others_at_the_same_anchor(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock, campaign(holdout="50%"), people=60)
    for n in range(60):
        happened(store, f"u{n}", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    with store.read() as connection:
        rows = connection.execute(select(member.c.held_out, member.c.anchor)).all()
        held = connection.execute(select(func.count()).select_from(message).where(message.c.held_out)).scalar_one()
    assert {row.anchor for row in rows} == {clock.now()}
    assert 10 < held == sum(row.held_out for row in rows) < 50


def test_what_has_been_dealt_with_is_forgotten_in_the_end(store: Store, clock: ManualClock) -> None:
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    shop.tick()
    for n in range(REREAD + 1):
        happened(store, "u1", "app_open", NOON + timedelta(seconds=n))
    happened(store, "u2", CART, clock.now())
    clock.advance(HOUR)
    shop.tick()  # reads
    happened(store, "u2", CART, clock.now())
    clock.advance(WAIT)
    shop.tick()
    with store.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM waiting")).scalar_one() == 1


def test_after_a_restore_nobody_joins_who_may_have_been_sent_to(store: Store, clock: ManualClock) -> None:
    """The backup knew that they waited; what it does not know is that they joined, and got it."""
    shop = launched(store, clock)
    for n in range(3):
        happened(store, f"u{n}", CART, NOON + 5 * n * MINUTE)
    clock.advance(WAIT)
    [found] = shop.tick()
    of, until = found.run.occasion.key, NOON + WAIT + 6 * MINUTE
    behind = Behind("lunch", of, found.run.id, found.run.state, sent_until=until, known_until=None)
    clock.advance(20 * MINUTE)
    with store.write() as connection:
        bar(connection, behind, clock.now())
    shop.tick()  # nothing keeps it from ticking before an operator has accepted
    assert set(joined(store)) == {"u0", "u2"}
    assert waiting(store) == set()


def test_a_launch_as_it_ticks_leaves_no_run_under_the_version_before(store: Store, clock: ManualClock) -> None:
    """What was read at the beginning of a tick is old by its next chunk: a run made then would keep that version."""
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    with store.read() as connection:
        [before] = listeners(connection, clock.now())
    listen(store, clock, [before])
    digest = world.launch(store, campaign(trigger={"again_after": "8d"}), clock.now())
    assert list(shop._enrol(before)) == []
    [found] = shop.tick()
    assert found.run.version == digest


@pytest.mark.on("postgresql")
def test_a_launch_waits_for_a_chunk_to_end(store: Store, clock: ManualClock) -> None:
    """Or it would not see the run that is just being made."""
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    clock.advance(WAIT)
    with store.read() as connection:
        [before] = listeners(connection, clock.now())
    listen(store, clock, [before])
    with store.write() as connection:
        shop._chunk(connection, before, 10)
        with store.write() as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError):
                runs.launch(other, "lunch", "another", clock.now(), "operator t")


def test_who_was_frozen_as_it_listened_takes_nobodys_wait_away(store: Store, clock: ManualClock) -> None:
    """It knows of no campaign that was launched since; another leader has taken note of its events."""
    shop = launched(store, clock)
    happened(store, "u0", CART, NOON)
    shop.tick()
    listen(store, clock, [])
    assert waiting(store) == {"u0"}


def test_who_joins_wakes_nobody_who_joined_before(store: Store, clock: ManualClock) -> None:
    """A run's members may be a million: a chunk that joins looks at its own alone."""
    waits = {"channel": "push", "template": "lunch", "when": {"wait_for": "app_open", "within": "3h"}}
    shop = launched(store, clock, campaign(steps=[{"channel": "push", "template": "lunch"}, waits], drop_if_back=False))
    with store.write() as connection:  # the bounds of a span of everybody meant nothing in every other run
        runs.create_run(connection, "other", "", NOON.date(), now=NOON, closes_at=NOON)
    happened(store, "u0", CART, NOON)
    happened(store, "u1", CART, NOON + 10 * MINUTE)
    clock.advance(WAIT)
    shop.tick()
    first = _second_due(store)
    happened(store, "u0", "app_open", NOON + WAIT + MINUTE)
    clock.advance(10 * MINUTE)
    [found] = shop.tick()
    assert found.run.id % 2 == 0
    assert _second_due(store) == first | {"u1": NOON + WAIT + 10 * MINUTE + 3 * HOUR}


def test_who_joins_after_it_has_happened_does_not_wait(store: Store, clock: ManualClock) -> None:
    """A phone's clock may be ahead: the event was read before its user became a member."""
    waits = {"channel": "push", "template": "lunch", "when": {"wait_for": "app_open", "within": "3h"}}
    shop = launched(store, clock, campaign(steps=[{"channel": "push", "template": "lunch"}, waits], drop_if_back=False))
    happened(store, "u0", CART, NOON)
    happened(store, "u0", "app_open", NOON + WAIT + MINUTE, received=NOON + WAIT - 2 * MINUTE)
    clock.advance(WAIT)
    [found] = shop.tick()
    assert found.run.id % 2 == 1
    assert _second_due(store) == {"u0": NOON + WAIT + MINUTE}


def _second_due(store: Store) -> dict[str, datetime]:
    asked = select(users.c.external_id, message.c.due_at).join(users, users.c.id == message.c.user_id)
    with store.read() as connection:
        return {row[0]: row[1] for row in connection.execute(asked.where(message.c.step == 2))}


def test_a_launch_as_it_ticks_loses_no_events(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that lasts, or was frozen, listens for what it knew of: the cursor stays before what came in since."""
    shop = launched(store, clock)
    monkeypatch.setattr(heard, "REREAD", 0)
    asked = enrolling.listeners  # type: ignore[attr-defined]

    def frozen(connection: Connection, now: datetime) -> list[Listener]:
        found = asked(connection, now)
        if clock.now() == NOON:
            world.launch(store, campaign({"event": "searched"}, name="searches"), clock.now())
            happened(store, "u0", "searched", NOON + MINUTE)
            clock.advance(5 * MINUTE)
        return found

    monkeypatch.setattr(enrolling, "listeners", frozen)
    shop.tick()
    shop.tick()
    assert waiting(store) == {"u0"}
