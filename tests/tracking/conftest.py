"""A store and a small world in it."""

from __future__ import annotations

import pytest

from orchestrator.store import Store
from tests.tracking.world import World


@pytest.fixture
def world(store: Store) -> World:
    return World(store)
