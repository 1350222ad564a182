"""A PostgreSQL with nothing in it, for migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.store import Store
from tests.postgres import Postgres


@pytest.fixture
def empty(postgres: Postgres) -> Iterator[Store]:
    """A store over a database without tables."""
    with postgres.database(empty=True) as url:
        made = Store(url)
        yield made
        made.close()
