"""How long planning takes, and how much memory: a run for everybody, against a bare INSERT of as many rows.

Run as ``python -m bench.plan COUNT STEPS``; prints one JSON object.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from bench.population import NOW, fill
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours

STEPS = (
    {"channel": "push", "template": "bench"},
    {"channel": "sms", "template": "bench", "when": {"not": "reopened", "after": "25m"}},
)
ARMS = [{"name": name, "weight": 1} for name in ("dish", "coupon", "later")]
SEGMENT = {
    "name": "dormant",
    "where": {"all": [{"did": "order_paid", "within": "600d"}, {"did_not": "order_paid", "within": "30d"}]},
}


def bundle(steps: int) -> Bundle:
    """Three arms, a holdout, and one or two steps."""
    definition = {
        "name": "bench",
        "topic": "promotions",
        "audience": {"segment": "dormant"},
        "schedule": {"dates": ["2026-12-07"]},
        "window": {"local": "10:30-11:45", "late": "skip"},
        "steps": list(STEPS[:steps]),
        "goal": {"event": "app_open", "within": "24h"},
        "holdout": "5%",
        "experiment": {"arms": ARMS},
    }
    return Bundle(parse_campaign(Document("bench.yaml", definition)), definition, {"dormant": SEGMENT}, {})


def measure(count: int, steps: int) -> dict[str, float]:
    """Fill, plan, and insert as many rows again without any decision."""
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), count)
        before = _peak()
        began, used = time.perf_counter(), time.process_time()
        audience, chunks = _plan(store, steps)
        seconds, used = time.perf_counter() - began, time.process_time() - used
        peak = _peak()
        messages = _count(store, "message")
        reference = _reference(store)
        store.close()
    return {
        "users": count,
        "steps": steps,
        "members": audience,
        "messages": messages,
        "chunks": len(chunks),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "longest_chunk_ms": round(max(chunks) * 1000, 1),
        "median_chunk_ms": round(sorted(chunks)[len(chunks) // 2] * 1000, 1),
        "peak_mb": round(peak, 1),
        "of_which_planning_mb": round(peak - before, 1),
        "reference_seconds": round(reference, 1),
        "ratio": round(seconds / reference, 2),
    }


def _plan(store: Store, steps: int) -> tuple[int, list[float]]:
    what, clock = bundle(steps), ManualClock(NOW)
    with store.write() as connection:
        digest = save_version(connection, what, NOW)
        runs.launch(connection, "bench", digest, NOW, "bench")
        [(item, found)] = due_runs(connection, NOW)
    times, last = [], time.perf_counter()

    def chunk(_users: int) -> None:
        nonlocal last
        times.append(time.perf_counter() - last)
        last = time.perf_counter()

    planner = Planner(clock, QuietHours.load(None), Routing.plain({"fcm": "push", "twilio": "sms"}))
    return planner.plan(store, item, found, chunk).audience, times[1:] or times


def _reference(store: Store) -> float:
    """The rows of members and messages inserted again, into tables with the same indexes: no decisions."""
    with store.write() as connection:
        for name in ("member", "message"):
            made = "SELECT sql FROM sqlite_master WHERE tbl_name = :name AND sql IS NOT NULL ORDER BY type DESC"
            for (sql,) in connection.execute(text(made), {"name": name}).all():
                copy = sql.replace(f" {name} ", f" copy_{name} ").replace(f"ON {name} ", f"ON copy_{name} ")
                copy = copy.replace("INDEX ", "INDEX copy_").replace(f'"{name}"', f"copy_{name}")
                connection.exec_driver_sql(copy)
    began = time.perf_counter()
    for name in ("member", "message"):
        with store.write() as connection:
            connection.exec_driver_sql(f"INSERT INTO copy_{name} SELECT * FROM {name}")
    return time.perf_counter() - began


def _count(store: Store, table: str) -> int:
    with store.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), int(sys.argv[2]))))
