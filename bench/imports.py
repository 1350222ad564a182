"""Events out of a CSV file against a bare executemany INSERT of the same rows into the same schema.

Run as ``python -m bench.imports [ROWS] [random|ordered] [postgresql]``; prints one JSON object. ``random``: the rows
come in no order of time, ten of each user, without ids of their own: the worst there is. ``postgresql``: into the
server of the tests, which syncs nothing.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orchestrator.audience.importing import import_file
from orchestrator.clock import SystemClock
from orchestrator.store import Store, upgrade
from tests.postgres import serving

MAPPING = {
    "columns": {
        "user": "user",
        "name": "name",
        "at": "at",
        "properties": {"amount": {"column": "amount", "type": "float"}},
    }
}
START = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 1_000


def write_file(path: Path, rows: int, *, ordered: bool) -> None:
    """A file of purchases and visits over 300 days."""
    chance = random.Random(1)
    people = max(1, rows // 10)
    with path.open("w", encoding="utf-8") as file:
        file.write("user,name,at,amount\n")
        for number in range(rows):
            second = number * 300 * 86_400 // rows if ordered else chance.randrange(300 * 86_400)
            at = (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")
            name = ("app_open", "order_paid")[number % 2]
            file.write(f"user-{chance.randrange(people)},{name},{at},{chance.randrange(10_000) / 100}\n")


def measure(rows: int, *, ordered: bool, kind: str = "sqlite") -> dict[str, object]:
    """Import, import again, then insert what is there into a second database."""
    with tempfile.TemporaryDirectory() as name, _databases(Path(name), kind) as (first, second):
        folder = Path(name)
        write_file(folder / "e.csv", rows, ordered=ordered)
        store = _store(first)
        seconds, cpu, done = _timed(store, folder)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        again_seconds, _, again = _timed(store, folder)
        reference, reference_cpu = _reference(store, second)
        store.close()
    assert (done, again) == (rows, 0)
    return {
        "rows": rows,
        "database": kind,
        "order": "by time" if ordered else "random",
        "seconds": round(seconds, 1),
        "rows_per_second": round(rows / seconds),
        "cpu_seconds": round(cpu, 1),
        "again_seconds": round(again_seconds, 1),
        "peak_mb": round(peak),
        "insert_seconds": round(reference, 1),
        "insert_cpu_seconds": round(reference_cpu, 1),
        "ratio": round(seconds / reference, 2),
        "cpu_ratio": round(cpu / reference_cpu, 2),
    }


@contextmanager
def _databases(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    """The addresses of two databases."""
    if kind == "sqlite":
        yield str(folder / "imported.db"), str(folder / "bare.db")
        return
    with serving(folder) as server, server.database() as one, server.database() as other:
        yield one, other


def _store(url: str) -> Store:
    store = Store(url)
    upgrade(store)
    return store


def _timed(store: Store, folder: Path) -> tuple[float, float, int]:
    began, cpu = time.perf_counter(), time.process_time()
    done = import_file(store, "events", folder / "e.csv", MAPPING, SystemClock())
    return time.perf_counter() - began, time.process_time() - cpu, done.written


def _reference(store: Store, url: str) -> tuple[float, float]:
    """The same rows in the same order, ready made, a thousand a transaction, with nothing asked."""
    sql = "SELECT user_id, name, at, received_at, source_id, properties FROM event ORDER BY id"
    with store.read() as connection:
        rows = [(*row[:5], _text(row[5])) for row in connection.exec_driver_sql(sql)]
    bare = _store(url)
    marks = ", ".join("?" * 6 if store.dialect == "sqlite" else ["%s"] * 6)
    into = f"INSERT INTO event (user_id, name, at, received_at, source_id, properties) VALUES ({marks})"
    began, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(rows), CHUNK):
        with bare.write() as connection:
            connection.exec_driver_sql(into, rows[start : start + CHUNK])
    spent = time.perf_counter() - began, time.process_time() - cpu
    bare.close()
    return spent


def _text(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


if __name__ == "__main__":
    on = "postgresql" if "postgresql" in sys.argv else "sqlite"
    print(json.dumps(measure(int((sys.argv[1:] or ["200000"])[0]), ordered="ordered" in sys.argv, kind=on)))
