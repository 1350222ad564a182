"""Edits to a running campaign: what waits takes on the new version, what has begun stays, and nobody gets it twice."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, select, update

from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.dispatch import sweep as sweeping
from orchestrator.dispatch.compose import Composed
from orchestrator.ledger.claim import Lane, due_lanes
from orchestrator.ledger.ids import RunId
from orchestrator.ledger.mark import Hold
from orchestrator.ledger.runs import Run, read_run, runs_in
from orchestrator.ledger.states import RunState, State
from orchestrator.plan import planner
from orchestrator.plan.brakes import Brake
from orchestrator.plan.due import due_runs
from orchestrator.store import Store
from orchestrator.store.tables import lane, member, message, run, transition
from tests import world
from tests.dispatch.doors import channel
from tests.plan import carts
from tests.plan.editing import ONE_STEP, Post, decisions, launch, owed, worded

LUNCH = datetime(2026, 12, 7, 10, 15, tzinfo=UTC)
"""Berlin's lunch; Vancouver still sleeps."""
THEIRS = LUNCH + timedelta(hours=8)
"""Vancouver's."""
VANCOUVER = "America/Vancouver"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


@pytest.fixture
def post(store: Store, clock: ManualClock, tmp_path: Path) -> Post:
    return Post(store, clock, tmp_path)


def begun(store: Store, clock: ManualClock, post: Post, what: Any = None) -> None:
    """Ada in Berlin has got the first step, Bob in Vancouver waits for it; both have phones."""
    world.person(store, "ada", phone="+4915112345678")
    world.person(store, "bob", VANCOUVER, phone="+4915112345679")
    world.plan(store, what or worded("Hello"), clock)
    clock.instant = LUNCH
    post.send()
    assert [(user, step) for user, step, _ in post.sent] == [("ada", 1)]


def state(store: Store) -> RunState:
    with store.read() as connection:
        return RunState(connection.execute(select(run.c.state)).scalar_one())


def dues(store: Store) -> dict[int, datetime]:
    with store.read() as connection:
        return {row.id: row.due_at for row in connection.execute(select(message.c.id, message.c.due_at))}


