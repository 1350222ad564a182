"""Large runs are planned in shards: by whoever comes, dies, freezes or is of another release, to the same rows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Insert, delete, func, insert, select, update

from orchestrator.campaign.version import Bundle
from orchestrator.clock import Clock, ManualClock
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.wiring import Parts
from orchestrator.errors import OrchestratorError
from orchestrator.ledger import shards
from orchestrator.ledger.adopted import PLANNED_AGAIN, lock_run, turn
from orchestrator.ledger.ids import USER_BITS
from orchestrator.ledger.runs import Run, read_run, runs_in, set_campaign_state, set_run_state
from orchestrator.ledger.states import CampaignState, RunState
from orchestrator.plan import chunks
from orchestrator.plan.adopting import adopt
from orchestrator.plan.chunks import FIRST_CHUNK, chunk_end
from orchestrator.plan.due import closes_at, due_runs
from orchestrator.plan.members import Range
from orchestrator.plan.planner import Planner
from orchestrator.plan.sharding import ShardPlanner
from orchestrator.store import Store
from orchestrator.store.tables import (
    address,
    campaign,
    consent,
    lane,
    member,
    message,
    run,
    shard,
    slot,
    slot_hour,
    transition,
    users,
    version,
)
from tests import world
from tests.conftest import NewDatabase
from tests.nightly import size
from tests.plan.editing import ONE_STEP, launch

pytestmark = [pytest.mark.on("postgresql")]

MANY, WIDTH = 3000, 700
ZONES = ("Europe/Berlin", "America/Vancouver", "Asia/Shanghai", None)
ARMS = {"arms": [{"name": "dish", "weight": 1}, {"name": "coupon", "weight": 1}]}
BUNDLES = (
    world.bundle(holdout="5%", experiment=ARMS),
    world.bundle(holdout="5%", experiment=ARMS, steps=ONE_STEP, window={"local": "12:00-13:00"}),
)
RUNS = (member, message, slot, slot_hour, lane, shard, transition, run, campaign, version)


def crowd(store: Store) -> None:
    """People of all sorts: in several zones or none, with and without a token, a phone, an agreement."""
    old = world.OPENING
    with store.write() as connection:
        rows = [_user(n, ZONES[n % len(ZONES)]) for n in range(MANY)]
        ids = list(connection.execute(insert(users).returning(users.c.id), rows).scalars())
        seen = {"kind": "x", "last_seen_at": old, "valid_from": old}
        tokens = [{"user_id": user, "channel": "push", "value": f"t{user}", **seen} for user in ids if user % 20]
        phones = [{"user_id": user, "channel": "sms", "value": f"p{user}", **seen} for user in ids if user % 2]
        connection.execute(insert(address), tokens + phones)
        said = {"topic": "promotions", "granted": True, "source": "t", "valid_from": old}
        agreed = [{"user_id": user, "channel": of, **said} for user in ids for of in ("push", "sms") if user % 10]
        connection.execute(insert(consent), agreed)


def _user(n: int, zone: str | None) -> dict[str, object]:
    times = {"created_at": world.OPENING, "updated_at": world.OPENING}
    return {"external_id": f"u{n}", "zone": zone, "zone_key": zone or "", "attributes": {}, **times}


@pytest.fixture(scope="module")
def town(shared_store: Store) -> Store:
    """People, for the whole module."""
    world.wipe(shared_store)
    crowd(shared_store)
    return shared_store


@pytest.fixture
def store(town: Store) -> Iterator[Store]:
    """The people, and no run."""
    wipe(town)
    yield town
    wipe(town)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


def wipe_plans(store: Store) -> None:
    """No runs; people stay where they are."""
    with store.write() as connection:
        for table in RUNS:
            connection.execute(delete(table))


def wipe(store: Store) -> None:
    """No runs, and people where they were."""
    wipe_plans(store)
    with store.write() as connection:
        connection.execute(update(users).values(zone_key=func.coalesce(users.c.zone, "")))


def planner(clock: Clock, width: int = WIDTH) -> Planner:
    """One that cuts early; with a ``width`` of more than everybody, one that plans alone."""
    return replace(world.planner(clock), width=width)


def due(store: Store, clock: ManualClock, bundle: Bundle = BUNDLES[0]) -> tuple[Run, Bundle]:
    world.launch(store, bundle, clock.now())
    with store.write() as connection:
        [found] = due_runs(connection, clock.now())
    return found


class EnoughError(Exception):
    """The end of a process, where it is told to end."""


def begun(store: Store, clock: ManualClock, bundle: Bundle = BUNDLES[0]) -> Run:
    """A run that is in shards, whose leader is gone after a chunk or none."""

    def gone(_count: int) -> None:
        raise EnoughError

    item, found = due(store, clock, bundle)
    with pytest.raises(EnoughError):
        planner(clock).plan(store, item, found, gone)
    return read(store, item.id)


def read(store: Store, run_id: int) -> Run:
    with store.read() as connection:
        return read_run(connection, run_id)


def rows(store: Store) -> list[tuple[object, ...]]:
    """What a plan came to, by user, whatever the run's number."""
    of_members = [column for column in member.c if column.name != "run_id"]
    names = ("user_id", "step", "address_id", "arm", "held_out", "state", "reason", "due_at", "deadline", "timed")
    of_messages = [*(message.c[name] for name in names), lane.c.account, lane.c.version]
    with store.read() as connection:
        people = connection.execute(select(*of_members).order_by(member.c.user_id)).all()
        joined = select(*of_messages).join(lane, lane.c.id == message.c.lane_id).order_by(message.c.id)
        return [tuple(row) for row in (*people, *connection.execute(joined).all())]


