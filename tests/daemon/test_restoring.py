"""An old backup does not send again what a newer ledger sent."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, insert, select, update

from orchestrator.clock import ManualClock
from orchestrator.daemon.restoring import Watchman, accept_restored, behind, check_restored, guard_of
from orchestrator.daemon.shared_guard import SharedGuard
from orchestrator.daemon.verbs import Desk, resume_account
from orchestrator.errors import InputError
from orchestrator.ledger.history import Wanted, acts
from orchestrator.ledger.retention import forget_messages
from orchestrator.ledger.stops import stop_account, stopped_accounts
from orchestrator.plan.due import due_runs
from orchestrator.settings import AccountSettings, Settings
from orchestrator.store import Store
from orchestrator.store.guard import KEPT, FileGuard, Guard, GuardAwayError
from orchestrator.store.migrate import IDENTITY
from orchestrator.store.tables import lane, member, message, meta, run, slot
from tests import world
from tests.conftest import NewDatabase
from tests.dispatch.doors import door, ends, through
from tests.valkey import Valkey, valkey_server

LUNCH = datetime(2026, 12, 7, 9, 45, tzinfo=UTC)
ONE_STEP = {"steps": world.DEFINITION["steps"][:1]}
SENT = 6
NUMBERS = count()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(world.OPENING)


@pytest.fixture
def settings(database: str, request: pytest.FixtureRequest) -> Settings:
    """Of SQLite, whose guard is a file, and of PostgreSQL, whose guard is in Valkey."""
    log = AccountSettings(channel="push", provider="log", options={"file": "x"})
    found = Settings(database=database, accounts={"fcm": log}, redis_name=f"r{next(NUMBERS)}")
    if "://" not in database:
        return found
    return found.model_copy(update={"redis": SecretStr(request.getfixturevalue("valkey"))})


@pytest.fixture
def guard(settings: Settings, clock: ManualClock) -> Iterator[Guard]:
    """Of this database, as one process has it."""
    store = world.fresh(settings.database)
    made = guard_of(settings, clock, store)
    store.close()
    assert made is not None
    yield made
    made.close()


@pytest.fixture
def backed_up(  # one value each
    settings: Settings,
    guard: Guard,
    clock: ManualClock,
    new_database: NewDatabase,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> Settings:
    """Twelve people, six of whom were sent to after the backup was made; the backup is in place."""
    store = world.fresh(settings.database)
    for n in range(12):
        world.person(store, f"u{n}")
    world.plan(store, world.bundle(**ONE_STEP), clock)
    store.close()
    backup = new_database(store.dialect)
    _put_back(backup, settings.database, request)
    clock.instant = LUNCH
    store = Store(settings.database)
    made = door(store, clock, marked=guard.marked)
    while ends(store)["sending", None] < SENT:
        clock.instant += timedelta(minutes=1)
        through(made, clock, tmp_path)
    assert behind(store, clock, guard) == []
    store.close()
    _put_back(settings.database, backup, request)
    return settings


def _put_back(database: str, backup: str, request: pytest.FixtureRequest) -> None:
    if "://" in database:
        request.getfixturevalue("postgres").put_back(database, backup)
        return
    for name in ("-wal", "-shm"):
        Path(f"{database}{name}").unlink(missing_ok=True)
    shutil.copy(backup, database)


def test_a_restored_backup_stops_every_account_until_an_operator_accepts(
    backed_up: Settings, guard: Guard, clock: ManualClock, tmp_path: Path
) -> None:
    store = Store(backed_up.database)
    [found] = check_restored(store, clock, backed_up, guard)
    assert (found.campaign, found.of, found.known_until) == ("lunch", "2026-12-07", None)
    with store.read() as connection:
        assert stopped_accounts(connection) == {"fcm": "restored"}
    clock.instant += timedelta(minutes=1)
    assert through(door(store, clock), clock, tmp_path) == []
    done = accept_restored(store, clock, backed_up, "operator test")
    assert (done["skipped"], done["accounts"]) == (ends(store)["skipped", "restored"], ["fcm"])
    assert done["skipped"] >= SENT
    with store.read() as connection:
        told = [(one.actor, one.new, one.campaign, one.reason) for one in acts(connection, Wanted(), 3)]
    until = f"{found.sent_until:%Y-%m-%d %H:%M:%SZ}"
    of_run = f"restored: 2026-12-07 was sent until {until}, {done['skipped']} skipped"
    assert told == [
        ("operator test", "resumed", None, "account fcm"),
        ("operator test", "accepted", "lunch", of_run),
        ("daemon", "stopped", None, "account fcm: restored"),
    ]
    assert check_restored(store, clock, backed_up, guard) == []
    clock.instant = LUNCH + timedelta(minutes=50)
    leaving = through(door(store, clock), clock, tmp_path)
    assert len(leaving) == 12 - done["skipped"]
    store.close()


def test_a_run_that_the_backup_does_not_have_is_not_sent_again(
    backed_up: Settings, guard: Guard, clock: ManualClock
) -> None:
    store = Store(backed_up.database)
    with store.write() as connection:
        for table in (message, member, slot, lane, run):
            connection.execute(delete(table))
    [found] = check_restored(store, clock, backed_up, guard)
    assert found.state == "missing"
    accept_restored(store, clock, backed_up, "operator test")
    with store.write() as connection:
        assert due_runs(connection, clock.now()) == []
        assert connection.execute(select(run.c.state, run.c.reason)).one() == ("stopped", "restored")
    assert check_restored(store, clock, backed_up, guard) == []
    store.close()


def test_of_several_runs_of_one_date_only_that_which_was_sent_is_barred(
    settings: Settings, guard: Guard, clock: ManualClock
) -> None:
    """The guard tells instants apart: a morning's run that left does not keep the evening's from being sent."""
    morning, evening = datetime(2026, 12, 7, 9, tzinfo=UTC), datetime(2026, 12, 7, 14, tzinfo=UTC)
    twice = world.bundle({"schedule": {"cron": "0 10,15 * * *", "zone": "Europe/Berlin"}, "window": {}, **ONE_STEP})
    store = world.fresh(settings.database)
    world.person(store, "anna")
    world.launch(store, twice, clock.now())
    guard.marked("lunch", "2026-12-07T09:00:00Z", morning + timedelta(minutes=1))
    [found] = check_restored(store, clock, settings, guard)
    assert (found.of, found.state) == ("2026-12-07T09:00:00Z", "missing")
    accept_restored(store, clock, settings, "operator test")
    with store.write() as connection:
        assert due_runs(connection, morning) == []  # made, and stopped at once
        [(item, _)] = due_runs(connection, evening)
        states = connection.execute(select(run.c.fires_at, run.c.state).order_by(run.c.id)).all()
    assert item.fires_at == evening
    assert [tuple(row) for row in states] == [(morning, "stopped"), (evening, "planning")]
    guard.marked("lunch", "2026-12-07T14:00:00Z", evening)
    late = [one for one in behind(store, clock, guard) if one.of == "2026-12-07T14:00:00Z"]
    assert [one.run_id for one in late] == [item.id]
    store.close()


def sent(store: Store, guard: Guard, clock: ManualClock, tmp_path: Path) -> datetime:
    """One person's run, sent; when it closes."""
    world.person(store, "anna")
    item = world.plan(store, world.bundle(**ONE_STEP), clock)
    clock.instant = LUNCH + timedelta(minutes=50)
    assert len(through(door(store, clock, marked=guard.marked), clock, tmp_path)) == 1
    return item.closes_at


