"""What migrations make of an empty PostgreSQL is what the tables say but for the partitions, whoever starts at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from orchestrator.store import Store, upgrade
from orchestrator.store.tables import metadata
from tests.postgres import Postgres

pytestmark = pytest.mark.postgresql

_COLUMNS = text("""
    SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY table_name, column_name""")
_INDEXES = text("""
    SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    ORDER BY indexname""")


@pytest.fixture
def wanted(postgres: Postgres) -> Iterator[Store]:
    with postgres.database() as url:
        made = Store(url)
        yield made
        made.close()


def schema(store: Store) -> list[list[tuple[str, ...]]]:
    with store.read() as connection:
        return [[tuple(row) for row in connection.execute(query)] for query in (_COLUMNS, _INDEXES)]


def test_an_upgraded_empty_database_is_what_the_tables_say(empty: Store, wanted: Store) -> None:
    upgrade(empty)
    with empty.writer_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_object": not_a_partition})
        [(what, index)] = compare_metadata(context, metadata)
    assert (what, index.name) == ("add_index", "uq_message_address")  # every partition has its own
    assert schema(empty) == schema(wanted)
    upgrade(empty)
    assert schema(empty) == schema(wanted)


def not_a_partition(_object: object, name: str | None, kind: str, *_: object) -> bool:
    return kind != "table" or re.search(r"_(r\d+|rest)$", str(name)) is None


UPGRADE = "import sys; from orchestrator.store import Store, upgrade; upgrade(Store(sys.argv[1]))"


def test_programs_that_start_at_once_upgrade_one_after_the_other(empty: Store, wanted: Store) -> None:
    command = [sys.executable, "-c", UPGRADE, empty.url]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for one in starting:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said
    assert schema(empty) == schema(wanted)


@pytest.mark.parametrize("finished", [True, False])
def test_an_index_that_was_made_before_the_migration_is_taken_and_one_half_made_is_made_anew(
    empty: Store, *, finished: bool
) -> None:
    """``CREATE INDEX CONCURRENTLY`` that is killed leaves an index that nobody uses and that has its name."""
    upgrade(empty)
    of_index = text("SELECT indexrelid, indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_transition_act')")
    with empty.write() as connection:
        before = connection.execute(of_index).one()
        unfinished = "UPDATE pg_index SET indisvalid = :valid WHERE indexrelid = :index"
        connection.execute(text(unfinished), {"valid": finished, "index": before.indexrelid})
        connection.execute(text("UPDATE alembic_version SET version_num = '0017_erased'"))
    upgrade(empty)
    with empty.read() as connection:
        after = connection.execute(of_index).one()
    assert after.indisvalid
    assert (after.indexrelid == before.indexrelid) == finished
