"""Messages a second through the whole door: claim → compose → admit → mark → send → settle, on SQLite.

Once through a channel that answers at once, against the same three grouped transactions without any logic; once
through the real FCM channel to nginx, which is never the bottleneck, against as many bare requests to it; once to the
sandbox, which is.

``postgresql``: to nginx as well, over PostgreSQL, with the rates in Valkey. ``contention``: so many worker processes
over one PostgreSQL, through the channel that answers at once; what a message costs them and the server's processes
together, against one worker.

Run as ``python -m bench.dispatch null|nginx|sandbox|postgresql COUNT`` or ``contention COUNT WORKERS``; prints one JSON
object. ``share`` is messages a second ÷ the reference's; ``ratio`` the other way round, and for ``contention`` the
processor time of a message ÷ the same with one worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import psycopg
import uvloop

from bench.channels import Counted, NullChannel
from bench.door import LUNCH, owed, plan, send_all, states_of, unbraked
from bench.nginx import nginx, own_limit
from bench.plan import SEGMENT
from bench.population import LUNCH_ZONES, fill
from bench.reference import BODY, grouped_transactions, raw_requests
from orchestrator.channel.base import Channel
from orchestrator.channel.push.fcm import open_channel
from orchestrator.clock import AcceleratedClock, Clock, SystemClock
from orchestrator.content.files import read_folder
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import next_due
from orchestrator.limits.shared import SharedLimiter, connect
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours
from tests.far_end import far_end
from tests.postgres import serving
from tests.valkey import valkey_server

TEMPLATE = "lunch-winback/dish"
CONNECTIONS = {"null": 200, "nginx": 400, "sandbox": 128, "postgresql": 400}
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


@contextmanager
def planned(count: int, url: str) -> Iterator[tuple[Store, int]]:
    """A new database with a run of about ``count`` messages planned and due, and how many of them are to be sent."""
    templates = read_folder(Path(__file__).parents[1] / "templates", TEMPLATE)
    store = fill(url, count * 20 // 17, LUNCH_ZONES)
    plan(store, DEFINITION, SEGMENT, templates, {"fcm": "push"})
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    yield store, owed(store)
    store.close()


@contextmanager
def postgresql() -> Iterator[str]:
    """The address of an empty database, whose server syncs its commits."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        with psycopg.connect(server.uri, autocommit=True) as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = on")
            connection.execute("SELECT pg_reload_conf()")
        with server.database(empty=True) as url:
            yield url