@pytest.mark.parametrize("later", [timedelta(days=120), KEPT - timedelta(days=10)], ids=["long", "not long"])
def test_a_run_that_was_forgotten_is_no_backup(
    settings: Settings, guard: Guard, clock: ManualClock, tmp_path: Path, later: timedelta
) -> None:
    """A daemon that ran for months has marks in its guard of messages that it has forgotten since."""
    store = world.fresh(settings.database)
    closes_at = sent(store, guard, clock, tmp_path)
    with store.write() as connection:
        connection.execute(update(message).values(state="accepted", worker_id=None))
        connection.execute(update(run).values(state="done", finished_at=closes_at))
        times = dict.fromkeys(("as_of", "closes_at", "created_at"), clock.now() + later)
        newer = {"id": 1000, "campaign": "later", "version": "", "local_date": "2027-01-01", "state": "active"}
        connection.execute(insert(run).values(**newer, **times))  # PostgreSQL forgets blocks of runs that are full
    clock.instant += later
    assert forget_messages(store, clock.now(), later - timedelta(days=10)) == 1
    assert check_restored(store, clock, settings, guard) == []
    store.close()


def test_a_run_that_ended_before_its_last_mark_is_a_backup(
    settings: Settings, guard: Guard, clock: ManualClock, tmp_path: Path
) -> None:
    """Stopped, resumed by a release of ours, whatever: what the ledger says of its end does not cover a later mark."""
    store = world.fresh(settings.database)
    closes_at = sent(store, guard, clock, tmp_path)
    with store.write() as connection:
        connection.execute(update(run).values(state="done", finished_at=closes_at))
    guard.marked("lunch", "2026-12-07", closes_at + timedelta(seconds=1))
    assert [one.state for one in behind(store, clock, guard)] == ["done"]
    store.close()


