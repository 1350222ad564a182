"""A dry run counts what the plan would do, by the hours of whoever gets it."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection, select, text
from typing_extensions import override

from orchestrator.campaign.version import Bundle
from orchestrator.clock import ManualClock
from orchestrator.ledger.runs import Occasion, Run, read_run
from orchestrator.ledger.states import RunState
from orchestrator.plan.dry import dry_run
from orchestrator.plan.planner import Planner
from orchestrator.store import Store
from orchestrator.store.tables import member, message
from tests import world

DAY = date(2026, 12, 7)
FIRST = text("CREATE TEMPORARY TABLE earlier (id bigint) ON COMMIT DROP")
"""PostgreSQL looks again at what a connection has prepared when it makes its first temporary table, and never after."""


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


class Looking(Planner):
    """Reads the run that it begins to plan, as the door does for each batch."""

    @override
    def begin(self, connection: Connection, item: Run, bundle: Bundle, **more: Any) -> bool:
        assert read_run(connection, item.id).state is RunState.PLANNING
        return super().begin(connection, item, bundle, **more)


@pytest.mark.on("postgresql")
def test_what_the_ledger_was_asked_before_is_asked_of_the_scratch_tables(store: Store) -> None:
    clock = ManualClock(world.OPENING)
    world.person(store, "u1")
    world.plan(store, world.bundle(), clock)
    usual = world.planner(clock)
    looking = Looking(**{name: getattr(usual, name) for name in Planner.__dataclass_fields__})
    with store.read() as connection:
        connection.execute(FIRST)
        real = read_run(connection, 1)
        assert real.state is not RunState.PLANNING
        assert dry_run(connection, looking, world.bundle(), Occasion(DAY), clock.now()).audience == 1
        assert read_run(connection, 1) == real
