"""Segments as they are compiled against SQL that somebody who knows the schema writes by hand.

Run as ``python -m bench.segments [USERS] [EVENTS_EACH] [postgresql]``; prints one JSON object. Each segment is run a
few times in turn with its rival, and the median of each counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import Connection, text

from orchestrator.audience.attribute_indexes import sync_indexes
from orchestrator.audience.attributes import Declared
from orchestrator.audience.segment import clause, count
from orchestrator.clock import to_micros
from orchestrator.store import Store, upgrade
from tests.postgres import serving

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TURNS, OTHERS = 5, 3
"""Of the segment that a bar hangs on, and of the others."""
DAY = 86_400_000_000
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count) SELECT i FROM n) AS n",
    "postgresql": "generate_series(CAST(1 AS bigint), :count) AS n(i)",
}
_USERS = """INSERT INTO users (id, external_id, attributes, created_at, updated_at)
    SELECT i, 'user-' || i, CAST('{"tier": "' || CASE i % 20 WHEN 0 THEN 'gold' ELSE 'silver' END
    || '", "orders": ' || (i % 50) || '}' AS JSON_TYPE), :now, :now FROM NUMBERS"""
_EVENTS = f"""INSERT INTO event (user_id, name, at, received_at, source_id, properties)
    SELECT i, CASE (i * 7 + :turn) % 3 WHEN 0 THEN 'order_paid' ELSE 'app_open' END,
    :now - (i * 7919 + :turn * 104729) % 400 * {DAY} - i % 1000, :now,
    CAST(1000000000 + :turn * 10000000 + i AS TEXT), CAST('{{"amount": ' || (i % 90) || '}}' AS JSON_TYPE)
    FROM NUMBERS"""
"""The sources' names grow, so that the unique index is written at its end alone: what is measured comes after it."""

_NOT_MERGED = " AND NOT EXISTS (SELECT 1 FROM user_alias a WHERE a.old_user_id = u.id)"
"""Who was merged into somebody else is nobody of their own: whoever knows the schema minds that by hand too."""

_OTHERWISE = {
    "json_extract(u.attributes, '$.tier')": "(u.attributes ->> 'tier')",
    "json_extract(e.properties, '$.amount')": "CAST(e.properties ->> 'amount' AS float)",
}
"""What is written differently by hand on PostgreSQL."""

DORMANT = "dormant"
SEGMENTS: dict[str, tuple[dict[str, Any], str]] = {
    DORMANT: (
        {"all": [{"did": "order_paid", "within": "365d"}, {"did_not": "order_paid", "within": "30d"}]},
        """SELECT count(*) FROM users u WHERE EXISTS (SELECT 1 FROM event e WHERE e.user_id = u.id AND
           e.name = 'order_paid' AND e.at > :now - 365 * :day AND e.at <= :now) AND NOT EXISTS (SELECT 1 FROM event e
           WHERE e.user_id = u.id AND e.name = 'order_paid' AND e.at > :now - 30 * :day AND e.at <= :now)""",
    ),
    "at least three": (
        {"did": "order_paid", "at_least": 3, "within": "365d"},
        """SELECT count(*) FROM users u WHERE EXISTS (SELECT 1 FROM event e WHERE e.user_id = u.id AND
           e.name = 'order_paid' AND e.at > :now - 365 * :day AND e.at <= :now LIMIT 1 OFFSET 2)""",
    ),
    "last before": (
        {"last": "app_open", "before": "60d"},
        """SELECT count(*) FROM users u WHERE (SELECT max(e.at) FROM event e WHERE e.user_id = u.id AND
           e.name = 'app_open' AND e.at <= :now) <= :now - 60 * :day""",
    ),
    "spent": (
        {"sum": "order_paid", "property": "amount", "at_least": 100, "within": "90d"},
        """SELECT count(*) FROM users u WHERE (SELECT sum(json_extract(e.properties, '$.amount')) FROM event e
           WHERE e.user_id = u.id AND e.name = 'order_paid' AND e.at > :now - 90 * :day AND e.at <= :now) >= 100""",
    ),
    "gold": (
        {"attribute": "tier", "equals": "gold"},
        "SELECT count(*) FROM users u WHERE json_extract(u.attributes, '$.tier') = 'gold'",
    ),
    "gold and dormant": (
        {"all": [{"attribute": "tier", "equals": "gold"}, {"did_not": "app_open", "within": "14d"}]},
        """SELECT count(*) FROM users u WHERE json_extract(u.attributes, '$.tier') = 'gold' AND NOT EXISTS
           (SELECT 1 FROM event e WHERE e.user_id = u.id AND e.name = 'app_open' AND e.at > :now - 14 * :day
           AND e.at <= :now)""",
    ),
}


