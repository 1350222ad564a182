"""Databases for tests: SQLite in the test's folder, PostgreSQL in a server that the session shares."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import pytest

from orchestrator.store import Store
from tests import world
from tests.postgres import NotStartedError, Postgres, has_wheel, serving
from tests.valkey import valkey_server

KINDS = ("sqlite", "postgresql")
NewDatabase = Callable[[str], str]
"""Asked with one of ``KINDS``: the address of a database with all tables, for the length of a test."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever asks for a database runs on every kind, or on the one that ``pytest.mark.on`` names."""
    if "database_kind" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("on")
        kinds = only.args if only is not None else KINDS
        each = [pytest.param(one, marks=[pytest.mark.postgresql] if one == "postgresql" else []) for one in kinds]
        metafunc.parametrize("database_kind", each, scope="module")


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


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """For a test that needs several databases, or one of a kind of its own."""
    numbers = count()
    with ExitStack() as stack:

        def made(kind: str) -> str:
            if kind == "sqlite":
                return str(tmp_path / f"t-{next(numbers)}.db")
            server: Postgres = request.getfixturevalue("postgres")
            return stack.enter_context(server.database())

        yield made


@pytest.fixture
def database(database_kind: str, new_database: NewDatabase) -> str:
    """The address of an empty database of each kind."""
    return new_database(database_kind)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    """A store over each kind, with all tables and nothing in them."""
    made = world.fresh(database)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shared_store(
    request: pytest.FixtureRequest, database_kind: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """A store over each kind for a module's many examples: each wipes it first (``world.wipe``)."""
    with ExitStack() as stack:
        if database_kind == "sqlite":
            url = str(tmp_path_factory.mktemp("shared") / "t.db")
        else:
            server: Postgres = request.getfixturevalue("postgres")
            url = stack.enter_context(server.database())
        made = world.fresh(url)
        yield made
        made.close()


@pytest.fixture(scope="session")
def valkey() -> Iterator[str]:
    """Where a Valkey is, one for the session of this process: a ``unix://`` address."""
    with valkey_server() as server:
        yield server.address
