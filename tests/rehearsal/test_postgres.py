"""The same from PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.rehearsal.rehearse import rehearse
from orchestrator.report.values import plain
from orchestrator.store import Store
from tests import world
from tests.rehearsal.theatre import daily, order, played, town

pytestmark = pytest.mark.on("postgresql")


def test_a_rehearsal_says_the_same_whatever_the_real_database_is(store: Store, tmp_path: Path) -> None:
    twin = town(world.fresh(tmp_path / "twin.db"), 12)
    town(store, 12)
    asked = order(daily(), span=timedelta(days=2), share=0.9)
    there, here = rehearse(store, asked, world.OPENING), played(twin, asked)
    twin.close()
    assert there.sent > 20
    assert plain(replace(there, took=0.0)) == plain(replace(here, took=0.0))
