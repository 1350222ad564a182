"""Counting a dormancy segment: the clause that a segment's file becomes, against SQL written by hand.

Run as ``python -m bench.segment USERS EVENTS_PER_USER``; prints one JSON object.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from bench.population import NOW, fill
from orchestrator.audience.segment import clause, count
from orchestrator.clock import to_micros
from orchestrator.store import Store

SEGMENT = {
    "name": "dormant",
    "where": {
        "all": [{"did": "order_paid", "at_least": 2, "within": "600d"}, {"did_not": "order_paid", "within": "30d"}]
    },
}
"""Two orders in 600 days, none in the last 30: the sample campaign's audience."""
DAY = 86_400_000_000
_EVENTS = f"""
    INSERT INTO event (user_id, name, at, received_at, source_id)
    WITH RECURSIVE k(j) AS (SELECT 1 UNION ALL SELECT j + 1 FROM k WHERE j < :each)
    SELECT id, CASE j % 4 WHEN 0 THEN 'order_paid' ELSE 'app_open' END,
           :now - ((id * 7919 + j * 104729) % 400) * {DAY}, :now, 'e-' || id || '-' || j
    FROM users, k WHERE id > :low AND id <= :low + 20000"""
_BY_HAND = """
    SELECT count(*) FROM users WHERE (SELECT count(*) FROM (SELECT 1 FROM event WHERE event.user_id = users.id
        AND event.name = 'order_paid' AND event.at >= :far AND event.at < :now LIMIT 2)) >= 2
    AND NOT EXISTS (SELECT 1 FROM event WHERE event.user_id = users.id AND event.name = 'order_paid'
        AND event.at >= :near AND event.at < :now)"""


def measure(users: int, each: int) -> dict[str, object]:
    """Fill, count both ways three times; the medians."""
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), users)
        _events(store, users, each)
        where = clause("dormant", {"dormant": SEGMENT}, store.dialect)
        with store.read() as connection:
            found, seconds = _median(lambda: count(connection, where, NOW))
            days = {name: to_micros(NOW - timedelta(days=n)) for name, n in (("far", 600), ("near", 30), ("now", 0))}
            same, by_hand = _median(lambda: int(connection.execute(text(_BY_HAND), days).scalar_one()))
            events = connection.execute(text("SELECT count(*) FROM event")).scalar_one()
        store.close()
    return {
        "users": users,
        "events": int(events),
        "found": found,
        "found_by_hand": same,
        "seconds": round(seconds, 3),
        "by_hand_seconds": round(by_hand, 3),
        "ratio": round(seconds / by_hand, 2),
    }


def _events(store: Store, users: int, each: int) -> None:
    for low in range(0, users, 20_000):
        with store.write() as connection:
            connection.execute(text(_EVENTS), {"each": each, "now": to_micros(NOW), "low": low})
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")


def _median(work: Callable[[], int]) -> tuple[int, float]:
    times, found = [], work()
    for _ in range(3):
        began = time.perf_counter()
        found = work()
        times.append(time.perf_counter() - began)
    return found, statistics.median(times)


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