def exact(store: Store, run_id: int) -> bool:
    """Whether the run says as many members as it has."""
    with store.read() as connection:
        mine = select(func.count()).select_from(member).where(member.c.run_id == run_id)
        return connection.execute(mine).scalar_one() == read_run(connection, run_id).audience


def left(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(shard)).scalar_one()


@pytest.fixture(scope="module")
def wanted(town: Store) -> list[list[tuple[object, ...]]]:
    """What one planner alone makes of each version."""
    made = []
    for bundle in BUNDLES:
        wipe(town)
        clock = ManualClock(world.OPENING)
        item, found = due(town, clock, bundle)
        assert planner(clock, 10 * MANY).plan(town, item, found).state is RunState.ACTIVE
        assert left(town) == 0
        made.append(rows(town))
    wipe(town)
    assert [len(one) > MANY for one in made] == [True, True]
    return made


# --- shards, by themselves --------------------------------------------------------------------------------------------


def test_shards_have_every_user_once_and_the_last_whoever_comes_later(store: Store, clock: ManualClock) -> None:
    item, _ = due(store, clock)
    with store.write() as connection:
        assert shards.cut(connection, item, WIDTH)
        cut = connection.execute(select(shard.c.through, shard.c.high).order_by(shard.c.n)).all()
        last = connection.execute(select(func.max(users.c.id))).scalar_one()
    assert cut[0].through == 0
    assert cut[-1].through < last
    assert cut[-1].high == 1 << USER_BITS
    assert [one.high for one in cut[:-1]] == [one.through for one in cut[1:]]
    assert read(store, item.id).reason == PLANNED_AGAIN, "a release without shards plans it from the beginning"


def test_there_are_never_more_shards_than_a_thousand_or_so(store: Store, clock: ManualClock) -> None:
    item, _ = due(store, clock)
    with store.write() as connection:
        assert shards.cut(connection, item, 1)
    assert shards.MOST // 2 < left(store) <= shards.MOST