def measure(kind: str, count: int, workers: int = 1) -> dict[str, object]:
    """One way through the door."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "bench.db")
        match kind:
            case "null":
                return _measure(kind, count, path, None)
            case "contention":
                return contention(count, workers)
            case "postgresql":
                with postgresql() as url, valkey_server() as valkey:
                    return _to_nginx(kind, count, url, valkey.address)
            case "nginx":
                return _to_nginx(kind, count, path)
            case _:
                return _to_sandbox(kind, count, folder)


def _to_sandbox(kind: str, count: int, folder: str) -> dict[str, object]:
    with far_end(Path(folder) / "far") as far:
        options = {"service_account_file": far.state / "service-account.json", "base_url": far.url}
        figures = _measure(kind, count, str(Path(folder) / "bench.db"), options)
        taken = [row["message_id"] for row in far.accepted() if row["message_id"] != "bench"]
        return {**figures, "duplicates": len(taken) - len(set(taken))}


def _to_nginx(kind: str, count: int, url: str, limits: str = "") -> dict[str, object]:
    with nginx() as server:
        if server is None:
            return {"messages": 0, "why": "nginx cannot be had here"}
        options = {"service_account_file": server.service_account(), "base_url": server.url}
        figures = _measure(kind, count, url, options, limits)
        assert server.requests() >= 2 * int(str(figures["messages"])), "a request is missing"
        return {**figures, "far_end_per_second": round(own_limit(server, BODY) or 0)}


def _measure(kind: str, count: int, url: str, options: dict[str, object] | None, limits: str = "") -> dict[str, object]:
    with planned(count, url) as (store, owed):
        shared = SharedLimiter(connect(limits), "bench", SystemClock().monotonic) if limits else None
        through = send_all(store, "fcm", lambda: _channel(options), CONNECTIONS[kind], limiter=shared)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        size = max(1, owed // max(through.batches, 1))
        if options is None:
            reference = grouped_transactions(store, size)
        else:
            reference = uvloop.run(raw_requests(options, owed, CONNECTIONS[kind]))
        return {
            **through.figures(),
            "reference_per_second": round(reference),
            "share": round(through.per_second / reference, 3),
            "ratio": round(reference / through.per_second, 2),
            "peak_mb": round(peak, 1),
            "mean_batch": size,
        }


def contention(count: int, workers: int) -> dict[str, object]:
    """What a message costs with so many workers, and with one."""
    alone, together = _crowd(count, 1), _crowd(count, workers)
    return {
        **together,
        "workers": workers,
        "reference_per_second": alone["per_second"],
        "reference_cpu_us_per_message": alone["cpu_us_per_message"],
        "share": round(float(str(together["per_second"])) / float(str(alone["per_second"])), 3),
        "ratio": round(float(str(together["cpu_us_per_message"])) / float(str(alone["cpu_us_per_message"])), 3),
    }


def _crowd(count: int, workers: int) -> dict[str, object]:
    with postgresql() as url, planned(count, url) as (store, owed):
        origin = SystemClock().machine().isoformat()
        command = [sys.executable, "-m", "bench.dispatch", "work", url, origin]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        crowd = [subprocess.Popen(command, **pipes) for _ in range(workers)]  # type: ignore[call-overload]
        for one in crowd:
            one.stdout.readline()  # it has imported everything and is ready
        server, began = _server_seconds(url), time.perf_counter()
        for one in crowd:
            one.stdin.write("\n")
            one.stdin.flush()
        told = [json.loads(one.communicate(timeout=600)[0]) for one in crowd]
        seconds, server = time.perf_counter() - began, _server_seconds(url) - server
        states = states_of(store)
        assert states.get("accepted") == owed, f"only {states} of {owed}"
        own = sum(one["cpu_seconds"] for one in told)
        return {
            "messages": owed,
            "per_second": round(owed / max(one["seconds"] for one in told)),
            "seconds": round(seconds, 2),
            "duplicates": sum(one["sent"] for one in told) - owed,
            "cpu_us_per_message": round((own + server) / owed * 1e6, 1),
            "cpu_us_split": {"workers": round(own / owed * 1e6, 1), "server": round(server / owed * 1e6, 1)},
        }


def _server_seconds(url: str) -> float:
    """Processor time of all processes of the server, those that have ended too."""
    with psycopg.connect(url) as connection:
        folder = connection.execute("SHOW data_directory").fetchone()
    assert folder is not None
    postmaster = (Path(folder[0]) / "postmaster.pid").read_text().split()[0]
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            _, parent, *_ = fields = path.read_text().rpartition(")")[2].split()
            own, reaped = sum(map(int, fields[11:13])), sum(map(int, fields[13:15]))
            ticks += own + reaped if path.parent.name == postmaster else own if parent == postmaster else 0
    return ticks / os.sysconf("SC_CLK_TCK")


def work(url: str, origin: str) -> dict[str, object]:
    """One worker of several: sends until nothing is due, from when it is told to."""
    store = Store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    return uvloop.run(_work(store, AcceleratedClock(LUNCH, 1.0, datetime.fromisoformat(origin))))


async def _work(store: Store, clock: Clock) -> dict[str, object]:
    channel = Counted(NullChannel(), sys.maxsize)
    worker = Worker(store, clock, QuietHours.load(None), {"fcm": unbraked("fcm", channel, CONNECTIONS["null"])})
    interpreter.set_up()
    began, used = time.perf_counter(), time.process_time()
    worker.start()
    running = asyncio.create_task(worker.run())

    def idle() -> bool:
        with store.read() as connection:
            return next_due(connection, clock.machine()) is None

    while not await asyncio.to_thread(idle):  # noqa: ASYNC110  # the ledger's news
        await asyncio.sleep(0.1)
    worker.stop()
    await running
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
    store.close()
    return {**spent, "sent": len(channel.sent)}


def _channel(options: dict[str, object] | None) -> Channel:
    return NullChannel() if options is None else open_channel("fcm", options, "")


if __name__ == "__main__":
    if sys.argv[1] == "work":
        print(json.dumps(work(*sys.argv[2:4])))
    else:
        print(json.dumps(measure(sys.argv[1], *map(int, sys.argv[2:4]))))
