"""How long the retention report takes: ``python -m bench.retention USERS EVENTS``; prints one JSON object."""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.clock import to_micros
from orchestrator.report.retention import retention
from orchestrator.store import Store
from orchestrator.store.tables import metadata

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 365
CHUNK = 100_000
_INSERT = "INSERT INTO event (user_id, name, at, received_at, source_id) VALUES (?, ?, ?, ?, ?)"


def _events(users: int, events: int) -> Iterator[tuple[int, str, int, int, str]]:
    """Users who begin over the year, half of the events by a few busy ones; one event in seven is of another name."""
    chance = random.Random(1)
    for number in range(events):
        busy = chance.random() < 0.5
        user = min(int(chance.paretovariate(0.6)), users) if busy else chance.randrange(1, users + 1)
        born = user * 2654435761 % DAYS
        at = to_micros(START + timedelta(days=born + chance.random() * (DAYS - born)))
        yield user, "app_open" if number % 7 else "order_paid", at, at, str(number)


def measure(users: int, events: int) -> dict[str, float]:
    """Fill, and report the last half year in UTC and in a zone with clock changes."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(str(Path(folder) / "bench.db"))
        metadata.create_all(store.writer_engine)
        rows: list[tuple[int, str, int, int, str]] = []
        for row in _events(users, events):
            rows.append(row)
            if len(rows) == CHUNK:
                _insert(store, rows)
        _insert(store, rows)
        figures: dict[str, float] = {"users": users, "events": events}
        for name, zone in (("utc_seconds", "UTC"), ("berlin_seconds", "Europe/Berlin")):
            with store.read() as connection:
                began = time.perf_counter()
                retention(connection, START + timedelta(days=DAYS), zone=zone)
                figures[name] = round(time.perf_counter() - began, 2)
        store.close()
    return figures | {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


def _insert(store: Store, rows: list[tuple[int, str, int, int, str]]) -> None:
    if rows:
        with store.write() as connection:
            connection.exec_driver_sql(_INSERT, rows)
        rows.clear()


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
