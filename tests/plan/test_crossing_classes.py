"""Two planners of one run that meet a class at once, of which there was nobody when the run began."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from orchestrator.clock import ManualClock
from orchestrator.ledger.adopted import lock_run
from orchestrator.plan.due import due_runs
from orchestrator.plan.members import member_rows
from orchestrator.plan.slots import first_slots, write_new_slots, write_slots
from orchestrator.store import Store
from orchestrator.store.tables import member, users
from tests import world


@pytest.mark.on("postgresql")
def test_a_member_whose_class_another_planner_met_first_has_its_anchor_too(store: Store) -> None:
    """Its slots came between the statement that wrote the member and the one that looks for new classes."""
    clock = ManualClock(world.OPENING)
    user = world.person(store, "ada")
    made, bundle = world.planner(clock), world.bundle()
    world.launch(store, bundle, clock.now())
    with store.write() as connection:
        [(item, _)] = due_runs(connection, clock.now())
    with store.write() as connection:
        made.begin(connection, lock_run(connection, item.id), bundle)
        connection.execute(update(users).values(zone_key="Africa/Lagos"))
    span, terms = (0, user), (item.id, bundle.campaign, item.occasion, made.quiet, clock.now())
    statement = made.statement(bundle, store.dialect, item.local_date)
    with store.write() as ours:
        assert member_rows(ours, statement, item, span) == 1
        assert ours.execute(select(member.c.anchor)).scalar_one() is None
        with store.write() as another:
            write_slots(another, first_slots(another, *terms))
        write_new_slots(ours, *terms, span)
        assert ours.execute(select(member.c.anchor)).scalar_one() is not None
