"""The same from PostgreSQL: ``TEST_POSTGRES=postgresql://…`` names an empty database."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.rehearsal.rehearse import rehearse
from orchestrator.report.values import plain
from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests import world
from tests.rehearsal.theatre import daily, order, played, town

pytestmark = pytest.mark.skipif("TEST_POSTGRES" not in os.environ, reason="TEST_POSTGRES names no database")


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(os.environ["TEST_POSTGRES"])
    metadata.drop_all(made.writer_engine)
    metadata.create_all(made.writer_engine)
    yield made
    metadata.drop_all(made.writer_engine)
    made.close()


def test_a_rehearsal_says_the_same_whatever_the_real_database_is(store: Store, tmp_path: Path) -> None:
    twin = town(world.fresh(tmp_path / "twin.db"), 12)
    town(store, 12)
    asked = order(daily(), span=timedelta(days=2), share=0.9)
    there, here = rehearse(store, asked, world.OPENING), played(twin, asked)
    twin.close()
    assert there.sent > 20
    assert plain(replace(there, took=0.0)) == plain(replace(here, took=0.0))
