"""Edits to a running campaign, killed in the middle, and in any order with sending: what waits is a fresh plan's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from orchestrator.campaign.version import Bundle, read_bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger.claim import due_lanes
from orchestrator.ledger.runs import Run, read_run, runs_in
from orchestrator.ledger.states import RunState, State
from orchestrator.store import Store
from orchestrator.store.tables import lane, member, message
from tests import world
from tests.dispatch.crowd import crowd
from tests.nightly import size
from tests.plan.editing import ONE_STEP, Post, launch, worded

MANY = 2000
LUNCH = world.MONDAY + timedelta(hours=10, minutes=15)
SMS = world.DEFINITION["steps"][1]


# --- kill -9 ----------------------------------------------------------------------------------------------------------

_VICTIM = """
import os, signal, sys
from orchestrator.campaign.version import read_bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import runs_in
from orchestrator.ledger.states import RunState
from orchestrator.store import Store
from tests import world

store, chunks = Store(sys.argv[1]), int(sys.argv[2])
with store.read() as connection:
    [item] = runs_in(connection, RunState.PLANNING)
    bundle = read_bundle(connection, item.version)
left = [chunks]

def die(_count):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

world.planner(ManualClock(world.OPENING)).plan(store, item, bundle, die)
"""


def _killed_after(database: Path, chunks: int) -> int:
    """The planner in a process of its own, killed after so many chunks."""
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", _VICTIM, str(database), str(chunks)]
    return subprocess.run(words, cwd=root, check=False, env={**os.environ, "PYTHONPATH": str(root)}).returncode


def _rows(store: Store) -> list[Any]:
    columns = (
        message.c.id,
        message.c.state,
        message.c.due_at,
        message.c.deadline,
        message.c.address_id,
        lane.c.version,
    )
    with store.read() as connection:
        joined = select(*columns).join(lane, lane.c.id == message.c.lane_id).order_by(message.c.id)
        return list(connection.execute(joined).all())


def test_a_kill_in_the_middle_is_taken_up_and_comes_to_the_same(tmp_path: Path) -> None:
    clock, ends = ManualClock(world.OPENING), []
    for name in ("killed", "whole"):
        store = world.fresh(tmp_path / f"{name}.db")
        crowd(store, MANY)
        world.plan(store, worded("Hello", steps=ONE_STEP), clock)
        edited = worded("Good morning", steps=ONE_STEP, window={"local": "11:00-12:00"})
        launch(store, edited, clock, plans=name == "whole")
        if name == "killed":
            store.close()
            for _ in range(3):
                assert _killed_after(tmp_path / "killed.db", 1) == -signal.SIGKILL
            store = Store(str(tmp_path / "killed.db"))
            with store.read() as connection:
                [item] = runs_in(connection, RunState.PLANNING)
                assert 0 < item.planned_through < MANY
                assert due_lanes(connection, LUNCH, clock.machine()) == []  # nothing of it leaves half edited
                bundle = read_bundle(connection, item.version)
            assert world.planner(clock).plan(store, item, bundle).state is RunState.ACTIVE
        ends.append(_rows(store))
        store.close()
    assert ends[0] == ends[1]
    assert len(ends[0]) == MANY
    assert {row.version for row in ends[0]} == {""}


# --- any order of edits, sends and kills ------------------------------------------------------------------------------

VERSIONS: tuple[dict[str, Any], ...] = (
    {},
    {"steps": ONE_STEP},
    {"window": {"local": "12:00-13:00", "spread": "20%"}},
    {"steps": [*ONE_STEP, {**SMS, "when": {"after": "5m"}}]},
    {"audience": {"segment": "regulars"}},
    {"audience": {"segment": "everybody", "exclude": ["regulars"]}, "topic": "promotions"},
    {"steps": [*ONE_STEP, SMS, {"channel": "push", "template": "lunch", "when": {"after": "1m"}}], "priority": 9},
)
PLACES = ("Europe/Berlin", "America/Vancouver", "Asia/Shanghai")
ops = st.lists(
    st.one_of(
        st.tuples(st.just("launch"), st.integers(0, len(VERSIONS) - 1)),
        st.tuples(st.just("die"), st.integers(0, len(VERSIONS) - 1)),
        st.tuples(st.just("send"), st.integers(1, 3)),
        st.tuples(st.just("wait"), st.sampled_from((5, 60, 300))),
    ),
    min_size=3,
    max_size=10,
)


def _people(store: Store) -> None:
    for n in range(8):
        phone = f"+4915112345{n:03}" if n % 3 else None
        world.person(store, f"u{n}", PLACES[n % 3], phone=phone, push=None if n == 5 else "")
        if n % 2:
            world.did(store, f"u{n}", "order_paid", world.OPENING - timedelta(days=2))


@cache
def _begun() -> bytes:
    """A database with the people, and the first version planned for them: made once."""
    with tempfile.TemporaryDirectory() as folder:
        store = world.fresh(Path(folder) / "t.db")
        _people(store)
        world.plan(store, worded("v0", **VERSIONS[0]), ManualClock(world.OPENING))
        store.close()
        return (Path(folder) / "t.db").read_bytes()


@cache
def _fresh(n: int) -> dict[int, tuple[datetime, datetime, bool]]:
    """What a plan of the version from the beginning would owe: due and deadline by message."""
    with tempfile.TemporaryDirectory() as folder:
        store = world.fresh(Path(folder) / "t.db")
        _people(store)
        world.plan(store, worded(f"v{n}", **VERSIONS[n]), ManualClock(world.OPENING))
        with store.read() as connection:
            rows = connection.execute(select(message)).all()
        store.close()
    return {row.id: (row.due_at, row.deadline, bool(row.held_out)) for row in rows}


def _current(store: Store) -> tuple[Run, Bundle]:
    with store.read() as connection:
        item = read_run(connection, 1)
        return item, read_bundle(connection, item.version)


def _holds(store: Store, n: int) -> None:
    """What has not begun is what a fresh plan of the version owes of it, under that version alone."""
    wanted = _fresh(n)
    query = select(message, lane.c.version, lane.c.channel).join(lane, lane.c.id == message.c.lane_id)
    with store.read() as connection:
        rows = connection.execute(query).all()
        planned = set(connection.execute(select(member.c.user_id).where(member.c.decision == "planned")).scalars())
        total = connection.execute(select(func.count()).select_from(member)).scalar_one()
    begun = {row.id for row in rows if row.state != State.PLANNED and row.reason != "edited"}
    waits = {row.id: (row.due_at, row.deadline, bool(row.held_out)) for row in rows if row.state == State.PLANNED}
    assert waits == {number: one for number, one in wanted.items() if number not in begun}
    assert all(row.version == "" for row in rows if row.state == State.PLANNED)
    assert {row.user_id for row in rows} <= planned
    assert total == 8


@given(ops)
@settings(max_examples=size(20, 500), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_done_in_whatever_order_it_is_a_fresh_plan_of_what_has_not_begun(
    done: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        clock = ManualClock(world.OPENING)
        (Path(folder) / "t.db").write_bytes(_begun())
        store = Store(str(Path(folder) / "t.db"))
        clock.instant = world.MONDAY + timedelta(hours=3)
        post, last = Post(store, clock, Path(folder)), 0
        for what, n in done:
            if what in {"launch", "die"}:
                launch(store, worded(f"v{n}", **VERSIONS[n]), clock, plans=what == "launch")
            elif what == "send":
                post.send(n)
            else:
                clock.advance(timedelta(minutes=n))
            last = n if what in {"launch", "die"} else last
            if what == "launch":
                _holds(store, n)
        item, bundle = _current(store)
        if item.state is RunState.PLANNING:
            world.planner(clock).plan(store, item, bundle)
            _holds(store, last)
        store.close()
        names = [(user, step) for user, step, _ in post.sent]
        assert len(names) == len(set(names))
        assert all(words.startswith(("v", "U")) for _, _, words in post.sent)


def test_an_adoption_of_nobody_is_one(tmp_path: Path) -> None:
    store, clock = world.fresh(tmp_path / "t.db"), ManualClock(world.OPENING)
    world.plan(store, worded("Hello"), clock)
    [done] = launch(store, worded("Good morning"), clock)
    assert (done.adopts, done.state, done.waiting) == (True, "active", 0)
    store.close()


def test_two_planners_at_once_come_to_the_same(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    crowd(store, MANY)
    world.plan(store, worded("Hello", steps=ONE_STEP), clock)
    launch(store, worded("Good morning", steps=ONE_STEP), clock, plans=False)
    item, bundle = _current(store)
    with ThreadPoolExecutor(2) as both:
        done = [both.submit(world.planner(clock).plan, store, item, bundle) for _ in range(2)]
        assert {one.result().state for one in done} == {RunState.ACTIVE}
    rows = _rows(store)
    assert len(rows) == MANY
    assert {(row.state, row.version) for row in rows} == {("planned", "")}
    with store.read() as connection:
        assert read_run(connection, item.id).audience == MANY
