"""What migrations make is what the tables say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect, select
from sqlalchemy.exc import IntegrityError

from orchestrator.store import Store, migrate, upgrade
from orchestrator.store.tables import meta, metadata

LANE = "INSERT INTO lane (id, run_id, step, channel, account, rate, priority)"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(str(tmp_path / "t.db"))
    yield made
    made.close()


def schema(store: Store) -> list[tuple[str, str]]:
    with store.read() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version' ORDER BY name"
        return [(row[0], " ".join(row[1].split())) for row in connection.exec_driver_sql(query)]


def columns(store: Store, table: str) -> list[Any]:
    """Name, type, whether NULL may stand there, default, and place in the primary key."""
    with store.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")]


def test_an_upgraded_empty_file_is_what_the_tables_say(store: Store) -> None:
    upgrade(store)
    with store.writer_engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_columns_partial_indexes_and_rowids_are_the_same_too(store: Store, tmp_path: Path) -> None:
    upgrade(store)
    other = Store(str(tmp_path / "other.db"))
    metadata.create_all(other.writer_engine)
    made, wanted = dict(schema(store)), dict(schema(other))
    assert set(made) == set(wanted)
    indexes = {name for name in wanted if wanted[name].startswith(("CREATE INDEX", "CREATE UNIQUE"))}
    assert {name: made[name] for name in indexes} == {name: wanted[name] for name in indexes}
    for table in metadata.tables:
        assert columns(store, table) == columns(other, table), table
    assert [name for name in wanted if ("WITHOUT ROWID" in wanted[name]) != ("WITHOUT ROWID" in made[name])] == []
    other.close()


def test_upgrading_again_changes_nothing(store: Store) -> None:
    upgrade(store)
    before = schema(store)
    with store.write() as connection:
        connection.execute(insert(meta).values(key="k", value="v"))
    upgrade(store)
    assert schema(store) == before
    with store.read() as connection:
        assert connection.execute(select(meta.c.value)).scalar() == "v"


def test_upgrading_does_not_silence_the_programs_log(store: Store) -> None:
    import logging

    log = logging.getLogger("orchestrator.store.test")
    upgrade(store)
    assert not log.disabled


def test_addresses_get_details_and_lanes_their_accounts_and_back_again(store: Store) -> None:
    """Rows of before stay as they are, up and down; a second lane of a step has to be another account's."""
    _to(store, "0005_opt_in")
    with store.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO address (id, user_id, channel, kind, value, last_seen_at, valid_from) "
            "VALUES (1, 7, 'push', 'token', 't', 1, 1)"
        )
        connection.exec_driver_sql("INSERT INTO lane VALUES (17, 1, 1, 'push', 'fcm', NULL, 50)")
    _to(store, "head")
    with store.write() as connection:
        row = connection.exec_driver_sql("SELECT value, platform, details FROM address").one()
        assert tuple(row) == ("t", None, None)
        connection.exec_driver_sql(f"{LANE} VALUES (4294967313, 1, 1, 'push', 'apns', NULL, 50)")
    with pytest.raises(IntegrityError), store.write() as connection:
        connection.exec_driver_sql(f"{LANE} VALUES (99, 1, 1, 'push', 'apns', NULL, 50)")
    _to(store, "0005_opt_in", down=True)
    with store.read() as connection:
        assert "details" not in [name for _, name, *_ in connection.exec_driver_sql("PRAGMA table_info(address)")]
        assert connection.exec_driver_sql("SELECT value, kind FROM address").all() == [("t", "token")]
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE tbl_name IN ('lane', 'address')").all()
    indexes = {name for (name,) in names}
    assert {"ix_lane_run_id", "uq_address_current", "ix_address_user_id_channel_valid_from"} <= indexes
    assert "uq_lane_account" not in indexes


def test_lanes_of_before_are_counted_by_their_campaigns_topic(store: Store) -> None:
    _to(store, "0007_inbox")
    body = '{"definition": {"topic": "promotions"}}'
    with store.write() as connection:
        connection.exec_driver_sql(f"{LANE} VALUES (17, 1, 1, 'push', 'fcm', NULL, 50), (33, 2, 1, 'sms', 'x', 1, 1)")
        connection.exec_driver_sql("INSERT INTO version VALUES ('h', 'lunch', ?, 1)", (body,))
        connection.exec_driver_sql(
            "INSERT INTO run (id, campaign, version, local_date, state, as_of, closes_at, created_at) "
            "VALUES (1, 'lunch', 'h', '2026-12-07', 'active', 1, 1, 1)"
        )
    _to(store, "head")
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT topic, tags FROM lane ORDER BY id").all()
    assert rows == [("promotions", ",promotions,"), ("", "")]  # the second has lost its version


def test_lanes_of_earlier_versions_become_one_again_on_the_way_back(store: Store) -> None:
    upgrade(store)
    with store.write() as connection:
        columns = "(id, run_id, step, channel, account, priority, version)"
        rows = "(17, 1, 1, 'push', 'fcm', 50, 'old'), (99, 1, 1, 'push', 'fcm', 50, ''), (18, 1, 2, 'sms', 'x', 50, '')"
        connection.exec_driver_sql(f"INSERT INTO lane {columns} VALUES {rows}")
        for user, number in ((1, 17), (2, 99), (3, 18)):
            connection.exec_driver_sql(
                "INSERT INTO message (id, run_id, user_id, step, lane_id, address_id, arm, held_out, state, due_at, "
                f"deadline, state_at) VALUES ({user}, 1, {user}, 1, {number}, {user}, 'all', 0, 'planned', 1, 1, 1)"
            )
    _to(store, "0011_firings", down=True)
    with store.read() as connection:
        assert connection.exec_driver_sql("SELECT id, account FROM lane ORDER BY id").all() == [(17, "fcm"), (18, "x")]
        assert connection.exec_driver_sql("SELECT lane_id FROM message ORDER BY id").all() == [(17,), (17,), (18,)]
    _to(store, "head")


def _to(store: Store, revision: str, *, down: bool = False) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with store.writer_engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.downgrade if down else command.upgrade)(config, revision)
