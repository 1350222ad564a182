"""Whether a run has anything left is asked every few seconds, of runs of a million messages too."""

from __future__ import annotations

from pathlib import Path

from orchestrator.ledger import runs
from tests import world


def test_no_message_that_is_done_is_looked_at(tmp_path: Path) -> None:
    store = world.fresh(tmp_path / "t.db")
    with store.read() as connection:
        sql = f"EXPLAIN QUERY PLAN {runs._PENDING.text}"
        plan = [row[3] for row in connection.exec_driver_sql(sql, {"run": 1}) if "message" in row[3]]
    store.close()
    assert len(plan) == 2
    assert all("ix_message_due" in line or "ix_message_held" in line for line in plan)
