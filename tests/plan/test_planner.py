"""Planning: everybody has a row with a reason, messages only for whom they are owed, and a kill loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.errors import ConfigError
from orchestrator.ledger.ids import message_id, parts
from orchestrator.ledger.runs import read_run, runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import members_statement
from orchestrator.store import Store
from orchestrator.store.tables import member, message, run
from tests import world

BERLIN_LUNCH = datetime(2026, 12, 7, 9, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def decisions(store: Store) -> dict[int, tuple[str, str | None]]:
    with store.read() as connection:
        return {row.user_id: (row.decision, row.reason) for row in connection.execute(select(member))}


def steps(store: Store, user: int) -> list[int]:
    with store.read() as connection:
        rows = connection.execute(select(message.c.step).where(message.c.user_id == user).order_by(message.c.step))
        return list(rows.scalars())


def test_everybody_gets_a_row_and_a_reason(store: Store, clock: ManualClock) -> None:
    reached = world.person(store, "ada", phone="+4915112345678")
    mute = world.person(store, "bob", push=None)
    refused = world.person(store, "cid", consents=())
    lost = world.person(store, "dot", zone=None)
    stopped = world.person(store, "eve")
    with store.write() as connection:
        people.suppress(connection, channel="push", reason="stop", source="t", at=clock.now(), user_id=stopped)
        people.suppress(connection, channel="sms", reason="stop", source="t", at=clock.now(), user_id=stopped)
    item = world.plan(store, world.bundle(), clock)
    assert decisions(store) == {
        reached: ("planned", None),
        mute: ("skipped", "no_address"),
        refused: ("skipped", "no_consent"),
        lost: ("skipped", "zone_unknown"),
        stopped: ("skipped", "suppressed"),
    }
    assert (item.state, item.audience) == (RunState.ACTIVE, 5)
    assert steps(store, reached) == [1, 2]


def test_due_times_lie_in_the_first_half_of_everybodys_own_window(store: Store, clock: ManualClock) -> None:
    zones = ["Pacific/Kiritimati", "Asia/Shanghai", "Europe/Berlin", "America/Vancouver", "Pacific/Pago_Pago"]
    users = {world.person(store, f"u{n}", zone): zone for n, zone in enumerate(zones)}
    world.plan(store, world.bundle(), clock)
    with store.read() as connection:
        rows = connection.execute(select(message).where(message.c.step == 1)).all()
    assert len(rows) == len(zones)
    for row in rows:
        from zoneinfo import ZoneInfo

        local = row.due_at.astimezone(ZoneInfo(users[row.user_id]))
        assert local.date().isoformat() == "2026-12-07", zones
        assert "10:30" <= local.strftime("%H:%M") < "11:08"
        assert row.deadline.astimezone(ZoneInfo(users[row.user_id])).strftime("%H:%M") == "11:45"


def test_a_fallback_stands_alone_when_the_first_step_has_no_address(store: Store, clock: ManualClock) -> None:
    user = world.person(store, "ada", push=None, phone="+4915112345678")
    world.plan(store, world.bundle(), clock)
    assert decisions(store)[user] == ("planned", "no_address")
    assert steps(store, user) == [2]


def test_a_later_step_waits_its_time_and_is_not_owed_after_the_window(store: Store, clock: ManualClock) -> None:
    user = world.person(store, "ada", phone="+4915112345678")
    late = {**world.DEFINITION["steps"][1], "when": {"not": "reopened", "after": "74m"}}
    tight = world.bundle(steps=[world.DEFINITION["steps"][0], late], window={"local": "10:30-11:45", "spread": "90%"})
    world.plan(store, tight, clock)
    with store.read() as connection:
        first = connection.execute(select(message.c.due_at).where(message.c.step == 1)).scalar_one()
    assert first > BERLIN_LUNCH + timedelta(minutes=1)  # else the test shows nothing
    assert steps(store, user) == [1]


def test_holdouts_are_planned_like_the_treated(store: Store, clock: ManualClock) -> None:
    for n in range(60):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(holdout="50%"), clock)
    with store.read() as connection:
        rows = connection.execute(select(message.c.held_out, func.count()).group_by(message.c.held_out)).all()
    held: dict[bool, int] = {row[0]: row[1] for row in rows}
    assert set(held) == {True, False}
    assert sum(held.values()) == 60
    assert all(decision == ("planned", None) for decision in decisions(store).values())


def test_excluded_people_are_in_the_audience_and_say_so(store: Store, clock: ManualClock) -> None:
    user = world.person(store, "ada")
    world.did(store, "ada", "order_paid", clock.now() - timedelta(days=2))
    world.plan(store, world.bundle(audience={"segment": "everybody", "exclude": ["regulars"]}), clock)
    assert decisions(store)[user] == ("skipped", "excluded")


def test_an_audience_larger_than_allowed_is_not_planned(store: Store, clock: ManualClock) -> None:
    for n in range(3):
        world.person(store, f"u{n}")
    item = world.plan(store, world.bundle(max_audience=2), clock)
    assert item.state is RunState.STOPPED
    with store.read() as connection:
        assert connection.execute(select(run.c.reason)).scalar() == "max_audience"
    assert decisions(store) == {}


def test_a_run_exists_once_however_often_it_ticks(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    world.plan(store, world.bundle(), clock)
    clock.advance(timedelta(hours=5))
    with store.write() as connection:
        assert due_runs(connection, clock.now()) == []
        assert connection.execute(select(func.count()).select_from(run)).scalar() == 1


def test_a_daemon_that_slept_never_sends_late(store: Store, clock: ManualClock) -> None:  # listmonk #1801
    berlin, vancouver = world.person(store, "ada"), world.person(store, "bob", "America/Vancouver")
    clock.advance(datetime(2026, 12, 7, 15, 0, tzinfo=UTC) - clock.now())  # Berlin's lunch is over
    world.plan(store, world.bundle(), clock)
    assert decisions(store) == {berlin: ("skipped", "late"), vancouver: ("planned", None)}
    clock.advance(timedelta(days=3))
    world.launch(store, world.bundle(name="other"), clock.now())
    with store.write() as connection:
        assert due_runs(connection, clock.now()) == []


def test_late_next_takes_the_following_dates_window(store: Store, clock: ManualClock) -> None:
    user = world.person(store, "ada")
    clock.advance(datetime(2026, 12, 7, 15, 0, tzinfo=UTC) - clock.now())
    daily = {"days": "every", "from": "2026-12-07", "until": "2026-12-08"}
    window = {"local": "10:30-11:45", "late": "next", "expires_after": "36h"}
    world.launch(store, world.bundle(schedule=daily, window=window), clock.now())
    with store.write() as connection:
        due = due_runs(connection, clock.now())
    for item, found in due:
        world.planner(clock).plan(store, item, found)
    with store.read() as connection:
        rows = connection.execute(select(message).where(message.c.run_id == due[0][0].id, message.c.step == 1)).all()
    assert [(row.user_id, row.due_at.date().isoformat()) for row in rows] == [(user, "2026-12-08")]


def test_a_killed_plan_resumes_where_it_was(store: Store, clock: ManualClock) -> None:
    for n in range(40):
        world.person(store, f"u{n}")
    what = world.bundle()
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    made = world.planner(clock)
    with store.write() as connection:
        made.begin(connection, item, found)
        made.chunk(connection, members_statement(found, store.dialect), item, found, 17)  # and then it dies
    with store.read() as connection:
        assert runs_in(connection, RunState.PLANNING)[0].planned_through == 17
        left = read_run(connection, item.id)
    done = made.plan(store, left, found)
    assert (done.audience, done.state, len(decisions(store))) == (40, RunState.ACTIVE, 40)
    with store.read() as connection:
        assert read_run(connection, item.id).audience == 40


def test_a_campaign_without_an_account_says_what_to_add(clock: ManualClock) -> None:
    with pytest.raises(ConfigError, match="no account for channel 'email'"):
        world.planner(clock).account_of("email", None)
    with pytest.raises(ConfigError, match="did you mean 'fcm'"):
        world.planner(clock).account_of("push", "fmc")


def test_a_message_id_is_its_run_user_and_step() -> None:
    made = message_id(8_000_000, (1 << 36) - 1, 15)
    assert made < 1 << 63
    assert parts(made) == (8_000_000, (1 << 36) - 1, 15)


def test_a_launch_makes_no_run_for_a_date_that_is_over_everywhere(store: Store, clock: ManualClock) -> None:
    daily = {"days": "every", "from": "2026-12-01", "until": "2026-12-31"}
    clock.advance(datetime(2026, 12, 8, 0, 0, tzinfo=UTC) - clock.now())  # 7 December: 12:00 has passed at UTC-12
    world.launch(store, world.bundle(schedule=daily), clock.now())
    with store.write() as connection:
        assert [item.local_date.isoformat() for item, _ in due_runs(connection, clock.now())] == ["2026-12-08"]


def test_somebody_from_a_new_place_who_arrives_while_planning_is_planned_too(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    what = world.bundle()
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    made = world.planner(clock)
    with store.write() as connection:
        made.begin(connection, item, found)
    late = world.person(store, "bob", "America/Vancouver")
    made.plan(store, item, found)
    assert decisions(store)[late] == ("planned", None)
    with store.read() as connection:
        assert connection.execute(select(member.c.anchor).where(member.c.user_id == late)).scalar_one() is not None
