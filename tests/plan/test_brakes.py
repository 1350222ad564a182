"""A run much larger than usual waits for somebody; nobody comes: it is not sent."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import insert, select

from orchestrator.audience import people
from orchestrator.clock import ManualClock
from orchestrator.daemon.alert_words import words
from orchestrator.daemon.ticks import Ticks
from orchestrator.daemon.verbs import Desk, confirm
from orchestrator.daemon.wiring import Parts
from orchestrator.errors import InputError, NotFoundError
from orchestrator.ledger.alerts import waiting_alerts
from orchestrator.ledger.runs import Run, read_run, runs_in
from orchestrator.ledger.states import RunState
from orchestrator.plan import brakes
from orchestrator.plan.brakes import brake, unusual, usual_size
from orchestrator.plan.due import due_runs
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.store.tables import member, run, transition
from tests import world


def crowd(store: Store, n: int) -> None:
    with store.write() as connection:
        rows = [people.UserRow(f"u{i}", "U", "en", "Europe/Berlin", "DE") for i in range(n)]
        people.upsert_users(connection, rows, world.OPENING)


def finished(store: Store, *sizes: int, state: str = "done") -> None:
    with store.write() as connection:
        for n, size in enumerate(sizes):
            day, at = date(2026, 11, 1) + timedelta(days=n), world.OPENING - timedelta(days=30 - n)
            row = {"campaign": "lunch", "version": "v", "local_date": str(day), "state": state, "audience": size}
            connection.execute(insert(run).values(**row, as_of=at, closes_at=at, created_at=at))


def ticks(store: Store, clock: ManualClock) -> Ticks:
    made = world.planner(clock)
    return Ticks(store, Parts(clock, made.quiet, made, {}, {}, {}))


def due(store: Store, clock: ManualClock, **changes: object) -> Run:
    world.launch(store, world.bundle(changes), clock.now())
    ticks(store, clock).runs()
    with store.read() as connection:
        return read_run(
            connection, connection.execute(select(run.c.id).order_by(run.c.id.desc())).scalars().first() or 0
        )


def desk(store: Store, clock: ManualClock) -> Desk:
    return Desk(store, clock, Settings(database=store.url))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brakes, "LARGE", 10)


@pytest.mark.parametrize(
    ("sizes", "usual"),
    [
        ((), None),
        ((5, 5), None),
        ((5, 7, 9), 7),
        ((1000, 1, 2, 3, 4, 5), 3),
        ((10, 10, 10, 99, 99), 10),
        ((9, 0, 8, 0, 7, 0, 0, 0), 8),
        ((0, 0, 0, 0, 0), None),
    ],
)
def test_what_is_usual(store: Store, sizes: tuple[int, ...], usual: int | None) -> None:
    """The median of the latest five that are finished and had anybody."""
    finished(store, *sizes)
    with store.read() as connection:
        assert usual_size(connection, "lunch") == usual
        assert usual_size(connection, "other") is None


@pytest.mark.parametrize(
    ("audience", "usual", "says"),
    [
        (5000, None, False),
        (3000, 1000, False),
        (3001, 1000, True),
        (1000, 10, False),
        (1001, 10, True),
        (1001, 0, True),
    ],
)
def test_what_is_unusual(audience: int, usual: int | None, *, says: bool) -> None:
    assert unusual(audience, usual) is says


@pytest.mark.usefixtures("small")
def test_it_waits_and_is_told_of_once(store: Store) -> None:
    crowd(store, 40)
    finished(store, 5, 6, 7)
    clock = ManualClock(world.OPENING)
    item = due(store, clock)
    assert (item.state, item.reason) == (RunState.PLANNING, "unusual_size")
    for _ in range(3):
        ticks(store, clock).runs()
    with store.read() as connection:
        [alert] = waiting_alerts(connection, clock.machine(), clock.now())
        assert connection.execute(select(member.c.user_id)).all() == []
        [_line] = connection.execute(select(transition.c.reason).where(transition.c.reason == "unusual_size")).all()
    assert alert.facts == {"campaign": "lunch", "date": "2026-12-07", "audience": 40, "usual": 6}
    assert "orchestrator confirm lunch --run 2026-12-07" in words(alert)["en"]
    assert "40" in words(alert)["zh"]


@pytest.mark.usefixtures("small")
def test_confirmed_it_goes_on(store: Store) -> None:
    crowd(store, 40)
    finished(store, 5, 6, 7)
    clock = ManualClock(world.OPENING)
    item = due(store, clock)
    assert confirm(desk(store, clock), "lunch", "2026-12-07", "operator mei") == {
        "campaign": "lunch",
        "runs": ["2026-12-07"],
    }
    with pytest.raises(InputError, match="does not wait"):
        confirm(desk(store, clock), "lunch", "2026-12-07", "operator mei")
    ticks(store, clock).runs()
    with store.read() as connection:
        after = read_run(connection, item.id)
        told = connection.execute(select(transition.c.actor).where(transition.c.reason == "confirmed")).scalars().all()
    assert (after.state, after.reason, after.audience) == (RunState.ACTIVE, None, 40)
    assert told == ["operator mei"]


@pytest.mark.usefixtures("small")
def test_nobody_confirms_it(store: Store) -> None:
    crowd(store, 40)
    finished(store, 5, 6, 7)
    clock = ManualClock(world.OPENING)
    item = due(store, clock)
    clock.instant = item.closes_at
    with pytest.raises(InputError, match="no run of lunch waits"):
        confirm(desk(store, clock), "lunch", "", "operator mei")
    ticks(store, clock).runs()
    with store.read() as connection:
        after = read_run(connection, item.id)
        assert runs_in(connection, RunState.PLANNING) == []
    assert (after.state, after.reason) == (RunState.STOPPED, "unusual_size")


@pytest.mark.usefixtures("small")
def test_too_large_stays_too_large(store: Store) -> None:
    """``max_audience`` cannot be confirmed away."""
    crowd(store, 40)
    finished(store, 5, 6, 7)
    clock = ManualClock(world.OPENING)
    item = due(store, clock, max_audience=30)
    assert (item.state, item.reason) == (RunState.STOPPED, "max_audience")


@pytest.mark.usefixtures("small")
def test_what_has_begun_is_not_asked_again(store: Store) -> None:
    """A run that is taken up after a crash: others may have finished, or been imported, meanwhile."""
    crowd(store, 40)
    clock = ManualClock(world.OPENING)
    what = world.bundle()
    world.launch(store, what, clock.now())
    with store.write() as connection:
        [(item, found)] = due_runs(connection, clock.now())
        world.planner(clock).begin(connection, item, found)
    finished(store, 5, 6, 7)
    with store.read() as connection:
        assert brake(connection, item, found) is None


def test_without_a_past_nothing_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd(store, 3)
    monkeypatch.setattr(brakes, "_count", lambda *_: pytest.fail("counted"))
    assert due(store, ManualClock(world.OPENING)).state is RunState.ACTIVE


def test_a_campaign_that_nobody_launched(store: Store) -> None:
    with pytest.raises(NotFoundError, match="never launched"):
        confirm(desk(store, ManualClock(datetime(2026, 12, 7, tzinfo=world.OPENING.tzinfo))), "lunch", "", "me")
