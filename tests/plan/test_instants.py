"""Runs at instants, from the schedule to the mark: who gets it when, once, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from orchestrator.campaign.occasions import label, named, planned
from orchestrator.campaign.spec import Campaign
from orchestrator.clock import ManualClock
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger.runs import Occasion, Run, confirm_runs, create_run, read_run, set_campaign_state
from orchestrator.ledger.states import CampaignState
from orchestrator.plan.brakes import usual_size
from orchestrator.plan.dry import dry_run
from orchestrator.plan.due import closes_at, due_runs, next_opening
from orchestrator.plan.firings import first_leaving, next_firings
from orchestrator.plan.rules import rule_for
from orchestrator.report.explain import explain
from orchestrator.report.launched import launched
from orchestrator.report.tally import reach
from orchestrator.store import Store
from orchestrator.store.tables import member, message, run, users
from tests import world
from tests.dispatch.doors import door, ends, through

T = datetime(2026, 12, 7, 10, tzinfo=UTC)
"""18:00 on Monday in Shanghai, 11:00 in Berlin, 05:00 in New York."""
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MORNINGS = {"cron": "0 9 * * *", "zone": "Asia/Shanghai"}
TWICE = {"cron": "0 9,18 * * *", "zone": "Asia/Shanghai"}
LUNCH = {"local": "10:30-11:45"}
PUSH = world.DEFINITION["steps"][:1]


def of(schedule: dict[str, Any], window: dict[str, Any] | None = None, **more: Any) -> Any:
    """The small campaign, pushes alone, at instants."""
    made = world.bundle({"schedule": schedule, "window": window or {}, "steps": PUSH, **more})
    assert made.campaign.schedule.of_instants
    return made


def at(instant: datetime = T, window: dict[str, Any] | None = None, **more: Any) -> Any:
    return of({"at": instant.isoformat()}, window, **more)


def due(store: Store, now: datetime) -> list[Run]:
    with store.write() as connection:
        return [item for item, _ in due_runs(connection, now)]


def fired(store: Store, now: datetime) -> list[datetime | None]:
    return [item.fires_at for item in due(store, now)]


def plan(store: Store, clock: ManualClock) -> list[Run]:
    with store.write() as connection:
        found = due_runs(connection, clock.now())
    return [world.planner(clock).plan(store, item, what) for item, what in found]


def messages(store: Store) -> dict[str, tuple[datetime, datetime]]:
    """Due and deadline of each first message, by who gets it."""
    with store.read() as connection:
        rows = connection.execute(select(message).where(message.c.step == 1)).all()
        names = dict(connection.execute(select(users.c.id, users.c.external_id)).all())
    return {names[row.user_id]: (row.due_at, row.deadline) for row in rows}


def decided(store: Store) -> dict[str, str]:
    with store.read() as connection:
        query = select(users.c.external_id, member.c.decision, member.c.reason).join(
            member, member.c.user_id == users.c.id
        )
        return {name: reason or decision for name, decision, reason in connection.execute(query)}


# --- when a run comes into being -------------------------------------------------------------------------------------


def test_an_instant_has_one_run_from_then_on(store: Store) -> None:
    world.launch(store, at(), T - 3 * DAY)
    assert fired(store, T - timedelta(seconds=1)) == []
    [made] = due(store, T)
    assert (made.occasion, made.as_of, made.closes_at) == (Occasion(T.date(), T), T, T + HOUR)
    assert due(store, T + HOUR / 2) == []


def test_what_was_before_the_launch_never_fires(store: Store) -> None:
    world.launch(store, at(window={"expires_after": "9h"}), T + timedelta(microseconds=1))
    assert due(store, T + HOUR) == []
    world.launch(store, at(window={"expires_after": "9h"}, name="other"), T)
    assert fired(store, T + HOUR) == [T]


def test_a_daemon_that_slept_makes_up_for_what_is_not_over(store: Store) -> None:
    world.launch(store, at(), T - DAY)
    assert due(store, T + HOUR) == []  # over: expires_after is an hour without a window
    world.launch(store, at(window={"expires_after": "2h"}, name="longer"), T - DAY)
    assert fired(store, T + HOUR) == [T]


def test_of_cron_firings_that_were_missed_the_latest_alone_is_made_up_for(store: Store) -> None:
    world.launch(store, of(MORNINGS, {"expires_after": "9d"}), T - 6 * DAY)
    nine = datetime(2026, 12, 7, 1, tzinfo=UTC)
    assert fired(store, T) == [nine]
    assert due(store, T + HOUR) == []  # nor the ones before it later on
    assert fired(store, nine + DAY) == [nine + DAY]


def test_of_listed_instants_each_is(store: Store) -> None:
    hours = [T, T + HOUR]
    world.launch(store, of({"at": [one.isoformat() for one in hours]}, {"expires_after": "3h"}), T - DAY)
    assert fired(store, T + HOUR) == hours


def test_a_paused_campaign_fires_what_is_not_over_when_it_goes_on(store: Store) -> None:
    world.launch(store, of(MORNINGS), T - 2 * DAY)
    with store.write() as connection:
        set_campaign_state(connection, "lunch", CampaignState.PAUSED, T - DAY, "me")
    nine = datetime(2026, 12, 7, 1, tzinfo=UTC)
    assert due(store, nine) == []
    with store.write() as connection:
        set_campaign_state(connection, "lunch", CampaignState.RUNNING, nine + HOUR / 2, "me")
    assert fired(store, nine + HOUR / 2) == [nine]


def test_instants_between_dates_and_holidays(store: Store) -> None:
    limits = {"from": "2026-12-08", "until": "2026-12-28", "holidays": "skip", "calendar": "DE"}
    schedule = of({"cron": "30 0 * * mon,fri", "zone": "Europe/Berlin", **limits}).campaign.schedule
    found = [f"{one:%m-%d}" for one in schedule.instants(T - 9 * DAY, T + 60 * DAY)]
    assert found == ["12-11", "12-14", "12-18", "12-21", "12-28"]  # not Christmas Day, though it is the 24th in UTC
    assert [day for day in range(1, 32) if schedule.fires_on(date(2026, 12, day))] == [11, 14, 18, 21, 28]


def test_the_next_opening_is_the_next_instant(store: Store) -> None:
    world.launch(store, of(TWICE), T - 2 * DAY)
    with store.read() as connection:
        assert next_opening(connection, T) == T + 15 * HOUR
        assert next_opening(connection, T - timedelta(seconds=1)) == T
    campaign = of(TWICE).campaign
    told = [(one.occasion.at, one.at_once) for one in next_firings(campaign, T)]
    assert told == [(T, True), (T + 15 * HOUR, False), (T + 24 * HOUR, False)]
    assert next_firings(at().campaign, T + DAY) == []


def test_runs_of_dates_and_of_instants_stand_side_by_side(store: Store) -> None:
    with store.write() as connection:
        made = [
            create_run(connection, "lunch", "v", T.date(), now=T, closes_at=T, fires_at=instant)
            for instant in (None, T, None, T, T + HOUR)
        ]
    assert [number is not None for number in made] == [True, True, False, False, True]


# --- who gets it when -------------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T)


def crowd(store: Store) -> None:
    world.person(store, "mei", "Asia/Shanghai")
    world.person(store, "anna", "Europe/Berlin")
    world.person(store, "bob", "America/New_York")
    world.person(store, "noone", None)


def test_in_a_window_each_member_gets_it_by_their_own_clock(store: Store, clock: ManualClock) -> None:
    crowd(store)
    world.launch(store, at(window=LUNCH), T - DAY)
    plan(store, clock)
    due_at = {name: due for name, (due, _) in messages(store).items()}
    assert due_at["anna"] >= T
    assert due_at["anna"] < T + HOUR * 3 / 4  # open since 10:30: at once, spread over what is left
    assert due_at["bob"] >= datetime(2026, 12, 7, 15, 30, tzinfo=UTC)  # early: held to its opening
    assert decided(store) == {"mei": "late", "anna": "planned", "bob": "planned", "noone": "zone_unknown"}


def test_with_late_next_whom_it_comes_too_late_for_gets_it_on_the_next_date(store: Store, clock: ManualClock) -> None:
    crowd(store)
    world.launch(store, at(window={**LUNCH, "late": "next"}), T - DAY)
    plan(store, clock)
    assert messages(store)["mei"][0] >= datetime(2026, 12, 8, 2, 30, tzinfo=UTC)


def test_without_a_window_everybody_gets_it_then_who_is_awake(store: Store, clock: ManualClock) -> None:
    crowd(store)
    world.launch(store, at(), T - DAY)
    [made] = plan(store, clock)
    assert messages(store) == dict.fromkeys(("mei", "anna"), (T, T + HOUR))
    assert decided(store) | {"mei": "", "anna": ""} == {
        "mei": "",
        "anna": "",
        "bob": "quiet_hours",
        "noone": "quiet_hours",
    }
    assert made.audience == 4


def test_a_later_step_has_as_long_as_the_first(store: Store, clock: ManualClock) -> None:
    world.person(store, "anna", phone="+4915112345678")
    world.launch(store, at(steps=world.DEFINITION["steps"]), T - DAY)  # an SMS 25 minutes later
    plan(store, clock)
    wait = timedelta(minutes=25)
    with store.read() as connection:
        later = connection.execute(select(message).where(message.c.step == 2)).one()
    assert (later.due_at, later.deadline) == (T + wait, T + wait + HOUR)
    assert closes_at(at(steps=world.DEFINITION["steps"]).campaign, Occasion(T.date(), T)) == T + wait + HOUR


def test_the_gate_keeps_to_it(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    crowd(store)
    world.launch(store, at(window=LUNCH), T - DAY)
    plan(store, clock)
    marks: list[tuple[str, str, datetime]] = []
    made = door(store, clock, marked=lambda *told: marks.append(told))
    clock.advance(HOUR / 2)
    assert len(through(made, clock, tmp_path)) == 1  # anna
    assert {told[:2] for told in marks} == {("lunch", "2026-12-07T10:00:00Z")}
    clock.advance(2 * DAY)
    through(made, clock, tmp_path)
    assert ends(store) == {("sending", None): 1, ("expired", "late"): 1}


def test_several_runs_of_one_date_are_each_their_own(store: Store, clock: ManualClock, tmp_path: Path) -> None:
    world.person(store, "mei", "Asia/Shanghai")
    world.launch(store, of(TWICE), T - 12 * HOUR)
    made = door(store, clock)
    for instant in (T - 9 * HOUR, T):
        clock.instant = instant
        plan(store, clock)
        assert len(through(made, clock, tmp_path)) == 1
    with store.read() as connection:
        known = [(row.local_date, row.fires_at) for row in connection.execute(select(run).order_by(run.c.id))]
    assert known == [("2026-12-07", T - 9 * HOUR), ("2026-12-07", T)]


def test_held_out_members_share_the_anchor(store: Store, clock: ManualClock) -> None:
    for n in range(40):
        world.person(store, f"u{n}", "America/New_York")
    world.launch(store, at(window=LUNCH, holdout="50%"), T - DAY)
    plan(store, clock)
    with store.read() as connection:
        anchors = connection.execute(select(member.c.held_out, member.c.anchor).distinct()).all()
    assert {bool(row.held_out) for row in anchors} == {True, False}
    assert {row.anchor for row in anchors} == {datetime(2026, 12, 7, 15, 30, tzinfo=UTC)}


# --- foreseen and told ------------------------------------------------------------------------------------------------


def test_a_dry_run_of_an_instant(store: Store, clock: ManualClock) -> None:
    crowd(store)
    what, clock.instant = at(window=LUNCH), T - 2 * DAY
    with store.read() as connection:
        found = dry_run(connection, world.planner(clock), what, Occasion(T.date(), T), clock.now())
    assert (found.local_date, found.audience) == ("2026-12-07T10:00", 4)
    assert found.decisions == {"planned": 2, "skipped: late": 1, "skipped: zone_unknown": 1}
    assert set(found.hours) <= {10, 11}
    planned = first_leaving(what.campaign, [Occasion(T.date(), T)], [row[:3] for row in found.places], QUIET, T - DAY)
    assert planned == T


QUIET = world.planner(ManualClock(T)).quiet


def told(store: Store) -> list[str]:
    with store.read() as connection:
        numbers = connection.execute(select(run.c.id).order_by(run.c.id)).scalars().all()
        return [named(connection, read_run(connection, number)) for number in numbers]


def test_runs_are_called_by_the_clock_that_they_were_written_in(store: Store) -> None:
    world.launch(store, of(TWICE), T - 12 * HOUR)
    assert (fired(store, T - 9 * HOUR), fired(store, T)) == ([T - 9 * HOUR], [T])
    assert told(store) == ["2026-12-07T09:00", "2026-12-07T18:00"]
    with store.read() as connection:
        assert launched(connection, "lunch@2026-12-07T18:00").local_date == "2026-12-07T18:00"
        assert launched(connection, "lunch@2026-12-07T10:00Z").run == launched(connection, "lunch@2026-12-07 18:00").run
        with pytest.raises(InputError, match="has 2 runs that are called 2026-12-07") as caught:
            launched(connection, "lunch@2026-12-07")
        assert "2026-12-07T09:00, 2026-12-07T18:00" in caught.value.hint
        for nothing in ("lunch@2026-12-07T10:00", "lunch@2026-12-08", "lunch@monday"):
            with pytest.raises(NotFoundError, match="has no run of"):
                launched(connection, nothing)


def test_reports_and_stories_name_each(store: Store, clock: ManualClock) -> None:
    world.person(store, "mei", "Asia/Shanghai")
    world.launch(store, of(TWICE), T - 12 * HOUR)
    for instant in (T - 9 * HOUR, T):
        clock.instant = instant
        plan(store, clock)
    with store.read() as connection:
        tally = reach(connection, launched(connection, "lunch"), T)
        story = explain(connection, "mei", launched(connection, "lunch"), T)
    names = ["2026-12-07T09:00", "2026-12-07T18:00"]
    assert [one.local_date for one in tally.runs] == names
    assert [one.local_date for one in story.members] == [one.local_date for one in story.runs] == names


def test_where_a_schedule_has_a_time_twice_the_offset_is_told() -> None:
    both = ["2026-12-07T18:00:00+08:00", "2026-12-07T18:00:00+01:00", "2026-12-08T18:00:30Z"]
    campaign: Campaign = of({"at": both}).campaign
    names = [label(campaign.schedule, Occasion.of(one)) for one in campaign.schedule.at]
    assert names == ["2026-12-07T18:00+08:00", "2026-12-07T18:00+01:00", "2026-12-08T18:00:30"]
    with pytest.raises(InputError, match="has 2 runs"):
        planned(campaign, "2026-12-07T18:00")
    assert planned(campaign, "2026-12-07T18:00+01:00").at == datetime(2026, 12, 7, 17, tzinfo=UTC)
    assert planned(campaign, "2026-12-08").at == datetime(2026, 12, 8, 18, 0, 30, tzinfo=UTC)
    with pytest.raises(InputError, match="does not fire at 2026-12-08T09:00") as caught:
        planned(campaign, "2026-12-08T09:00")
    assert caught.value.hint == "2026-12-08T18:00:30"
    with pytest.raises(InputError, match="has runs of local dates"):
        planned(world.bundle().campaign, "2026-12-07T09:00")
    assert planned(world.bundle().campaign, "2026-12-07") == Occasion(date(2026, 12, 7))


def test_what_waits_is_confirmed_one_by_one(store: Store) -> None:
    world.launch(store, of(TWICE), T - 12 * HOUR)
    made = [*due(store, T - 9 * HOUR), *due(store, T)]
    with store.write() as connection:
        connection.execute(run.update().values(reason="unusual_size"))
        done = confirm_runs(connection, "lunch", made[1].id, T, "me")
    assert [item.id for item in done] == [made[1].id]


def test_the_usual_size_is_that_of_the_latest_runs_whatever_their_dates(store: Store) -> None:
    with store.write() as connection:
        for n, size in enumerate([900, 900, 900, 10, 20, 30, 40, 50]):
            row = {"campaign": "lunch", "version": "v", "local_date": "2026-12-07", "state": "done", "audience": size}
            times = dict.fromkeys(("as_of", "closes_at", "created_at", "fires_at"), T + n * HOUR)
            connection.execute(insert(run).values(**row, **times))
        assert usual_size(connection, "lunch") == 30


def test_an_exploring_members_draw_is_the_runs_own() -> None:
    one, other = Occasion(T.date(), T), Occasion(T.date(), T + HOUR)
    assert (Occasion(T.date()).key, one.key, other.key) == (
        "2026-12-07",
        "2026-12-07T10:00:00Z",
        "2026-12-07T11:00:00Z",
    )


def test_best_hours_are_those_of_the_window_that_is_left(store: Store, clock: ManualClock) -> None:
    from orchestrator.plan.best_slots import open_hours
    from orchestrator.policy.resolver import opening

    campaign = at(window={"local": "09:00-15:00"}, best_time={"explore": "0%"}).campaign
    rule = rule_for(campaign, campaign.arms[0], campaign.steps[0], Occasion(T.date(), T))
    gate = opening(rule, "Europe/Berlin", "DE", QUIET)
    hours = open_hours(rule, gate, "Europe/Berlin", T, [1.0] * 168)
    assert hours is not None
    assert sorted(start.hour for start, _ in hours.pieces.values()) == [10, 11, 12, 13]  # 11:00 to 15:00 there


# --- a planner that does not know instants is caught ------------------------------------------------------------------


def test_a_planner_that_takes_the_date_for_the_instant_is_caught(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Run, "occasion", property(lambda item: Occasion(item.local_date)))
    crowd(store)
    world.launch(store, at(window={"local": "10:30-19:00"}), T - DAY)
    with store.write() as connection:
        [(item, what)] = due_runs(connection, T)
    clock.instant = T - 9 * HOUR  # as if its date had opened it
    world.planner(clock).plan(store, item, what)
    assert min(due_at for due_at, _ in messages(store).values()) < T