def test_an_account_cannot_be_resumed_past_it(backed_up: Settings, guard: Guard, clock: ManualClock) -> None:
    store = Store(backed_up.database)
    check_restored(store, clock, backed_up, guard)
    with pytest.raises(InputError, match="restored"):
        resume_account(Desk(store, clock, backed_up), "fcm", "operator test")
    store.close()


def test_the_last_mark_of_each_run_is_kept_for_as_long_as_its_messages_may_wait(
    settings: Settings, guard: Guard, clock: ManualClock
) -> None:
    days = "2026-12-07", "2026-12-08T01:00:00Z"
    for minute in (0, 1, 4, 3, 2):  # two processes' marks may arrive in another order
        guard.marked("lunch", days[minute % 2], LUNCH + timedelta(minutes=minute))
    wanted = {("lunch", days[0]): LUNCH + timedelta(minutes=4), ("lunch", days[1]): LUNCH + timedelta(minutes=3)}
    guard.close()
    store = world.fresh(settings.database)
    again = guard_of(settings, clock, store)
    store.close()
    assert again is not None
    assert again.remembered(LUNCH) == wanted
    again.tidy(LUNCH)
    assert again.remembered(LUNCH) == wanted
    assert again.remembered(LUNCH + KEPT + timedelta(days=1)) == {}
    again.tidy(LUNCH + KEPT + timedelta(days=1))
    assert again.remembered(LUNCH) == {}
    again.close()


def test_a_clock_that_is_behind_lowers_no_messages_last_mark(store: Store, tmp_path: Path) -> None:
    """What it is compared with, after a restore, goes up alone: nobody is stopped for a retry on another machine."""
    clock = ManualClock(world.OPENING)
    world.person(store, "anna")
    world.plan(store, world.bundle(**ONE_STEP), clock)
    made, first = door(store, clock), LUNCH + timedelta(minutes=50)
    for clock.instant in (first, first - timedelta(seconds=1)):
        assert len(through(made, clock, tmp_path)) == 1
        with store.write() as connection:
            connection.execute(update(message).values(state="planned", worker_id=None))
    with store.read() as connection:
        assert connection.execute(select(message.c.sent_at)).scalar_one() == first


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_file_survives_a_torn_line_and_is_made_short(tmp_path: Path) -> None:
    path, clock = tmp_path / "t.guard", ManualClock(LUNCH)
    path.write_text("lunch 2026-12-08 1765")
    FileGuard(path, clock.monotonic).tidy(LUNCH)
    guard = FileGuard(path, clock.monotonic)
    for minute in range(5):
        guard.marked("lunch", "2026-12-07", LUNCH + timedelta(minutes=minute))
    guard.close()
    with path.open("a") as file:
        file.write("lunch 2026-12-08T01:00:00Z 1765")
    wanted = {("lunch", "2026-12-07"): LUNCH + timedelta(minutes=4)}
    assert guard.remembered(LUNCH) == wanted
    guard.tidy(LUNCH)
    assert len(path.read_text().splitlines()) == 1
    assert guard.remembered(LUNCH) == wanted


def test_what_the_guard_costs_is_not_noticeable(tmp_path: Path) -> None:
    from time import perf_counter

    guard = FileGuard(tmp_path / "t.guard", perf_counter)
    began = perf_counter()
    for n in range(2000):
        guard.marked("lunch", "2026-12-07", LUNCH + timedelta(seconds=n))
    assert (perf_counter() - began) / 2000 < 0.001  # a batch of 200 messages takes tens of milliseconds
    guard.close()


# --- Redis or Valkey --------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[Valkey]:
    """One that may be taken away."""
    with valkey_server() as made:
        yield made


@pytest.mark.on("postgresql")
def test_a_postgresql_without_redis_has_no_guard(store: Store, clock: ManualClock) -> None:
    assert guard_of(Settings(database=store.url), clock, store) is None


