"""A store and a small world in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.store import Store
from orchestrator.store.tables import metadata
from tests.tracking.world import World


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "t.db"))
    metadata.create_all(opened.writer_engine)
    yield opened
    opened.close()


@pytest.fixture
def world(store: Store) -> World:
    return World(store)
