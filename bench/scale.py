"""What one of each costs on PostgreSQL and Valkey: the figures that docs/scale.md multiplies.

Users are made, their events imported, a run planned, and its messages sent through a channel that answers at once;
before and after, the servers are asked what they hold and what they did. Rows that lie in blocks of runs are weighed by
what another run adds.

Run as ``python -m bench.scale USERS``; prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from sqlalchemy import text

from bench.channels import NullChannel
from bench.dispatch import DEFINITION, TEMPLATE, cpu_below, postgresql
from bench.door import Through, plan, send_all
from bench.imports import MAPPING, write_file
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, NOW, fill
from orchestrator.audience.importing import import_file
from orchestrator.clock import SystemClock, to_micros
from orchestrator.content.files import read_folder
from orchestrator.limits.shared import connect
from orchestrator.store import Store, upgrade
from tests.valkey import valkey_server

TABLES = ("users", "address", "consent", "event", "member", "message", "attempt", "receipt")
OF_RUNS = ("member", "message", "attempt")
"""Those that lie in blocks of runs."""
_RECEIPTS = """INSERT INTO receipt (provider, provider_id, status, state, message_id, received_at)
    SELECT 'twilio', 'SM' || md5(id::text), 'delivered', 'delivered', id, :now FROM message WHERE state = 'accepted'"""
_SIZE = """SELECT pg_total_relation_size('{0}') + (SELECT coalesce(sum(pg_total_relation_size(inhrelid)), 0)
           FROM pg_inherits WHERE inhparent = '{0}'::regclass)"""
_DONE = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"


@dataclass(frozen=True, slots=True)
class Reading:
    """What the two servers and this process had done by some moment."""

    wal_bytes: int
    transactions: int
    database_cpu: float
    redis_requests: int
    redis_commands: int
    redis_bytes: int
    redis_cpu: float


class Meter:
    """Asks both servers."""

    def __init__(self, store: Store, client: redis.Redis) -> None:
        self._store, self._client = store, client
        self._postmaster = int((Path(str(self.ask("SHOW data_directory"))) / "postmaster.pid").read_text().split()[0])

    def ask(self, sql: str) -> Any:
        """One value."""
        with self._store.read() as connection:
            return connection.exec_driver_sql(sql).scalar_one()

    def read(self) -> Reading:
        """Now; PostgreSQL's sessions tell what they did up to a second later."""
        time.sleep(1.5)
        told: Any = self._client.info()
        called: Any = self._client.info("commandstats")
        return Reading(
            wal_bytes=int(self.ask("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")),
            transactions=int(self.ask(_DONE)),
            database_cpu=cpu_below(self._postmaster),
            redis_requests=sum(int(called.get(f"cmdstat_{one}", {}).get("calls", 0)) for one in ("eval", "evalsha")),
            redis_commands=int(told["total_commands_processed"]),
            redis_bytes=int(told["total_net_input_bytes"]) + int(told["total_net_output_bytes"]),
            redis_cpu=float(told["used_cpu_sys"]) + float(told["used_cpu_user"]),
        )

    def sizes(self) -> dict[str, tuple[int, int]]:
        """Bytes on disk with indexes, and rows, by table."""
        return {
            table: (int(self.ask(_SIZE.format(table))), int(self.ask(f"SELECT count(*) FROM {table}")))
            for table in TABLES
        }


def measure(count: int) -> dict[str, Any]:
    """All of it, on servers of its own."""
    with tempfile.TemporaryDirectory() as name, postgresql() as url, valkey_server() as valkey:
        empty = _empty_sizes(url)
        store = fill(url, count, LUNCH_ZONES)
        client = connect(valkey.address)
        meter = Meter(store, client)
        imported = _import(store, Path(name), count)
        figures = _planned_and_sent(store, meter, valkey.address)
        with store.write() as connection:
            connection.execute(text(_RECEIPTS), {"now": to_micros(NOW)})
        sizes, added = meter.sizes(), _added(store, meter, valkey.address)
        store.close()
        client.close()
    bytes_each = {table: round((size - empty[table]) / max(rows, 1)) for table, (size, rows) in sizes.items()} | added
    peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return {"users": count, "bytes": bytes_each, "import_per_second": imported, **figures, "peak_mb": peak}


def _added(store: Store, meter: Meter, address: str) -> dict[str, int]:
    """What each row of another run adds to its block, of which there are 64: the room of dead rows is used again."""
    before = _vacuumed(store, meter)
    _planned_and_sent(store, meter, address, "another")
    after = _vacuumed(store, meter)
    grown = {one: (after[one][0] - before[one][0], after[one][1] - before[one][1]) for one in OF_RUNS}
    return {table: round(size / max(rows, 1)) for table, (size, rows) in grown.items()}


def _vacuumed(store: Store, meter: Meter) -> dict[str, tuple[int, int]]:
    """The sizes once PostgreSQL has tidied up, as it does by itself between runs."""
    with store.writer_engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in OF_RUNS:
            connection.exec_driver_sql(f"VACUUM (ANALYZE) {table}")
    return meter.sizes()


def _empty_sizes(url: str) -> dict[str, int]:
    """Bytes of the tables while there is nothing in them."""
    store = Store(url)
    upgrade(store)
    with store.read() as connection:
        found = {one: int(connection.exec_driver_sql(_SIZE.format(one)).scalar_one()) for one in TABLES}
    store.close()
    return found


def _import(store: Store, folder: Path, rows: int) -> int:
    """Events a second out of a CSV file."""
    write_file(folder / "events.csv", rows, ordered=False)
    began = time.perf_counter()
    done = import_file(store, "events", folder / "events.csv", MAPPING, SystemClock())
    return round(done.written / (time.perf_counter() - began))


def _planned_and_sent(store: Store, meter: Meter, address: str, name: str = "bench") -> dict[str, Any]:
    start = meter.read()
    templates = read_folder(Path(__file__).parents[1] / "templates", TEMPLATE)
    planning = plan(store, {**DEFINITION, "name": name}, SEGMENT, templates, {"fcm": "push"})
    members = int(meter.ask("SELECT count(*) FROM member WHERE run_id = (SELECT max(id) FROM run)"))
    planned = meter.read()
    done = send_all(store, "fcm", NullChannel, 200, redis=address)
    sent = meter.read()
    return {
        "members": members,
        "planned_per_second": round(members / planning),
        "planned_wal_bytes": round((planned.wal_bytes - start.wal_bytes) / members),
        "planned_cpu_us": round((planned.database_cpu - start.database_cpu) / members * 1e6, 1),
        **_of_a_message(done, planned, sent),
    }


def _of_a_message(done: Through, before: Reading, after: Reading) -> Mapping[str, Any]:
    def each(name: str) -> float:
        return float(getattr(after, name) - getattr(before, name)) / done.messages

    return {
        "messages": done.messages,
        "per_second": round(done.per_second),
        "worker_cpu_us": round(done.cpu_seconds / done.messages * 1e6, 1),
        "database_cpu_us": round(each("database_cpu") * 1e6, 1),
        "wal_bytes": round(each("wal_bytes")),
        "transactions": round(each("transactions"), 4),
        "redis_requests": round(each("redis_requests"), 4),
        "redis_commands": round(each("redis_commands"), 4),
        "redis_bytes": round(each("redis_bytes"), 1),
        "redis_cpu_us": round(each("redis_cpu") * 1e6, 2),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
