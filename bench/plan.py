"""How long planning takes, and how much memory: a run for everybody, against a bare INSERT of as many rows.

Run as ``python -m bench.plan COUNT STEPS [postgresql PLANNERS]``; prints one JSON object. On SQLite one process plans;
on PostgreSQL so many do, each in a process of its own, with a connection of its own. Frequency caps cost a plan
nothing, for they are asked when a message is about to leave: the campaign has tags to be capped by.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

from sqlalchemy import text

from bench.population import NOW, fill
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.clock import ManualClock
from orchestrator.ledger import runs
from orchestrator.ledger.runs import Run
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.plan.sharding import ShardPlanner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests.postgres import serving

ZONES = ("Asia/Shanghai", "Europe/Berlin", "America/New_York")
STEPS = (
    {"channel": "push", "template": "bench"},
    {"channel": "sms", "template": "bench", "when": {"not": "reopened", "after": "25m"}},
)
ARMS = [{"name": name, "weight": 1} for name in ("dish", "coupon")]
SEGMENT = {
    "name": "dormant",
    "where": {"all": [{"did": "order_paid", "within": "600d"}, {"did_not": "order_paid", "within": "30d"}]},
}


def bundle(steps: int) -> Bundle:
    """Two arms, a holdout, tags for caps, and one or two steps."""
    definition = {
        "name": "bench",
        "topic": "promotions",
        "tags": ["winback"],
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
        store = fill(str(Path(folder) / "bench.db"), count, ZONES)
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
    item, found = _due(store, steps)
    times, last = [], time.perf_counter()

    def chunk(_users: int) -> None:
        nonlocal last
        times.append(time.perf_counter() - last)
        last = time.perf_counter()

    return _planner().plan(store, item, found, chunk).audience, times[1:] or times


def _due(store: Store, steps: int) -> tuple[Run, Bundle]:
    what = bundle(steps)
    with store.write() as connection:
        digest = save_version(connection, what, NOW)
        runs.launch(connection, "bench", digest, NOW, "bench")
        [(item, found)] = due_runs(connection, NOW)
    return item, found


def _planner() -> Planner:
    return Planner(ManualClock(NOW), QuietHours.load(None), Routing.plain({"fcm": "push", "twilio": "sms"}))


def measure_together(count: int, steps: int, planners: int) -> dict[str, float]:
    """Fill, and plan with so many processes at once."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as postgres,
        postgres.database(empty=True) as url,
    ):
        store = fill(url, count, ZONES)
        item, found = _due(store, steps)
        with _helped(url, planners - 1) as ready:
            ready.wait()
            began = time.perf_counter()
            audience = _planner().plan(store, item, found).audience
            seconds = time.perf_counter() - began
        messages = _count(store, "message")
        store.close()
    return {
        "users": count,
        "steps": steps,
        "planners": planners,
        "members": audience,
        "messages": messages,
        "seconds": round(seconds, 1),
    }


@contextmanager
def _helped(url: str, others: int) -> Iterator[Barrier]:
    """Other processes that plan; all begin when everybody waits at the barrier."""
    context = get_context("spawn")
    ready = context.Barrier(others + 1)
    made = [context.Process(target=_help, args=(url, ready)) for _ in range(others)]
    for one in made:
        one.start()
    try:
        yield ready
    finally:
        for one in made:
            one.terminate()
            one.join()


def _help(url: str, ready: Barrier) -> None:
    planner = ShardPlanner(Store(url), _planner())
    planner.chunk()  # connected
    ready.wait()
    while True:
        if planner.chunk() is None:
            time.sleep(0.01)


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
    size, legs, *engine = sys.argv[1:]
    together = measure_together(int(size), int(legs), int(engine[1])) if engine else measure(int(size), int(legs))
    print(json.dumps(together))
