"""A database for each test: SQLite in its folder, or the PostgreSQL that ORCHESTRATOR_TEST_POSTGRES names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from orchestrator.clock import ManualClock
from orchestrator.store.engine import Store
from orchestrator.store.tables import metadata

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(os.environ.get("ORCHESTRATOR_TEST_POSTGRES", str(tmp_path / "t.db")))
    metadata.drop_all(opened.writer_engine)
    metadata.create_all(opened.writer_engine)
    yield opened
    opened.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)
