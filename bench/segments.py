"""Segments as they are compiled against SQL that somebody who knows the schema writes by hand.

Run as ``python -m bench.segments [USERS] [EVENTS_EACH]``; prints one JSON object. Each segment is run a
few times in turn with its rival, and the quickest of each counts.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from orchestrator.audience.attribute_indexes import sync_indexes
from orchestrator.audience.attributes import Declared
from orchestrator.audience.segment import clause, count
from orchestrator.clock import to_micros
from orchestrator.store import Store, upgrade

NOW = datetime(2026, 12, 1, tzinfo=UTC)
TURNS = 3
DAY = 86_400_000_000
_NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)"
_USERS = f"""INSERT INTO users (id, external_id, attributes, created_at, updated_at)
    {_NUMBERS} SELECT i, 'user-' || i, '{{"tier": "' || CASE i % 20 WHEN 0 THEN 'gold' ELSE 'silver' END
    || '", "orders": ' || (i % 50) || '}}', :now, :now FROM n"""
_EVENTS = f"""INSERT INTO event (user_id, name, at, received_at, source_id, properties)
    {_NUMBERS} SELECT i, CASE (i * 7 + :turn) % 3 WHEN 0 THEN 'order_paid' ELSE 'app_open' END,
    :now - (i * 7919 + :turn * 104729) % 400 * {DAY} - i % 1000, :now, 'e' || i || '-' || :turn,
    '{{"amount": ' || (i % 90) || '}}' FROM n"""

_NOT_MERGED = " AND NOT EXISTS (SELECT 1 FROM user_alias a WHERE a.old_user_id = u.id)"
"""Who was merged into somebody else is nobody of their own: whoever knows the schema minds that by hand too."""

SEGMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "dormant": (
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


def fill(path: Path, people: int, each: int) -> Store:
    """Users with two attributes, and events over 400 days."""
    store = Store(str(path))
    upgrade(store)
    with store.write() as connection:
        connection.execute(text(_USERS), {"count": people, "now": to_micros(NOW - timedelta(days=500))})
    for turn in range(each):
        with store.write() as connection:
            connection.execute(text(_EVENTS), {"count": people, "now": to_micros(NOW), "turn": turn})
    sync_indexes(store, {"tier": Declared(type="text"), "orders": Declared(type="int")})
    with store.write() as connection:
        connection.exec_driver_sql("CREATE INDEX by_hand ON users (json_extract(attributes, '$.tier'))")
        connection.exec_driver_sql("ANALYZE")
    return store


def measure(store: Store, name: str) -> dict[str, object]:
    """One segment and its rival."""
    where, sql = SEGMENTS[name]
    segment = clause("s", {"s": {"name": "s", "where": where}}, store.dialect)
    sql += _NOT_MERGED
    values = {"now": to_micros(NOW), "day": DAY}
    given = {key: value for key, value in values.items() if f":{key}" in sql}
    ours: list[float] = []
    theirs: list[float] = []
    found = 0
    with store.read() as connection:
        for _ in range(TURNS):
            found = _timed(connection, lambda c: count(c, segment, NOW), ours)
            expected = _timed(connection, lambda c: int(c.execute(text(sql), given).scalar_one()), theirs)
            assert found == expected, (name, found, expected)
    return {
        "segment": name,
        "found": found,
        "seconds": round(min(ours), 4),
        "by_hand_seconds": round(min(theirs), 4),
        "ratio": round(min(ours) / min(theirs), 2),
    }


def _timed(connection: Connection, ask: Callable[[Connection], int], times: list[float]) -> int:
    began = time.perf_counter()
    found = ask(connection)
    times.append(time.perf_counter() - began)
    return found


def main(people: int, each: int) -> None:
    """Fill, then every segment."""
    with tempfile.TemporaryDirectory() as folder:
        store = fill(Path(folder) / "bench.db", people, each)
        found = [measure(store, name) for name in SEGMENTS]
        store.close()
    print(json.dumps({"users": people, "events": people * each, "segments": found}))


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    main(*(given or [100_000, 10]))
