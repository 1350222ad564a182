"""A rehearsal of an edited campaign whose run is under way: as after a launch, what waits takes the edit on."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from orchestrator.clock import ManualClock
from orchestrator.rehearsal.rehearse import staged
from tests import world
from tests.rehearsal.theatre import ledger, order, town


def test_what_waits_of_a_run_under_way_goes_by_the_edited_file(tmp_path: Path) -> None:
    real = world.fresh(tmp_path / "t.db")
    town(real, 6, phones=True)
    world.plan(real, world.bundle(), ManualClock(world.OPENING))
    before = ledger(real)
    edited, span = world.bundle(steps=world.DEFINITION["steps"][:1]), timedelta(days=1, hours=14)
    with staged(real, order(edited, span=span), world.OPENING) as ready:
        ready.stage.play(world.OPENING + span)
        found = ledger(ready.store)
    assert {step: {row[:2] for (_, one), row in found.items() if one == step} for step in (1, 2)} == {
        1: {("accepted", None)},
        2: {("skipped", "edited")},
    }
    assert len(found) == 12
    assert ledger(real) == before
    real.close()