@pytest.mark.on("postgresql")
def test_the_key_ends_by_itself_and_is_this_databases_alone(
    settings: Settings, guard: Guard, clock: ManualClock, new_database: NewDatabase
) -> None:
    """Parts of a deployment, each with a database of its own, may share the server and the name."""
    other_store = world.fresh(new_database("postgresql"))
    with other_store.write() as connection:
        connection.execute(update(meta).where(meta.c.key == IDENTITY).values(value="another"))
    other = guard_of(settings.model_copy(update={"database": other_store.url}), clock, other_store)
    other_store.close()
    guard.marked("lunch", "2026-12-07", LUNCH)
    assert isinstance(guard, SharedGuard)
    assert guard._client.ttl(guard._key) == pytest.approx(KEPT.total_seconds(), abs=5)
    assert other is not None
    assert (other.remembered(LUNCH), len(guard.remembered(LUNCH))) == ({}, 1)
    other.close()


def test_a_server_that_is_away_stops_no_mark_and_every_comparison(server: Valkey, clock: ManualClock) -> None:
    guard = SharedGuard(server.address, "x", clock.monotonic)
    server.stop()
    guard.marked("lunch", "2026-12-07", LUNCH)  # the ledger has it
    guard.tidy(LUNCH)
    with pytest.raises(GuardAwayError, match="does not answer"):
        guard.remembered(LUNCH)
    server.start()
    guard.marked("dinner", "2026-12-07", LUNCH)
    assert guard.remembered(LUNCH) == {}  # left alone for a second
    clock.advance(timedelta(seconds=2))
    guard.marked("dinner", "2026-12-07", LUNCH + timedelta(seconds=2))
    last = {("lunch", "2026-12-07"): LUNCH, ("dinner", "2026-12-07"): LUNCH + timedelta(seconds=2)}
    assert guard.remembered(LUNCH) == last, "what could not be written is written with the next"
    guard.close()


@pytest.mark.parametrize("noticed", [True, False], ids=["before", "after"])
def test_a_run_that_is_made_anew_before_anybody_notices_is_not_sent(
    settings: Settings, guard: Guard, clock: ManualClock, tmp_path: Path, noticed: bool
) -> None:
    """The guard may have been away when the scheduler began."""
    store = world.fresh(settings.database)
    world.person(store, "anna")
    guard.marked("lunch", "2026-12-07", world.OPENING - timedelta(minutes=1))
    if noticed:
        check_restored(store, clock, settings, guard)
        item = None
    else:
        item = world.plan(store, world.bundle(**ONE_STEP), clock)
        [found] = check_restored(store, clock, settings, guard)
        assert found.state == "made anew"
    assert len(behind(store, clock, guard)) == 1, "until somebody accepts it"
    accept_restored(store, clock, settings, "operator test")
    if item is None:
        world.launch(store, world.bundle(**ONE_STEP), clock.now())
        with store.write() as connection:
            assert due_runs(connection, clock.now()) == []
    clock.instant = LUNCH + timedelta(minutes=50)
    assert through(door(store, clock), clock, tmp_path) == []
    assert behind(store, clock, guard) == []
    store.close()


def test_an_account_that_was_stopped_already_is_stopped_for_this_too(
    backed_up: Settings, guard: Guard, clock: ManualClock
) -> None:
    store = Store(backed_up.database)
    with store.write() as connection:
        stop_account(connection, "fcm", "401", clock.machine(), clock.now(), "fcm")
    check_restored(store, clock, backed_up, guard)
    with pytest.raises(InputError, match="restored"):
        resume_account(Desk(store, clock, backed_up), "fcm", "operator test")
    store.close()


@pytest.mark.on("postgresql")
def test_whoever_cannot_compare_sends_nothing_until_it_can(
    store: Store, server: Valkey, clock: ManualClock, settings: Settings
) -> None:
    guard = SharedGuard(server.address, "x", clock.monotonic)
    watchman = Watchman(store, clock, settings, guard)
    server.stop()
    watchman.look()
    found = [watchman.sure]
    server.start()
    guard.marked("lunch", "2026-12-07", LUNCH)
    watchman.look()
    found.append(watchman.sure)
    with store.read() as connection:
        assert stopped_accounts(connection) == {"fcm": "restored"}
    watchman.doubt()
    assert [*found, watchman.sure] == [False, True, False]
    guard.close()