@pytest.mark.parametrize("width", [MANY, 10 * MANY])
def test_what_is_small_is_not_cut(store: Store, clock: ManualClock, width: int) -> None:
    item, _ = due(store, clock)
    with store.write() as connection:
        connection.execute(update(run).values(planned_through=select(func.min(users.c.id)).scalar_subquery()))
        assert not shards.cut(connection, read_run(connection, item.id), width)


def test_nobody_takes_what_another_has_in_hand(store: Store, clock: ManualClock) -> None:
    item = begun(store, clock)
    taken: list[shards.Shard] = []
    with store.write() as one, store.write() as other:
        while (found := shards.take(one, None)) is not None and len(taken) < 2:
            taken.append(found)
            second = shards.take(other, found)
            assert second is not None
            assert second.n != found.n
            assert shards.take(other, second) == second, "one's own rather than another"
        assert shards.take(other, None, only=item.id + 1) is None
        assert shards.take(other, None, but=[item.id]) is None


def test_whoever_ends_the_last_shard_makes_the_run_active_and_nobody_else(store: Store, clock: ManualClock) -> None:
    item, _ = due(store, clock)
    with store.write() as connection:
        assert shards.cut(connection, item, WIDTH)
        count = connection.execute(select(func.count()).select_from(shard)).scalar_one()

    def ends(_n: int) -> bool:
        with store.write() as connection:
            found = shards.take(connection, None)
            return found is not None and shards.end(connection, found, clock.now())

    with ThreadPoolExecutor(count) as all_at_once:
        said = list(all_at_once.map(ends, range(count)))
    while left(store):
        said.append(ends(0))
    assert said.count(True) == 1
    assert read(store, item.id).state is RunState.ACTIVE


def test_where_one_process_writes_nothing_is_cut(new_database: NewDatabase, clock: ManualClock) -> None:
    only = world.fresh(new_database("sqlite"))
    with only.write() as connection:
        connection.execute(insert(users), [_user(n, "Europe/Berlin") for n in range(MANY)])
    item, found = due(only, clock)
    with pytest.raises(EnoughError):
        planner(clock).plan(only, item, found, _gone)
    assert left(only) == 0
    assert read(only, item.id).reason is None
    assert 0 < read(only, item.id).planned_through < MANY
    only.close()


# --- the same rows, whoever plans -------------------------------------------------------------------------------------


def test_one_planner_comes_to_the_same_in_shards(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    looked: list[int] = []
    item, found = due(store, clock)
    done = planner(clock).plan(store, item, found, looked.append)
    assert (done.state, done.audience, left(store)) == (RunState.ACTIVE, MANY, 0)
    assert rows(store) == wanted[0]
    assert sum(looked) >= MANY
    assert planner(clock).plan(store, done, found) == done, "and once more does nothing"


@dataclass
class Hand:
    """A planner in a thread of its own that stops in each chunk, all of it done and nothing committed."""

    store: Store
    planner: Planner
    inside: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)
    dies: bool = False
    future: Future[int | None] | None = None
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def __post_init__(self) -> None:
        self.sharing = ShardPlanner(self.store, self)

    @property
    def clock(self) -> Clock:
        return self.planner.clock

    def statement(self, bundle: Bundle, dialect: str, day: date) -> Insert:
        return self.planner.statement(bundle, dialect, day)

    def anew(self, connection: Connection, statement: Insert, item: Run, bundle: Bundle, span: Range) -> int:
        grown = self.planner.anew(connection, statement, item, bundle, span)
        self.inside.set()
        assert self.go.wait(60)
        if self.dies:
            raise EnoughError
        return grown

    def begin(self) -> None:
        """Go on until a chunk is done and not committed, or nothing is left."""
        if self.future is None:
            self.inside.clear()
            self.go.clear()
            self.future = self.thread.submit(self.sharing.chunk)
            self.future.add_done_callback(lambda _: self.inside.set())
            assert self.inside.wait(60)

    def end(self, *, dies: bool = False) -> None:
        """Commit it, or die; who dies is followed by a new process, which knows nothing."""
        self.dies = dies
        self.go.set()
        if self.future is not None:
            died = self.future.exception(60)
            assert died is None or isinstance(died, EnoughError)
            self.future = None
        if dies:
            self.sharing = ShardPlanner(self.store, self)