def fill(url: str, people: int, each: int) -> Store:
    """Users with two attributes, and events over 400 days; in a database of which ``url`` says where it is."""
    store = Store(url)
    upgrade(store)
    _write(store, _USERS, count=people, now=to_micros(NOW - timedelta(days=500)))
    with _no_indexes(store):
        for turn in range(each):
            _write(store, _EVENTS, count=people, now=to_micros(NOW), turn=turn)
    sync_indexes(store, {"tier": Declared(type="text"), "orders": Declared(type="int")})
    tier = "(attributes ->> 'tier')" if store.dialect == "postgresql" else "json_extract(attributes, '$.tier')"
    with store.write() as connection:
        connection.exec_driver_sql(f"CREATE INDEX by_hand ON users ({tier})")
    with store.writer_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE" if store.dialect == "postgresql" else "ANALYZE")
    return store


def _write(store: Store, sql: str, **values: int) -> None:
    """One statement in a transaction of its own."""
    sql = sql.replace("NUMBERS", _NUMBERS[store.dialect])
    sql = sql.replace("JSON_TYPE", "jsonb" if store.dialect == "postgresql" else "TEXT")
    with store.write() as connection:
        connection.execute(text(sql), values)


@contextmanager
def _no_indexes(store: Store) -> Iterator[None]:
    """Without the events' plain indexes on PostgreSQL, which are built again in one go."""
    made: list[str] = []
    if store.dialect == "postgresql":
        with store.write() as connection:
            sql = (
                "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'event' AND indexdef NOT LIKE '%UNIQUE%'"
            )
            for name, definition in connection.exec_driver_sql(sql.replace("%", "%%")).all():
                connection.exec_driver_sql(f"DROP INDEX {name}")
                made.append(definition.replace(" ON ONLY ", " ON "))
    yield
    for definition in made:
        with store.write() as connection:
            connection.exec_driver_sql(definition)


def measure(store: Store, name: str) -> dict[str, object]:
    """One segment and its rival."""
    where, sql = SEGMENTS[name]
    segment = clause("s", {"s": {"name": "s", "where": where}}, store.dialect)
    sql = (_on_postgresql(sql) if store.dialect == "postgresql" else sql) + _NOT_MERGED
    values = {"now": to_micros(NOW), "day": DAY}
    given = {key: value for key, value in values.items() if f":{key}" in sql}
    ours: list[float] = []
    theirs: list[float] = []
    found = 0
    with store.read() as connection:
        for _ in range(TURNS if name == DORMANT else OTHERS):
            found = _timed(connection, lambda c: count(c, segment, NOW), ours)
            expected = _timed(connection, lambda c: int(c.execute(text(sql), given).scalar_one()), theirs)
            assert found == expected, (name, found, expected)
    return {
        "segment": name,
        "found": found,
        "seconds": round(median(ours), 4),
        "by_hand_seconds": round(median(theirs), 4),
        "turns": [[round(one, 4) for one in turn] for turn in zip(ours, theirs, strict=True)],
        "ratio": round(median(ours) / median(theirs), 2),
    }


def _on_postgresql(sql: str) -> str:
    for sqlite, postgresql in _OTHERWISE.items():
        sql = sql.replace(sqlite, postgresql)
    return sql


def _timed(connection: Connection, ask: Callable[[Connection], int], times: list[float]) -> int:
    began = time.perf_counter()
    found = ask(connection)
    times.append(time.perf_counter() - began)
    return found


@contextmanager
def _database(kind: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield str(Path(folder) / "bench.db")
            return
        with serving(Path(folder)) as server, server.database(empty=True) as url:
            yield url


def main(people: int, each: int, kind: str) -> None:
    """Fill, then every segment."""
    with _database(kind) as url:
        store = fill(url, people, each)
        found = [measure(store, name) for name in SEGMENTS]
        store.close()
    print(json.dumps({"database": kind, "users": people, "events": people * each, "segments": found}))


if __name__ == "__main__":
    users, events_each = [int(one) for one in sys.argv[1:] if one.isdigit()] or [100_000, 10]
    main(users, events_each, "postgresql" if "postgresql" in sys.argv else "sqlite")
