"""A store and a small world in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.store import Store
from tests.tracking.world import World
from tests.web.server import Client, serving


@pytest.fixture
def world(store: Store) -> World:
    return World(store)


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    with serving(store) as serving_client:
        yield serving_client
