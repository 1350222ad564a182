"""PostgreSQL is told to count what much was written to, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from orchestrator.audience.importing import import_file
from orchestrator.clock import ManualClock, SystemClock, to_micros
from orchestrator.store import Store
from orchestrator.store.counts import MANY, count_stale
from tests import world

_FILL = text("""
    INSERT INTO users (external_id, attributes, zone_key, created_at, updated_at)
    SELECT 'u' || i, '{}', '', :at, :at FROM generate_series(1, :n) AS i""")


def fill(store: Store, people: int) -> None:
    with store.write() as connection:
        connection.execute(_FILL, {"n": people, "at": to_micros(world.OPENING)})
        connection.exec_driver_sql("SELECT pg_stat_force_next_flush()")  # else it says so when it is idle


def counted(store: Store, table: str = "users") -> int:
    """Rows as PostgreSQL has counted them; -1 when it never did."""
    with store.read() as connection:
        found = connection.execute(text("SELECT reltuples FROM pg_class WHERE oid = to_regclass(:t)"), {"t": table})
        return int(found.scalar_one())


@pytest.mark.on("postgresql")
def test_what_was_filled_is_counted_once(store: Store) -> None:
    fill(store, 2 * MANY)
    assert counted(store) == -1
    assert (count_stale(store), counted(store)) == (["users"], 2 * MANY)
    assert count_stale(store) == []


@pytest.mark.on("postgresql")
def test_what_has_hardly_changed_is_left_alone(store: Store) -> None:
    fill(store, MANY - 1)
    assert count_stale(store) == []


@pytest.mark.on("postgresql")
def test_a_table_that_somebody_has_locked_is_not_waited_for(store: Store) -> None:
    fill(store, 2 * MANY)
    with store.write() as vacuum:
        vacuum.exec_driver_sql("LOCK TABLE users IN SHARE UPDATE EXCLUSIVE MODE")
        count_stale(store)
    assert counted(store) == -1
    assert count_stale(store) == ["users"]


@pytest.mark.on("postgresql")
def test_an_import_leaves_nothing_uncounted(store: Store, tmp_path: Path) -> None:
    (tmp_path / "u.csv").write_text("user,name\n" + "".join(f"u{n},Name\n" for n in range(MANY)))
    mapping = {"columns": {"external_id": "user", "name": "name"}}
    assert import_file(store, "users", tmp_path / "u.csv", mapping, SystemClock()).written == MANY
    assert counted(store) == MANY


@pytest.mark.on("postgresql")
def test_a_plan_has_what_came_by_other_ways_counted_first(store: Store) -> None:
    world.person(store, "ada")
    fill(store, 2 * MANY)
    clock = ManualClock(world.OPENING)
    world.plan(store, world.bundle(), clock)
    assert counted(store) == 2 * MANY + 1


@pytest.mark.on("sqlite")
def test_sqlite_has_nothing_to_count(store: Store) -> None:
    assert count_stale(store) == []


@pytest.mark.on("postgresql")
@pytest.mark.parametrize(("people", "known"), [(MANY, MANY), (MANY - 1, -1)])
def test_a_planned_run_is_counted_where_it_lies_if_it_is_large(store: Store, people: int, known: int) -> None:
    fill(store, people)
    world.plan(store, world.bundle(), ManualClock(world.OPENING))
    assert counted(store, "member_r0") == known