def test_what_waits_gets_the_new_words_and_what_was_sent_stays(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    before = dues(store)
    [done] = launch(store, worded("Good morning"), clock)
    assert (done.adopts, done.state, done.waiting, done.taken_back, done.earlier) == (True, "active", 3, 0, 1)
    assert dues(store) == before  # the window is as it was
    clock.instant = THEIRS
    post.send()
    assert post.sent == [("ada", 1, "Hello Ada"), ("bob", 1, "Good morning Bob")]
    assert owed(store)["ada", 1][2] != owed(store)["bob", 1][2] == ""


def test_due_times_follow_a_new_window(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    launch(store, worded("Hello", window={"local": "17:00-18:00", "spread": "0%"}), clock)
    with store.read() as connection:
        rows = connection.execute(select(message).where(message.c.state == State.PLANNED, message.c.step == 1)).all()
        assert [row.due_at for row in rows] == [datetime(2026, 12, 8, 0, tzinfo=UTC)]  # 17:00 in Vancouver
        assert read_run(connection, rows[0].run_id).closes_at == datetime(2026, 12, 8, 6, tzinfo=UTC)


def test_a_step_that_is_gone_is_not_sent_and_a_new_one_is(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    mail = {"channel": "sms", "template": "lunch", "when": {"after": "5m"}}
    [done] = launch(store, worded("Hello", steps=ONE_STEP), clock)
    assert done.taken_back == 2
    assert {key: one[:2] for key, one in owed(store).items()} == {
        ("ada", 1): ("accepted", None),
        ("ada", 2): ("skipped", "edited"),
        ("bob", 1): ("planned", None),
        ("bob", 2): ("skipped", "edited"),
    }
    with store.read() as connection:
        lines = connection.execute(select(transition.c.old, transition.c.new).where(transition.c.reason == "edited"))
        assert lines.all() == [("planned", "skipped")] * 2
    [done] = launch(store, worded("Hello", steps=[*ONE_STEP, mail]), clock)  # and back, sooner: never sent, so owed
    assert (done.taken_back, done.waiting) == (0, 3)
    clock.advance(timedelta(minutes=20))
    post.send()
    assert [(user, step) for user, step, _ in post.sent] == [("ada", 1), ("ada", 2)]


def test_who_is_not_in_the_audience_any_more_gets_nothing_more(store: Store, clock: ManualClock, post: Post) -> None:
    world.person(store, "cid", VANCOUVER)
    begun(store, clock, post)
    for name in ("ada", "cid"):
        world.did(store, name, "order_paid", world.OPENING - timedelta(days=2))
    edited = worded("Hello", audience={"segment": "everybody", "exclude": ["regulars"]})
    launch(store, edited, clock)
    assert decisions(store) == {"ada": ("planned", None), "bob": ("planned", None), "cid": ("skipped", "excluded")}
    assert owed(store)["ada", 2][:2] == ("skipped", "edited")
    assert ("cid", 1) not in owed(store)
    launch(store, worded("Hello", audience={"segment": "regulars"}), clock)
    assert decisions(store) == {"ada": ("planned", None), "bob": ("skipped", "edited_out"), "cid": ("planned", None)}
    assert {key for key, one in owed(store).items() if one[0] == "planned"} == {("ada", 2), ("cid", 1)}


def test_nobody_becomes_a_member(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    world.person(store, "late", VANCOUVER)
    launch(store, worded("Good morning"), clock)
    assert set(decisions(store)) == {"ada", "bob"}
    with store.read() as connection:
        assert connection.execute(select(run.c.audience)).scalar_one() == 2


def test_arms_and_anchors_stay(store: Store, clock: ManualClock) -> None:
    arms = {"arms": [{"name": "a"}, {"name": "b"}]}
    more = {"arms": [{"name": "a"}, {"name": "b"}, {"name": "c", "weight": 5}]}
    for n in range(20):
        world.person(store, f"u{n}", VANCOUVER)
    world.plan(store, worded("Hello", experiment=arms, holdout="20%"), clock)

    def who() -> list[Any]:
        with store.read() as connection:
            columns = (member.c.user_id, member.c.arm, member.c.held_out, member.c.anchor)
            return list(connection.execute(select(*columns).order_by(member.c.user_id)).all())

    before = who()
    [done] = launch(store, worded("Hello", experiment=more, holdout="50%", window={"local": "12:00-13:00"}), clock)
    assert (done.adopts, who()) == (True, before)
    [done] = launch(store, worded("Hello", experiment={"arms": [{"name": "a"}, {"name": "d"}]}), clock)
    assert (done.adopts, done.why_not) == (False, "arm_gone")
    assert (who(), state(store)) == (before, RunState.ACTIVE)


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"schedule": {"dates": ["2026-12-09"]}}, "date_not_in_schedule"), ({"max_audience": 1}, "max_audience")],
)
def test_a_run_that_does_not_fit_keeps_its_version(
    store: Store, clock: ManualClock, post: Post, changes: dict[str, Any], why: str
) -> None:
    begun(store, clock, post)
    before = owed(store)
    [done] = launch(store, worded("Good morning", **changes), clock)
    assert (done.adopts, done.why_not, owed(store)) == (False, why, before)
    clock.instant = THEIRS
    post.send()
    assert ("bob", 1, "Hello Bob") in post.sent


