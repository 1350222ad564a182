"""Many rows in one statement: as they went in, so they come out, on both databases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy import text

from orchestrator.store import Store
from orchestrator.store.dialect import among, json_column_sql, one_of_sql, read_all, rows, rows_sql

TEXTS = ("", "plain", "味来外卖", 'quotes " and \\ slashes', "a\nb", "{}", "null", "7", "\U0001f35c", None)


@pytest.fixture
def empty(store: Store) -> Store:
    with store.write() as connection:
        connection.execute(text("CREATE TABLE kept (id BIGINT PRIMARY KEY, words TEXT)"))
    return store


def test_rows_go_in_and_come_out_as_they_are(empty: Store) -> None:
    some = [(n * 2**59, words) for n, words in enumerate(TEXTS)]
    with empty.write() as connection:
        table = rows_sql(connection.dialect.name, "some", id="bigint", words="text")
        sql = text(f"INSERT INTO kept (id, words) SELECT id, words FROM {table} AS one")
        assert connection.execute(sql, {"some": rows(some)}).rowcount == len(some)
        assert _all(read_all(connection, ("id", "words"), "FROM kept", {})) == some
        which = f"FROM kept WHERE id {one_of_sql(connection.dialect.name, 'ids')}"
        found = read_all(connection, ("id", "words"), which, {"ids": among([some[3][0], 5])})
        assert _all(found) == [some[3]]
        assert list(read_all(connection, ("id",), "FROM kept WHERE id < 0", {})) == []


def _all(found: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    return sorted((tuple(row) for row in found), key=lambda row: int(str(row[0])))


@pytest.mark.on("sqlite")
@pytest.mark.parametrize(
    "written", ['{"a": [1, 2.50, null]}', '{"half": "\\ud83c"}', '{"big": 123456789012345678901234567890}']
)
def test_json_comes_out_as_it_was_written(empty: Store, written: str) -> None:
    """Half of a character in somebody's attributes must not stop the whole batch."""
    expected = {"a": [1, 2.5, None], "half": "\ud83c", "big": 123456789012345678901234567890}
    with empty.write() as connection:
        connection.execute(text("INSERT INTO kept VALUES (1, :words)"), {"words": written})
        [[found]] = read_all(connection, (json_column_sql("sqlite", "words"),), "FROM kept", {})
    [(key, value)] = found.items()
    assert value == pytest.approx(expected[key]) if key == "big" else value == expected[key]
