"""The daemon learns best hours by itself, a little at every tick."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from orchestrator.clock import ManualClock
from orchestrator.daemon.errands import Errands
from orchestrator.settings import BestTimeSettings, Settings
from orchestrator.store.tables import best_hour
from tests import world


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
