"""What the daemon does by itself, a little at every tick: learn best hours, forget what is old."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, make_url, select, text
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.channel.base import Health
from orchestrator.clock import ManualClock
from orchestrator.daemon.checkup import look_around
from orchestrator.daemon.errands import Errands
from orchestrator.settings import BestTimeSettings, Settings
from orchestrator.store import Store
from orchestrator.store.blocks import BLOCK, blocks, keep_blocks
from orchestrator.store.tables import best_hour, campaign, event, receipt, run
from tests import world
from tests.ledger.test_retention import NOW, over


def test_best_hours_are_learned_by_the_settings(tmp_path: Path) -> None:
    store, clock = world.fresh(tmp_path / "t.db"), ManualClock(world.OPENING)
    for name, times in (("ada", 3), ("bob", 2)):
        world.person(store, name)
        for n in range(times):
            world.did(store, name, "started", clock.now() - timedelta(days=n))
    said = Settings(database=str(tmp_path / "t.db"), best_time=BestTimeSettings(event="started", least_history=3))
    errands = Errands(store, clock, said, None, None)
    assert errands.best_hours in errands.works()
    errands.best_hours()
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(best_hour)).scalar() == 1
    store.close()


@pytest.mark.parametrize("kept", [None, timedelta(days=100)])
def test_what_is_old_is_forgotten_where_the_settings_say_so(store: Store, kept: timedelta | None) -> None:
    clock = ManualClock(NOW)
    over(store, 1, ended=NOW - timedelta(days=101))
    over(store, 300, ended=None)
    world.person(store, "ada")
    world.did(store, "ada", "app_open", NOW - timedelta(days=401))
    world.did(store, "ada", "app_open", NOW)
    said = Settings(database=store.url, keep_messages=kept, keep_events=kept and timedelta(days=400))
    Errands(store, clock, said, None, None).room()
    with store.read() as connection:
        gone = list(connection.execute(select(run.c.id).where(run.c.forgotten_at.is_not(None))).scalars())
        events = connection.execute(select(func.count()).select_from(event)).scalar()
        there = {block.first for block in blocks(connection)}
    assert (gone, events) == (([1], 1) if kept else ([], 2))
    assert store.dialect == "sqlite" or 256 + BLOCK in there  # ahead of the run 300, which came before its own block


@pytest.mark.on("sqlite")
@pytest.mark.parametrize(
    "asks",
    [
        {"goal": {"event": "order_paid", "within": "180d"}},
        {"goal": {"event": "app_open", "conversion": {"event": "order_paid", "within": "180d"}}},
        {"schedule": {"trigger": {"event": "cart_updated", "again_after": "180d"}}},
    ],
    ids=["goal", "conversion", "again_after"],
)
def test_who_is_still_asked_about_is_not_forgotten(store: Store, asks: dict[str, object]) -> None:
    world.launch(store, world.bundle(asks), NOW)
    over(store, 1, ended=NOW - timedelta(days=101))
    for days, gone in (0, 0), (100, 1):
        clock = ManualClock(NOW + timedelta(days=days))
        Errands(store, clock, Settings(database=store.url, keep_messages=timedelta(days=100)), None, None).room()
        with store.read() as connection:
            assert len(connection.execute(select(run.c.id).where(run.c.forgotten_at.is_not(None))).all()) == gone


@pytest.fixture
def clerk(store: Store) -> Iterator[Store]:
    """The same database, to a role that may write every row and owns no table."""
    name = f"clerk_{make_url(store.url).database}"
    grants = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}"
    with store.write() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name}")
        connection.exec_driver_sql(grants)
    url = make_url(store.url).update_query_dict({"options": f"-c role={name}"})
    made = Store(url.render_as_string(hide_password=False))
    yield made
    made.close()
    with store.write() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {name}")
        connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.mark.on("postgresql")
def test_a_role_that_owns_no_tables_does_what_it_may_and_says_once_what_it_may_not(
    store: Store, clerk: Store, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock(NOW)
    over(store, 1, ended=NOW - timedelta(days=101))
    over(store, 30 * BLOCK, ended=NOW - timedelta(days=101))  # in no block
    over(store, 40 * BLOCK, ended=None)
    world.person(store, "ada")
    for days in (401, 0):
        world.did(store, "ada", "app_open", NOW - timedelta(days=days))
    said = Settings(database=clerk.url, keep_messages=timedelta(days=100), keep_events=timedelta(days=400))
    errands = Errands(clerk, clock, said, None, None)
    for _ in range(3):
        errands.room()
    with store.read() as connection:
        gone = list(connection.execute(select(run.c.id).where(run.c.forgotten_at.is_not(None))).scalars())
        assert connection.execute(select(func.count()).select_from(event)).scalar() == 1
        assert connection.execute(select(func.count()).select_from(receipt)).scalar() == 2, "of a block nothing goes"
    assert gone == [30 * BLOCK]
    [told] = [one for one in caplog.records if one.msg == "blocks_not_ours"]
    assert "GRANT" in vars(told)["next"]
    [line] = [line for line in look_around(Settings(database=clerk.url), clock) if line.what == "partitions"]
    assert (line.health, "GRANT" in line.hint) == (Health.BROKEN, True)
    assert keep_blocks(clerk) == [], "as a daemon of such a role does at its start"


def test_what_one_job_fails_at_keeps_no_other_from_its_work(store: Store) -> None:
    clock = ManualClock(NOW)
    world.person(store, "ada")
    for days in (401, 0):
        world.did(store, "ada", "app_open", NOW - timedelta(days=days))
    with store.write() as connection:
        launched = {"name": "c", "version": "v", "state": "running", "launched_at": NOW, "updated_at": NOW}
        connection.execute(insert(campaign).values(launched))
        connection.execute(text("ALTER TABLE version RENAME TO gone"))  # what forgetting messages reads
    said = Settings(database=store.url, keep_messages=timedelta(days=100), keep_events=timedelta(days=400))
    with pytest.raises(SQLAlchemyError):
        Errands(store, clock, said, None, None).room()
    with store.read() as connection:
        assert connection.execute(select(func.count()).select_from(event)).scalar() == 1