deeds = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(("begin", "commit", "die")), st.integers(0, 2)),
        st.tuples(st.just("edit"), st.integers(0, 1)),
        st.tuples(st.just("tick"), st.just(0)),
    ),
    min_size=4,
    max_size=24,
)


@given(deeds)
@settings(
    max_examples=size(6, 300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_whoever_plans_dies_or_edits_in_whatever_order_it_comes_to_the_same(
    town: Store, wanted: list[list[tuple[object, ...]]], done: list[tuple[str, int]]
) -> None:
    wipe(town)
    clock, current = ManualClock(world.OPENING), 0
    item = begun(town, clock)
    hands = [Hand(town, planner(clock)) for _ in range(3)]
    for what, n in done:
        if what == "begin":
            hands[n].begin()
        elif what in {"commit", "die"}:
            hands[n].end(dies=what == "die")
        elif what == "edit":
            for hand in hands:  # it waits for whoever has a shard in hand
                hand.end()
            launch(town, BUNDLES[n], clock, plans=False)
            current = n
        elif all(hand.future is None for hand in hands) and read(town, item.id).state is RunState.PLANNING:
            again = read(town, item.id)
            with pytest.raises(EnoughError):
                planner(clock).plan(town, again, BUNDLES[current], _gone)
        assert exact(town, item.id)
    for hand in hands:
        hand.end()
        hand.thread.shutdown()
    last = planner(clock).plan(town, read(town, item.id), BUNDLES[current])
    assert (last.state, last.audience, left(town)) == (RunState.ACTIVE, MANY, 0)
    assert rows(town) == wanted[current]
    with town.read() as connection:
        became = select(func.count()).select_from(transition)
        became = became.where(transition.c.run_id == item.id, transition.c.new == "active")
        assert connection.execute(became).scalar_one() == 1


def _gone(_count: int) -> None:
    raise EnoughError


def test_many_at_once_meet_classes_that_nobody_belonged_to(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    item, found = due(store, clock)
    made = planner(clock)
    with store.write() as connection:
        assert made.begin(connection, lock_run(connection, item.id), found)
        assert shards.cut(connection, item, WIDTH // 4)
        for zone, n in (("Asia/Tokyo", 7), ("Africa/Lagos", 11)):
            connection.execute(update(users).where(users.c.id % n == 0).values(zone_key=zone))
    with ThreadPoolExecutor(4) as pool:
        done = [one.result() for one in [pool.submit(made.plan, store, item, found) for _ in range(4)]]
    assert {one.state for one in done} == {RunState.ACTIVE}
    together = rows(store)
    assert together != wanted[0], "they are elsewhere"
    wipe_plans(store)
    item, found = due(store, clock)
    planner(clock, 10 * MANY).plan(store, item, found)
    assert rows(store) == together


# --- deaths -----------------------------------------------------------------------------------------------------------

_VICTIM = """
import os, signal, sys
from dataclasses import replace
from sqlalchemy import event
from orchestrator.clock import ManualClock
from orchestrator.plan.sharding import ShardPlanner
from orchestrator.store import Store
from tests import world

store, statements = Store(sys.argv[1]), int(sys.argv[2])
left = [statements]

@event.listens_for(store.writer_engine, "before_cursor_execute")
def die(*_):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)

planner = ShardPlanner(store, world.planner(ManualClock(world.OPENING)))
while planner.chunk() is not None:
    pass
"""


def _killed_at(store: Store, statement: int) -> int:
    """A worker's process that plans, killed before its so manieth statement; how it ended."""
    root = Path(__file__).parents[2]
    words = [sys.executable, "-c", _VICTIM, store.url, str(statement)]
    return subprocess.run(words, cwd=root, check=False, env={**os.environ, "PYTHONPATH": str(root)}).returncode


def test_processes_killed_in_the_middle_of_chunks_leave_nothing_and_lose_nothing(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    item = begun(store, clock)
    for statement in range(5, 40, size(12, 1)):
        assert _killed_at(store, statement) == -signal.SIGKILL
        assert exact(store, item.id)
        assert read(store, item.id).state is RunState.PLANNING
    done = planner(clock).plan(store, read(store, item.id), BUNDLES[0])
    assert (done.state, done.audience) == (RunState.ACTIVE, MANY)
    assert rows(store) == wanted[0]


def test_the_server_ends_whoever_freezes_with_a_shard_in_hand(
    store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, wanted: list[list[tuple[object, ...]]]
) -> None:
    monkeypatch.setattr(chunks, "PATIENCE", 1)
    item = begun(store, clock)
    frozen = Hand(store, planner(clock))
    while not frozen.inside.is_set() or frozen.future is None or frozen.future.done():
        frozen.future = None
        frozen.begin()
    done = planner(clock).plan(store, read(store, item.id), BUNDLES[0])
    assert done.state is RunState.ACTIVE
    frozen.go.set()
    assert isinstance(frozen.future.exception(60), Exception), "what it planned is gone with its connection"
    assert rows(store) == wanted[0]


# --- operators --------------------------------------------------------------------------------------------------------


def test_a_stopped_campaign_keeps_nothing_of_the_chunk_under_way(store: Store, clock: ManualClock) -> None:
    item = begun(store, clock)
    hand = Hand(store, planner(clock))
    hand.begin()
    hand.end()
    hand.begin()
    before = read(store, item.id).audience
    with store.write() as connection:
        set_campaign_state(connection, "lunch", CampaignState.STOPPED, clock.now(), "operator t")
    hand.end()
    assert read(store, item.id).audience == before
    assert exact(store, item.id)
    assert hand.sharing.chunk() is None
    ticks(store, clock).runs()
    assert left(store) == 0


def test_a_run_that_became_active_as_it_was_edited_keeps_its_members(store: Store, clock: ManualClock) -> None:
    item, found = due(store, clock)
    done = planner(clock).plan(store, item, found)
    digest = world.launch(store, BUNDLES[1], clock.now())
    with store.write() as connection:
        adopt(connection, item, BUNDLES[1], digest, clock.now(), "operator t")  # as it was before it was planned
        assert read_run(connection, item.id).reason == "adopting"
        set_run_state(connection, done.id, RunState.STOPPED, clock.now())
        adopt(connection, done, BUNDLES[0], done.version, clock.now(), "operator t")
        assert read_run(connection, item.id).state is RunState.STOPPED, "a stopped run never lives again"


# --- releases ---------------------------------------------------------------------------------------------------------


def _walks(store: Store, made: Planner, item: Run, bundle: Bundle, times: int | None = None) -> RunState:
    """How the release before shards plans: one chunk after the other, all under the run's lock."""
    statement = made.statement(bundle, store.dialect, item.local_date)
    while times is None or times > 0:
        times = None if times is None else times - 1
        with store.write() as connection:
            now = lock_run(connection, item.id)
            if now.state is not RunState.PLANNING:
                return now.state
            high = chunk_end(connection, now.planned_through, 400)
            if high is None:
                set_run_state(connection, item.id, RunState.ACTIVE, made.clock.now())
            else:
                made.chunk(connection, statement, now, bundle, high)
    return read(store, item.id).state


@pytest.mark.parametrize("before", [0, 2, 5])
def test_a_leader_of_the_release_before_comes_to_the_same(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]], before: int
) -> None:
    item, made = begun(store, clock), planner(clock)
    sharing = ShardPlanner(store, made)
    for _ in range(before):
        sharing.chunk()
        _walks(store, made, item, BUNDLES[0], 1)
        assert exact(store, item.id)
    assert _walks(store, made, item, BUNDLES[0]) is RunState.ACTIVE
    assert sharing.chunk() is None, "the shards are nobody's by now"
    assert read(store, item.id).audience == MANY
    assert rows(store) == wanted[0]


def test_workers_end_what_a_leader_of_the_release_before_has_begun_to_plan_again(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    item, made = begun(store, clock), planner(clock)
    _walks(store, made, item, BUNDLES[0], 3)
    sharing = ShardPlanner(store, made)
    while sharing.chunk() is not None:
        assert exact(store, item.id)
    assert read(store, item.id).state is RunState.ACTIVE
    assert rows(store) == wanted[0]


def _turns(store: Store, made: Planner, item: Run, bundle: Bundle) -> None:
    """How the release before shards takes on a version: it leaves them where they are."""
    now = made.clock.now()
    digest = world.launch(store, bundle, now)
    with store.write() as connection:
        locked = lock_run(connection, item.id)
        for table in (slot, slot_hour):
            connection.execute(delete(table).where(table.c.run_id == item.id))
        turn(connection, locked, digest, closes_at(bundle.campaign, item.occasion), now, "operator t")
        made.begin(connection, read_run(connection, item.id), bundle, checked=True)


def test_shards_of_a_version_that_the_release_before_left_and_came_back_to_are_nobodys(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    """They say how far the first plan came, of which the one between has left nothing."""
    item, made = begun(store, clock), planner(clock)
    worker = ShardPlanner(store, made)
    assert [worker.chunk(), worker.chunk()] == [0, FIRST_CHUNK], "it reads the version, and plans"
    _turns(store, made, item, BUNDLES[1])
    _walks(store, made, item, BUNDLES[1], 4)
    ticks(store, clock).shards()  # every worker's process, once a second
    _turns(store, made, item, BUNDLES[0])
    while worker.chunk() is not None:
        pass
    assert _walks(store, made, item, BUNDLES[0]) is RunState.ACTIVE
    assert exact(store, item.id)
    assert rows(store) == wanted[0]


def test_who_cannot_read_a_version_leaves_it_to_others(store: Store, clock: ManualClock) -> None:
    item = begun(store, clock)
    with store.write() as connection:
        for table in (run, shard):
            connection.execute(update(table).values(version="a later release's"))
    sharing = ShardPlanner(store, planner(clock))
    with pytest.raises(OrchestratorError):
        sharing.chunk()
    assert sharing.chunk() is None, "it is not asked for again"
    ticks(store, clock).shards()
    assert read(store, item.id).state is RunState.PLANNING
    with store.write() as connection:
        for table in (run, shard):
            connection.execute(update(table).values(version=item.version))
    assert ShardPlanner(store, planner(clock)).chunk() is not None


# --- the daemon -------------------------------------------------------------------------------------------------------


def ticks(store: Store, clock: ManualClock, *, stopping: bool = False) -> Ticks:
    made = planner(clock)
    return Ticks(store, Parts(clock, made.quiet, made, {}, {}, {}), stops=lambda: stopping)


def test_a_workers_process_ends_what_its_leader_left(
    store: Store, clock: ManualClock, wanted: list[list[tuple[object, ...]]]
) -> None:
    item = begun(store, clock)
    ticks(store, clock, stopping=True).shards()
    assert read(store, item.id).state is RunState.PLANNING, "not as it ends itself"
    ticks(store, clock).shards()
    assert read(store, item.id).state is RunState.ACTIVE
    assert rows(store) == wanted[0]


def test_a_leader_takes_up_what_is_in_shards(store: Store, clock: ManualClock) -> None:
    item = begun(store, clock, world.bundle(max_audience=MANY))
    with store.read() as connection:
        assert [one.id for one in runs_in(connection, RunState.PLANNING)] == [item.id]
    ticks(store, clock).runs()
    assert (read(store, item.id).state, read(store, item.id).audience) == (RunState.ACTIVE, MANY)
