"""An old backup does not send again what a newer ledger sent."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from orchestrator.clock import ManualClock, to_micros
from orchestrator.daemon.restoring import accept_restored, behind, check_restored
from orchestrator.errors import InputError
from orchestrator.ledger.retention import forget_messages
from orchestrator.ledger.stops import stopped_accounts
from orchestrator.plan.due import due_runs
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store
from orchestrator.store.guard import Guard, compact_guard, guard_path, read_guard
from orchestrator.store.tables import lane, member, message, run, slot
from tests import world
from tests.dispatch.doors import door, ends, through

LUNCH = datetime(2026, 12, 7, 9, 45, tzinfo=UTC)
ONE_STEP = {"steps": world.DEFINITION["steps"][:1]}
SENT = 6


def settings(tmp_path: Path) -> Settings:
    log = AccountSettings(channel="push", provider="log", options={"file": "x"})
    return Settings(database=str(tmp_path / "t.db"), accounts={"fcm": log})


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


@pytest.fixture
def backed_up(tmp_path: Path, clock: ManualClock) -> Settings:
    """Twelve people, six of whom were sent to after the backup was made; the backup is in place."""
    store = world.fresh(tmp_path / "t.db")
    for n in range(12):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(**ONE_STEP), clock)
    store.close()
    shutil.copy(tmp_path / "t.db", tmp_path / "backup.db")
    clock.instant = LUNCH
    store = Store(str(tmp_path / "t.db"))
    guard = Guard(tmp_path / "t.db.guard", clock.monotonic)
    made = door(store, clock, marked=guard.marked)
    while ends(store)["sending", None] < SENT:
        clock.instant += timedelta(minutes=1)
        through(made, clock, tmp_path)
    guard.close()
    assert behind(store, clock, settings(tmp_path)) == []
    store.close()
    for name in ("t.db-wal", "t.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "t.db")
    return settings(tmp_path)


def test_a_restored_backup_stops_every_account_until_an_operator_accepts(
    backed_up: Settings, clock: ManualClock, tmp_path: Path
) -> None:
    store = Store(backed_up.database)
    [found] = check_restored(store, clock, backed_up)
    assert (found.campaign, found.of, found.known_until) == ("lunch", "2026-12-07", None)
    with store.read() as connection:
        assert stopped_accounts(connection) == {"fcm": "restored"}
    clock.instant += timedelta(minutes=1)
    assert through(door(store, clock), clock, tmp_path) == []
    done = accept_restored(store, clock, backed_up, "operator test")
    assert (done["skipped"], done["accounts"]) == (ends(store)["skipped", "restored"], ["fcm"])
    assert done["skipped"] >= SENT
    assert check_restored(store, clock, backed_up) == []
    clock.instant = LUNCH + timedelta(minutes=50)
    leaving = through(door(store, clock), clock, tmp_path)
    assert len(leaving) == 12 - done["skipped"]
    store.close()


def test_a_run_that_the_backup_does_not_have_is_not_sent_again(backed_up: Settings, clock: ManualClock) -> None:
    store = Store(backed_up.database)
    with store.write() as connection:
        for table in (message, member, slot, lane, run):
            connection.execute(delete(table))
    [found] = check_restored(store, clock, backed_up)
    assert found.state == "missing"
    accept_restored(store, clock, backed_up, "operator test")
    with store.write() as connection:
        assert due_runs(connection, clock.now()) == []
        assert connection.execute(select(run.c.state, run.c.reason)).one() == ("stopped", "restored")
    assert check_restored(store, clock, backed_up) == []
    store.close()


def test_of_several_runs_of_one_date_only_that_which_was_sent_is_barred(tmp_path: Path, clock: ManualClock) -> None:
    """The guard tells instants apart: a morning's run that left does not keep the evening's from being sent."""
    morning, evening = datetime(2026, 12, 7, 9, tzinfo=UTC), datetime(2026, 12, 7, 14, tzinfo=UTC)
    path, options = tmp_path / "t.db.guard", settings(tmp_path)
    twice = world.bundle({"schedule": {"cron": "0 10,15 * * *", "zone": "Europe/Berlin"}, "window": {}, **ONE_STEP})
    store = world.fresh(tmp_path / "t.db")
    world.person(store, "anna")
    world.launch(store, twice, clock.now())
    path.write_text(f"lunch 2026-12-07T09:00:00Z {to_micros(morning + timedelta(minutes=1))} .\n")
    [found] = check_restored(store, clock, options)
    assert (found.of, found.state) == ("2026-12-07T09:00:00Z", "missing")
    accept_restored(store, clock, options, "operator test")
    with store.write() as connection:
        assert due_runs(connection, morning) == []  # made, and stopped at once
        [(item, _)] = due_runs(connection, evening)
        states = connection.execute(select(run.c.fires_at, run.c.state).order_by(run.c.id)).all()
    assert item.fires_at == evening
    assert [tuple(row) for row in states] == [(morning, "stopped"), (evening, "planning")]
    path.write_text(f"lunch 2026-12-07T14:00:00Z {to_micros(evening)} .\n")
    assert [(one.of, one.run_id) for one in behind(store, clock, options)] == [("2026-12-07T14:00:00Z", item.id)]
    store.close()


def test_a_run_that_was_forgotten_is_no_backup(tmp_path: Path, clock: ManualClock) -> None:
    """A daemon that ran for months has marks in its guard of messages that it has forgotten since."""
    store, options = world.fresh(tmp_path / "t.db"), settings(tmp_path)
    world.person(store, "anna")
    item = world.plan(store, world.bundle(**ONE_STEP), clock)
    guard = Guard(tmp_path / "t.db.guard", clock.monotonic)
    clock.instant = LUNCH + timedelta(minutes=50)
    assert len(through(door(store, clock, marked=guard.marked), clock, tmp_path)) == 1
    guard.close()
    with store.write() as connection:
        connection.execute(update(message).values(state="accepted", worker_id=None))
        connection.execute(update(run).values(state="done", finished_at=item.closes_at))
    clock.instant += timedelta(days=120)
    assert forget_messages(store, clock.now(), timedelta(days=100)) == 1
    assert check_restored(store, clock, options) == []
    store.close()


def test_an_account_cannot_be_resumed_past_it(backed_up: Settings, clock: ManualClock) -> None:
    from orchestrator.daemon.verbs import Desk, resume_account

    store = Store(backed_up.database)
    check_restored(store, clock, backed_up)
    with pytest.raises(InputError, match="restored"):
        resume_account(Desk(store, clock, backed_up), "fcm", "operator test")
    store.close()


def test_the_guard_keeps_the_last_mark_of_each_run_and_survives_a_torn_line(tmp_path: Path) -> None:
    path, clock = tmp_path / "t.guard", ManualClock(LUNCH)
    guard = Guard(path, clock.monotonic)
    days = "2026-12-07", "2026-12-08T01:00:00Z"
    for minute in range(5):
        guard.marked("lunch", days[minute % 2], LUNCH + timedelta(minutes=minute))
    guard.close()
    with path.open("a") as file:
        file.write("lunch 2026-12-08T01:00:00Z 1765")
    wanted = {("lunch", days[0]): LUNCH + timedelta(minutes=4), ("lunch", days[1]): LUNCH + timedelta(minutes=3)}
    assert read_guard(path) == wanted
    compact_guard(path, LUNCH)
    assert len(path.read_text().splitlines()) == 2
    assert read_guard(path) == wanted
    compact_guard(path, LUNCH + timedelta(days=90))
    assert read_guard(path) == {}


def test_a_torn_line_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    path, clock = tmp_path / "t.guard", ManualClock(LUNCH)
    path.write_text("lunch 2026-12-08 1765")
    compact_guard(path, LUNCH)
    guard = Guard(path, clock.monotonic)
    guard.marked("lunch", "2026-12-07", LUNCH)
    guard.close()
    assert read_guard(path) == {("lunch", "2026-12-07"): LUNCH}


def test_a_remote_database_has_no_file_beside_it() -> None:
    assert guard_path("postgresql://h/d") is None


def test_what_the_guard_costs_is_not_noticeable(tmp_path: Path) -> None:
    from time import perf_counter

    guard = Guard(tmp_path / "t.guard", perf_counter)
    began = perf_counter()
    for n in range(2000):
        guard.marked("lunch", "2026-12-07", LUNCH + timedelta(seconds=n))
    assert (perf_counter() - began) / 2000 < 0.001  # a batch of 200 messages takes tens of milliseconds
    guard.close()
