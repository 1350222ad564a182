"""At the mark PostgreSQL looks up what it is asked of some people, and does not read what there is of all."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from orchestrator.clock import ManualClock
from orchestrator.dispatch import door as gate
from orchestrator.store import Store
from orchestrator.store.dialect import by_user
from tests import world
from tests.dispatch.doors import door, through

pytestmark = [pytest.mark.postgresql, pytest.mark.on("postgresql")]

PEOPLE, OTHERS = 40, 2_500
_OTHERS = text("""
    INSERT INTO consent (user_id, channel, topic, granted, source, valid_from)
    SELECT 1000000 + n, 'push', 'promotions', TRUE, 'test', 0 FROM generate_series(1, :n) AS n""")


@pytest.fixture
def due(store: Store) -> ManualClock:
    """A run of some people, among many others; all of it due."""
    for n in range(PEOPLE):
        world.person(store, f"u{n}")
    with store.write() as connection:
        connection.execute(_OTHERS, {"n": OTHERS})
    clock = ManualClock(world.OPENING)
    only = {"steps": world.DEFINITION["steps"][:1], "window": {"local": "10:30-11:45", "spread": "0%"}}
    world.plan(store, world.bundle(only), clock)
    with store.write() as connection:
        connection.execute(text("ANALYZE"))
    clock.instant = world.MONDAY + timedelta(hours=10, minutes=15)
    return clock


def explained(store: Store, clock: ManualClock, folder: Path) -> str:
    """How the server answers what the gate asks, in the transaction in which it asks."""
    plans: list[str] = []

    def note(connection: Connection, _cursor: object, sql: str, values: Any, *_: object) -> None:
        if "member.zone_key" in sql and not sql.startswith("EXPLAIN"):
            plans.extend(connection.exec_driver_sql(f"EXPLAIN {sql}", values).scalars())

    event.listen(store.writer_engine, "before_cursor_execute", note)
    try:
        assert through(door(store, clock), clock, folder)
    finally:
        event.remove(store.writer_engine, "before_cursor_execute", note)
    assert plans
    return "\n".join(plans)


def test_the_mark_looks_up_the_consents_of_its_batch(store: Store, due: ManualClock, tmp_path: Path) -> None:
    assert "Seq Scan on consent" not in explained(store, due, tmp_path)


def test_by_the_servers_usual_costs_it_would_read_everybodys(
    store: Store, due: ManualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "by_user", lambda *_: None)
    assert "Seq Scan on consent" in explained(store, due, tmp_path)


def test_other_transactions_keep_the_usual_costs(store: Store, due: ManualClock, tmp_path: Path) -> None:
    assert through(door(store, due), due, tmp_path)
    with store.read() as connection:
        assert connection.execute(text("SHOW random_page_cost")).scalar_one() == "4"


def test_nothing_is_hashed_for_a_batch_and_elsewhere_as_ever(store: Store) -> None:
    """Where partitions alone are counted, as autovacuum leaves it, a hundred messages are taken for thousands."""

    def memory(connection: Connection) -> str:
        return str(connection.execute(text("SHOW work_mem")).scalar_one())

    with store.write() as connection:
        by_user(connection, 10)
        assert memory(connection) == "64kB"
    with store.write() as connection:
        assert memory(connection) == "4MB"
