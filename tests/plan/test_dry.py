"""A dry run counts what the plan would do, by the hours of whoever gets it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import select

from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import Occasion
from orchestrator.plan.dry import dry_run
from orchestrator.store.tables import member, message
from tests import world

DAY = date(2026, 12, 7)


def test_hours_are_those_of_zones_that_are_no_whole_hours_off(tmp_path: Path) -> None:
    zones = ["Asia/Kathmandu", "Asia/Kolkata", "America/St_Johns", "Pacific/Chatham", "Europe/Berlin"]
    store, clock = world.fresh(tmp_path / "t.db"), ManualClock(world.OPENING)
    for n in range(120):
        world.person(store, f"u{n}", zones[n % len(zones)])
    what = world.bundle(holdout="20%")
    with store.read() as connection:
        found = dry_run(connection, world.planner(clock), what, Occasion(DAY), clock.now())
    world.plan(store, what, clock)
    with store.read() as connection:
        rows = connection.execute(
            select(member.c.zone_key, message.c.due_at)
            .join(message, (message.c.run_id == member.c.run_id) & (message.c.user_id == member.c.user_id))
            .where(message.c.step == 1, ~message.c.held_out)
        ).all()
    store.close()
    assert 0 < len(rows) < 120
    assert found.hours == Counter(due.astimezone(ZoneInfo(zone)).hour for zone, due in rows)
    assert set(found.hours) == {10, 11}
