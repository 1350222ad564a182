"""What a store over PostgreSQL promises beside that over SQLite: rows that stay out of errors, COPY, another try."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from orchestrator.clock import to_micros
from orchestrator.store import Store
from orchestrator.store.copying import copy_rows
from orchestrator.store.dialect import forget_prepared, prepared
from orchestrator.store.tables import event, users
from tests import world

pytestmark = [pytest.mark.postgresql, pytest.mark.on("postgresql")]

SECRET = "+4915112345678"
AT = to_micros(world.MONDAY)
COLUMNS = ("user_id", "name", "at", "received_at", "source_id", "properties")


def test_errors_do_not_show_the_row(store: Store) -> None:
    row = {"external_id": SECRET, "attributes": {}, "created_at": world.MONDAY, "updated_at": world.MONDAY}
    with store.write() as connection:
        connection.execute(insert(users).values(row))
    with pytest.raises(IntegrityError) as caught, store.write() as connection:
        connection.execute(insert(users).values(row))
    assert "duplicate key" in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.orig} {caught.value.__cause__}"


def rows(*names: str) -> list[tuple[object, ...]]:
    return [(1, "app_open", AT, AT, name, '{"a": "\\u00e9\\t\\\\"}') for name in names]


def test_copied_rows_are_those_that_are_new(store: Store) -> None:
    with store.write() as connection:
        assert copy_rows(connection, "event", COLUMNS, rows("a", "b", "a")) == 2
        assert copy_rows(connection, "event", COLUMNS, rows("b", "c")) == 1
    with store.read() as connection:
        found = connection.execute(select(event.c.source_id, event.c.properties, event.c.at).order_by(event.c.id)).all()
    assert [tuple(row) for row in found] == [(name, {"a": "é\t\\"}, world.MONDAY) for name in "abc"]


@pytest.mark.parametrize("bad", ["{no json", "a\0b"])
def test_what_cannot_be_copied_leaves_nothing_and_is_not_shown(store: Store, bad: str) -> None:
    with pytest.raises(DBAPIError) as caught, store.write() as connection:
        copy_rows(connection, "event", COLUMNS, [*rows("a"), (1, SECRET, AT, AT, "b", bad)])
    assert SECRET not in f"{caught.value} {caught.value.orig}"
    assert "no json" not in str(caught.value)
    with store.write() as connection:
        assert copy_rows(connection, "event", COLUMNS, rows("a")) == 1


def test_who_is_ended_for_anothers_sake_is_tried_again(store: Store) -> None:
    for name in ("one", "two"):
        world.person(store, name)
    met = threading.Barrier(2)
    tries: list[str] = []

    def both(first: int, second: int) -> None:
        def work(connection: Connection) -> None:
            tries.append(f"{first}")
            lock = text("SELECT id FROM users WHERE id = :id FOR UPDATE")
            connection.execute(lock, {"id": first})
            if len(tries) <= 2:
                met.wait(20)
            connection.execute(lock, {"id": second})

        store.again(work)

    threads = [threading.Thread(target=both, args=pair) for pair in ((1, 2), (2, 1))]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert len(tries) in {3, 4}  # where the one that was ended meets the other again


def test_what_is_wrong_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    tries: list[int] = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT nothing"))

    with pytest.raises(DBAPIError):
        store.again(work)
    other = Store(str(tmp_path / "t.db"))
    with pytest.raises(DBAPIError):
        other.again(work)
    other.close()
    assert len(tries) == 2


_KEPT = text("SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE 'SELECT 7%'")


def test_what_is_said_for_each_batch_is_read_once_and_planned_each_time(store: Store) -> None:
    often = prepared("SELECT 7 WHERE :n > 0")
    for _ in range(10):
        with store.read() as connection:
            connection.execute(often, {"n": 1})
        with store.write() as connection:
            connection.execute(often, {"n": 1})
    with store.read() as connection:
        assert [tuple(row) for row in connection.execute(_KEPT)] == [(0, 20)]


def test_nothing_else_is_prepared(store: Store) -> None:
    for _ in range(10):
        with store.read() as connection:
            connection.execute(text("SELECT 7 WHERE :n > 0"), {"n": 1})
    with store.read() as connection:
        assert not connection.execute(_KEPT).all()


def test_temporary_tables_stand_before_what_was_prepared(store: Store) -> None:
    newest = prepared("SELECT max(id) FROM users")
    world.person(store, "one")
    with store.write() as connection:  # after a connection's first, PostgreSQL does not look again at what it prepared
        connection.execute(text("CREATE TEMPORARY TABLE earlier (id bigint) ON COMMIT DROP"))
    with store.write() as connection:
        assert connection.execute(newest).scalar_one() is not None
        forget_prepared(connection)
        connection.execute(text("CREATE TEMPORARY TABLE users (id bigint) ON COMMIT DROP"))
        assert connection.execute(newest).scalar_one() is None
    with store.write() as connection:
        assert connection.execute(newest).scalar_one() is not None
