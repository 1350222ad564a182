"""Messages a second through the whole door: claim → compose → admit → mark → send → settle, on SQLite.

Once through a channel that answers at once, against the same three grouped transactions without any logic; once
through the real FCM channel to nginx, which is never the bottleneck, against as many bare requests to it; once to the
sandbox, which is.

Run as ``python -m bench.dispatch null|nginx|sandbox COUNT``; prints one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvloop

from bench.channels import Counted, NullChannel
from bench.nginx import nginx, own_limit
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, NOW, fill
from bench.reference import BODY, grouped_transactions, raw_requests
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.channel.base import Channel
from orchestrator.channel.push.fcm import open_channel
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock
from orchestrator.content.files import read_folder
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import runs
from orchestrator.limits.rate import MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests.far_end import far_end

TEMPLATE = "lunch-winback/dish"
LUNCH = datetime(2026, 12, 7, 10, 10, tzinfo=UTC)
"""Ten past eleven for everybody: all are due, and the window is open for another half hour."""
CONNECTIONS = {"null": 200, "nginx": 128, "sandbox": 128}
DEFINITION = {
    "name": "bench",
    "topic": "promotions",
    "audience": {"segment": "dormant"},
    "schedule": {"dates": ["2026-12-07"]},
    "window": {"local": "10:30-11:45", "late": "skip"},
    "steps": [{"channel": "push", "template": TEMPLATE}],
    "goal": {"event": "app_open", "within": "24h"},
    "holdout": "5%",
    "facts": ["orders", "favourite"],
}
PHASES = {
    "claiming": "claim", "claimed": "commit", "composed": "compose", "marking": "judge", "marked": "mark",
    "written": "settle", "settled": "commit",
}  # fmt: skip
"""By the step of the door that has just been reached: what the database's thread was doing until then."""


@dataclass(slots=True)
class Watch:
    """Processor time of the database's thread by phase, told by the worker's probe."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    batches: Counter[str] = field(default_factory=Counter)
    _thread: int = 0
    _last: float = 0.0

    def probe(self, step: str) -> None:
        """A step was reached."""
        if threading.current_thread() is threading.main_thread():
            return
        now = time.thread_time()
        if step in PHASES:
            self.seconds[PHASES[step]] += now - self._last
            self.batches[PHASES[step]] += 1
        else:
            self.seconds["other"] += now - self._last
        self._last = now


@contextmanager
def planned(count: int) -> Iterator[tuple[Store, int]]:
    """A database with a run of about ``count`` messages planned and due, and how many of them are to be sent."""
    templates = read_folder(Path(__file__).parents[1] / "templates", TEMPLATE)
    what = Bundle(parse_campaign(Document("bench.yaml", DEFINITION)), DEFINITION, {"dormant": SEGMENT}, templates)
    with tempfile.TemporaryDirectory() as folder:
        store = fill(str(Path(folder) / "bench.db"), count * 20 // 17, LUNCH_ZONES)
        with store.write() as connection:
            runs.launch(connection, "bench", save_version(connection, what, NOW), NOW, "bench")
            [(item, found)] = due_runs(connection, NOW)
        Planner(ManualClock(NOW), QuietHours.load(None), Routing.plain({"fcm": "push"})).plan(store, item, found)
        with store.read() as connection:
            owed = connection.exec_driver_sql("SELECT count(*) FROM message WHERE NOT held_out").scalar_one()
        yield store, int(owed)
        store.close()


def measure(kind: str, count: int) -> dict[str, object]:
    """One way through the door."""
    if kind == "null":
        return _measure(kind, count, None)
    if kind == "nginx":
        with nginx() as server:
            if server is None:
                return {"messages": 0, "why": "nginx cannot be had here"}
            options = {"service_account_file": server.service_account(), "base_url": server.url}
            figures = _measure(kind, count, options)
            assert server.requests() >= 2 * int(str(figures["messages"])), "a request is missing"
            return {**figures, "far_end_per_second": round(own_limit(server, BODY) or 0)}
    with tempfile.TemporaryDirectory() as folder, far_end(Path(folder) / "far") as far:
        options = {"service_account_file": far.state / "service-account.json", "base_url": far.url}
        figures = _measure(kind, count, options)
        taken = [row["message_id"] for row in far.accepted() if row["message_id"] != "bench"]
        return {**figures, "duplicates": len(taken) - len(set(taken))}


def _measure(kind: str, count: int, options: dict[str, object] | None) -> dict[str, object]:
    with planned(count) as (store, owed):
        watch = Watch()
        rate, figures = uvloop.run(_through(store, owed, kind, options, watch))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = max(1, owed // max(watch.batches["mark"], 1))
        if options is None:
            reference = grouped_transactions(store, size)
        else:
            reference = uvloop.run(raw_requests(options, owed, CONNECTIONS[kind]))
        return {
            **figures,
            "reference_per_second": round(reference),
            "ratio": round(reference / rate, 2),
            "peak_mb": round(peak, 1),
            "mean_batch": size,
        }


def _channel(options: dict[str, object] | None) -> Channel:
    return NullChannel() if options is None else open_channel("fcm", options, "")


def _account(channel: Counted, connections: int) -> Account:
    clock = SystemClock()
    return open_account(
        "fcm",
        channel,
        rate=1e6,
        burst=100_000,
        ramp=timedelta(0),
        connections=connections,
        limiter=MemoryLimiter(clock.monotonic),
        monotonic=clock.monotonic,
    )


async def _through(
    store: Store, owed: int, kind: str, options: dict[str, object] | None, watch: Watch
) -> tuple[float, dict[str, object]]:
    channel = Counted(_channel(options), owed)
    clock = AcceleratedClock(LUNCH, 1.0, SystemClock().machine())
    accounts = {"fcm": _account(channel, CONNECTIONS[kind])}
    worker = Worker(store, clock, QuietHours.load(None), accounts, timedelta(seconds=60), watch.probe)
    worker.start()
    began, used = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run())
    everything = asyncio.create_task(channel.done.wait())
    await asyncio.wait({everything, running}, timeout=600, return_when=asyncio.FIRST_COMPLETED)
    everything.cancel()
    worker.stop()
    await running
    seconds, used = time.perf_counter() - began, time.process_time() - used
    await channel.close()
    states = states_of(store)
    assert states.get("accepted") == owed, f"only {states} of {owed}"
    split = {name: round(spent / owed * 1e6, 1) for name, spent in watch.seconds.items()}
    split["event_loop"] = round(used / owed * 1e6 - sum(split.values()), 1)
    return owed / seconds, {
        "messages": owed,
        "per_second": round(owed / seconds),
        "seconds": round(seconds, 2),
        "duplicates": len(channel.sent) - len(set(channel.sent)),
        "states": states,
        "cpu_us_per_message": round(used / owed * 1e6, 1),
        "cpu_us_split": split,
    }


def states_of(store: Store) -> dict[str, int]:
    """Messages by state."""
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT state, count(*) FROM message GROUP BY state").all()
    return {str(state): int(n) for state, n in rows}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
