"""Whether a run has anything left is asked every few seconds, of runs of a million messages too."""

from __future__ import annotations

from pathlib import Path

from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.states import CampaignState
from orchestrator.store import Store
from tests import world


def test_no_message_that_is_done_is_looked_at(tmp_path: Path) -> None:
    store = world.fresh(tmp_path / "t.db")
    with store.read() as connection:
        sql = f"EXPLAIN QUERY PLAN {runs._pending_sql('sqlite').text}"
        plan = [row[3] for row in connection.exec_driver_sql(sql, {"run": 1}) if "message" in row[3]]
    store.close()
    assert len(plan) == 2
    assert all("ix_message_due" in line or "ix_message_held" in line for line in plan)


def test_no_stopped_run_is_looked_at_message_by_message(tmp_path: Path) -> None:
    store = world.fresh(tmp_path / "t.db")
    with store.read() as connection:
        sql = f"EXPLAIN QUERY PLAN {runs._leftovers_sql('sqlite').text}"
        plan = [row[3] for row in connection.exec_driver_sql(sql) if "message" in row[3]]
    store.close()
    assert len(plan) == 1
    assert "ix_message_due" in plan[0]


def test_a_stopped_run_has_leftovers_until_they_are_skipped(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    for name in ("ann", "bo"):
        world.person(store, name)
    item = world.plan(store, world.bundle(), clock)
    with store.write() as connection:
        assert runs.with_leftovers(connection) == []
        runs.set_campaign_state(connection, "lunch", CampaignState.STOPPED, clock.now(), "operator t")
        assert runs.with_leftovers(connection) == [item.id]
        assert runs.skip_stopped(connection, item.id, clock.now()) > 1
        assert runs.with_leftovers(connection) == []
