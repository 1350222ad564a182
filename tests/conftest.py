"""Databases for tests: SQLite in the test's folder, PostgreSQL in a server that the session shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests import world
from tests.postgres import NotStartedError, Postgres, has_wheel, serving

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)]
"""For a fixture or a test that is parametrised by the kind of database."""


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """The server, one for all workers of pytest."""
    if not has_wheel():
        pytest.skip("there is no wheel of PostgreSQL for this platform, and POSTGRES_SERVER names no server")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with ExitStack() as stack:
        try:
            server = stack.enter_context(serving(shared))
        except NotStartedError as error:
            pytest.fail(str(error), pytrace=False)
        yield server


NewDatabase = Callable[[str], str]
"""Asked with ``sqlite`` or ``postgresql``: the address of a database with all tables, for the length of a test."""


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """For a test that needs several databases, or one of a kind of its own."""
    with ExitStack() as stack:

        def made(kind: str) -> str:
            if kind == "sqlite":
                return str(tmp_path / f"t-{len(list(tmp_path.glob('t-*.db')))}.db")
            server: Postgres = request.getfixturevalue("postgres")
            return stack.enter_context(server.database())

        yield made


@pytest.fixture(params=BOTH)
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database: whatever asks for it is tested on both."""
    found: str = request.param
    return found


@pytest.fixture
def database(kind: str, new_database: NewDatabase) -> str:
    """The address of an empty database of each kind."""
    return new_database(kind)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A store over each kind, with all tables and nothing in them."""
    made = world.fresh(database)
    yield made
    made.close()
