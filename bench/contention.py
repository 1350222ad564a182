"""What a message costs with many worker processes over one PostgreSQL, through a channel that answers at once.

Run as ``python -m bench.contention COUNT WORKERS``; prints one JSON object. Processor time is that of the workers and
of the server's processes together; ``ratio`` is that of a message ÷ the same with one worker.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import psycopg
import uvloop

from bench.channels import Counted, NullChannel
from bench.dispatch import CONNECTIONS, planned, postgresql
from bench.door import LUNCH, states_of, unbraked
from orchestrator.clock import AcceleratedClock, Clock, SystemClock
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import next_due
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours


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
        command = [sys.executable, "-m", "bench.contention", "work", url, origin]
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


if __name__ == "__main__":
    if sys.argv[1] == "work":
        print(json.dumps(work(*sys.argv[2:4])))
    else:
        print(json.dumps(contention(*map(int, sys.argv[1:3]))))