def test_new_runs_only_leaves_it_and_a_launch_after_that_does_not(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    [done] = launch(store, worded("Good morning"), clock, new_runs_only=True)
    assert (done.adopts, done.why_not) == (False, "new_runs_only")
    [done] = launch(store, worded("Good morning"), clock)
    assert done.adopts
    assert launch(store, worded("Good morning"), clock) == []
    with store.read() as connection:
        lines = connection.execute(select(transition.c.reason).where(transition.c.new == "running")).scalars().all()
    assert len(lines) == 2  # the third launch did nothing


def in_hand(store: Store, clock: ManualClock, post: Post) -> tuple[Lane, list[Composed]]:
    """Bob's first step, claimed and composed."""
    clock.instant = THEIRS
    with store.read() as connection:
        [first] = [one for one in due_lanes(connection, clock.now(), clock.machine()) if one.step == 1]
    opened = channel(post.folder, "push")
    ready, _ = post.made.claim_and_compose(first, 10, opened)
    asyncio.run(opened.close())
    return first, ready


def test_what_a_worker_has_in_hand_leaves_as_it_was_composed(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    first, ready = in_hand(store, clock, post)
    launch(store, worded("Good morning", steps=[{"channel": "sms", "template": "lunch"}]), clock)
    [left] = post.made.mark(first, ready, [])
    assert getattr(left.composed.payload, "title", "") == "Hello Bob"
    assert owed(store)["bob", 1][0] == "sending"


def test_what_came_back_in_the_middle_is_looked_at_again(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    _, ready = in_hand(store, clock, post)
    launch(store, worded("Good morning"), clock, plans=False)
    with store.read() as connection:
        [item] = runs_in(connection, RunState.PLANNING)
        assert due_lanes(connection, clock.now(), clock.machine()) == []  # not claimable

    def held(_count: int) -> None:  # the worker holds it after its user was looked at
        if ready:
            post.made.hold([Hold(ready.pop().message.id, clock.now() + timedelta(minutes=1), "domain")])

    world.planner(clock).plan(store, item, worded("Good morning"), held)
    clock.advance(timedelta(minutes=2))
    post.send()
    assert post.sent == [("ada", 1, "Hello Ada"), ("bob", 1, "Good morning Bob")]


def test_what_is_tried_again_stays_under_its_version(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    with store.write() as connection:  # ada's certainly did not leave, and is tried again
        back = update(message).where(message.c.step == 1, message.c.state == State.ACCEPTED)
        connection.execute(back.values(state=State.PLANNED, due_at=LUNCH, attempts=1))
    launch(store, worded("Good morning", steps=ONE_STEP), clock)
    launch(store, worded("Good evening", steps=ONE_STEP), clock)
    post.send()
    assert post.sent == [("ada", 1, "Hello Ada")] * 2


def test_back_to_a_version_it_had(store: Store, clock: ManualClock, post: Post) -> None:
    begun(store, clock, post)
    for title in ("Good morning", "Hello", "Good morning", "Hello", "Good evening"):
        [done] = launch(store, worded(title), clock)
        assert (done.adopts, done.waiting) == (True, 3)
    with store.read() as connection:
        per = connection.execute(select(lane.c.version).where(lane.c.step == 1)).scalars().all()
    assert len(per) == len(set(per)) == 3
    clock.instant = THEIRS
    post.send()
    assert post.sent == [("ada", 1, "Hello Ada"), ("bob", 1, "Good evening Bob")]


def test_who_began_a_step_that_moves_keeps_the_rest(store: Store, clock: ManualClock, post: Post) -> None:
    """A step put before the first: whoever has got the push would get it once more as the second."""
    begun(store, clock, post)
    sms = {"channel": "sms", "template": "lunch"}
    moved = worded("Hello", steps=[sms, {**ONE_STEP[0], "when": {"after": "5m"}}])
    [done] = launch(store, moved, clock)
    assert (done.adopts, done.waiting, done.earlier) == (True, 2, 2)
    versions = {key: one[2] == "" for key, one in owed(store).items()}
    assert versions == {("ada", 1): False, ("ada", 2): False, ("bob", 1): True, ("bob", 2): True}
    clock.advance(timedelta(minutes=27))
    post.send()
    clock.instant = THEIRS
    post.send()
    assert [(user, step, words.partition(" ")[0]) for user, step, words in post.sent] == [
        ("ada", 1, "Hello"),
        ("ada", 2, "Ada,"),
        ("bob", 1, "Bob,"),
    ]


def test_the_naive_way_sends_twice(store: Store, clock: ManualClock, post: Post) -> None:
    """The broken variant: everything of the run is deleted, and the run is planned again from nothing."""
    begun(store, clock, post)
    edited = worded("Hello", priority=60)
    launch(store, edited, clock, plans=False)
    with store.write() as connection:
        for table in (message, member):
            connection.execute(delete(table))
        connection.execute(update(run).values(reason=None, audience=0))
        [item] = runs_in(connection, RunState.PLANNING)
    world.planner(clock).plan(store, item, edited)
    clock.advance(timedelta(minutes=20))
    post.send()
    assert post.sent == [("ada", 1, "Hello Ada")] * 2  # what every other test here would have caught


def test_a_run_that_is_half_planned_begins_again(store: Store, clock: ManualClock) -> None:
    for n in range(40):
        world.person(store, f"u{n}")
    world.launch(store, worded("Hello"), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    made = world.planner(clock)
    with store.write() as connection:
        made.begin(connection, item, found)
        made.chunk(connection, made.statement(found, store.dialect, item.local_date), item, found, 17)
    edited = worded("Good morning", steps=ONE_STEP, window={"local": "17:00-18:00"}, audience={"segment": "regulars"})
    world.did(store, "u3", "order_paid", world.OPENING - timedelta(days=2))
    world.did(store, "u30", "order_paid", world.OPENING - timedelta(days=2))
    [done] = launch(store, edited, clock)
    assert (done.state, done.waiting, done.taken_back) == ("active", 2, 0)
    assert set(decisions(store)) == {"u3", "u30"}
    with store.read() as connection:
        assert connection.execute(select(run.c.audience)).scalar_one() == 2


def test_a_run_that_has_not_begun_takes_the_version_as_it_is_planned(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    world.launch(store, worded("Hello"), clock.now())
    with store.write() as connection:
        [(item, _)] = due_runs(connection, clock.now())
        connection.execute(update(run).values(reason="unusual_size"))  # it waits to be confirmed
    [done] = launch(store, worded("Good morning"), clock)
    assert (done.state, done.adopts) == ("planning", True)
    with store.read() as connection:
        now = read_run(connection, item.id)
    assert (now.reason, now.version != item.version) == (None, True)


def test_an_older_planner_stops_when_its_run_was_edited(store: Store, clock: ManualClock) -> None:
    world.person(store, "ada")
    world.launch(store, worded("Hello"), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    launch(store, worded("Good morning"), clock)
    left = world.planner(clock).plan(store, item, found)
    assert (left.state, left.version != item.version) == (RunState.PLANNING, True)
    assert owed(store) == {}


def test_who_joins_a_triggered_run_after_the_edit_gets_the_new_version(store: Store, tmp_path: Path) -> None:
    clock, words = ManualClock(carts.NOON), worded("Good morning").templates
    post = Post(store, clock, tmp_path)
    shop = carts.launched(store, clock)
    for name in ("u0", "u1"):
        carts.happened(store, name, carts.CART, clock.now())
        clock.advance(carts.WAIT)
        shop.tick()
        if name == "u0":
            [done] = launch(store, replace(carts.campaign(priority=60), templates=words), clock)
            assert (done.adopts, done.joins, done.state) == (True, True, "active")
    post.send()
    assert sorted(post.sent) == [("u0", 1, "Hello U0"), ("u1", 1, "Good morning U1")]
    [done] = launch(store, worded("Good evening"), clock)  # no longer triggered
    assert (done.adopts, done.why_not) == (False, "date_not_in_schedule")


def test_a_run_that_takes_on_a_version_as_it_is_swept_is_not_done(
    store: Store, clock: ManualClock, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.person(store, "ada", phone="+4915112345678")
    world.plan(store, worded("Hello", steps=ONE_STEP), clock)
    clock.instant = LUNCH
    post.send()
    looked = sweeping.with_leftovers  # type: ignore[attr-defined]

    def launched_meanwhile(connection: Connection) -> list[RunId]:
        launch(store, worded("Hello"), clock)  # it is the last that it looks at before it writes
        return looked(connection)

    monkeypatch.setattr(sweeping, "with_leftovers", launched_meanwhile)
    swept = sweeping.sweep(store, clock, {})
    assert owed(store)["ada", 2][0] == State.PLANNED
    assert (swept.finished, state(store)) == (0, RunState.ACTIVE)


def test_an_edit_while_it_is_counted_is_not_stopped_by_the_brake_before(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million users take a second to count: whoever allows more meanwhile gets it."""
    for n in range(3):
        world.person(store, f"u{n}")
    world.launch(store, worded("Hello", max_audience=2), clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
    counted = planner.brake  # type: ignore[attr-defined]

    def edited_meanwhile(connection: Connection, item: Run, bundle: Bundle) -> Brake | None:
        said = counted(connection, item, bundle)
        launch(store, worded("Hello", max_audience=3), clock, plans=False)
        return said

    monkeypatch.setattr(planner, "brake", edited_meanwhile)
    made = world.planner(clock).plan(store, item, found)
    assert (made.state, made.version != item.version) == (RunState.PLANNING, True)


def test_a_half_planned_run_that_takes_on_a_wider_audience_is_counted_again(store: Store, clock: ManualClock) -> None:
    """Its members are chosen anew, so the edited version's brake holds for it as for a new one."""
    for n in range(4):
        world.person(store, f"u{n}", locale="de" if n else "en")
    few = {"name": "everybody", "where": {"attribute": "locale", "equals": "en"}}
    what = replace(worded("Hello", max_audience=3), segments={**world.SEGMENTS, "everybody": few})
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
        made = world.planner(clock)
        made.begin(connection, item, found)
        made.chunk(connection, made.statement(found, store.dialect, item.local_date), item, found, 1)
    launch(store, worded("Hello", max_audience=3), clock)
    with store.read() as connection:
        item = read_run(connection, item.id)
    assert (item.state, item.reason) == (RunState.STOPPED, "max_audience")
