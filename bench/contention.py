"""What a message costs with many worker processes over one PostgreSQL, through a channel that answers at once.

Run as ``python -m bench.contention COUNT WORKERS``; prints one JSON object. Processor time is that of the workers and
of the server's processes together; ``ratio`` is that of a message ÷ the same with one worker. More processes than
cores cost something by themselves, whatever they do: ``apart`` is what a message costs as many workers that each have a
PostgreSQL and a share of the messages to themselves, and ``apart_ratio`` what sharing one ledger adds to that. Each
worker has as many connections as where dispatch over PostgreSQL is measured.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime

import uvloop

from bench.channels import Counted, NullChannel
from bench.dispatch import CONNECTIONS, planned, postgresql, server_seconds
from bench.door import LUNCH, states_of, unbraked
from orchestrator.clock import AcceleratedClock, Clock, SystemClock
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger.claim import next_due
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours


@dataclass(frozen=True, slots=True)
class _Cost:
    """What sending all of it came to."""

    messages: int
    sent: int
    seconds: float
    """Until the last worker was done."""
    workers: float
    """Seconds of processor time, of all workers."""
    servers: float

    @property
    def per_second(self) -> int:
        return round(self.messages / self.seconds)

    def us(self, seconds: float) -> float:
        """Microseconds a message."""
        return round(seconds / self.messages * 1e6, 1)

    @property
    def cpu_us(self) -> float:
        return self.us(self.workers + self.servers)


def contention(count: int, workers: int) -> dict[str, object]:
    """What a message costs with so many workers, with one, and with as many that share the machine alone."""
    alone, apart, together = _crowd(count, [1]), _crowd(count, [1] * workers), _crowd(count, [workers])
    return {
        "messages": together.messages,
        "per_second": together.per_second,
        "seconds": round(together.seconds, 2),
        "duplicates": together.sent - together.messages,
        "cpu_us_per_message": together.cpu_us,
        "cpu_us_split": {"workers": together.us(together.workers), "server": together.us(together.servers)},
        "workers": workers,
        "reference_per_second": alone.per_second,
        "reference_cpu_us_per_message": alone.cpu_us,
        "apart_per_second": apart.per_second,
        "apart_cpu_us_per_message": apart.cpu_us,
        "share": round(together.per_second / alone.per_second, 3),
        "ratio": round(together.cpu_us / alone.cpu_us, 3),
        "apart_ratio": round(together.cpu_us / apart.cpu_us, 3),
    }


def _crowd(count: int, crowds: Sequence[int]) -> _Cost:
    """Send about ``count`` messages in all, over one server for each crowd of so many workers."""
    with ExitStack() as stack:
        urls = [stack.enter_context(postgresql()) for _ in crowds]
        ledgers = [stack.enter_context(planned(count // len(crowds), url)) for url in urls]
        origin = SystemClock().machine().isoformat()
        addresses = [url for url, workers in zip(urls, crowds, strict=True) for _ in range(workers)]
        workers = [_worker(url, origin) for url in addresses]
        for worker in workers:
            _wait_for(worker)
        before = sum(map(server_seconds, urls))
        for worker in workers:
            _begin(worker)
        told = [json.loads(worker.communicate(timeout=600)[0]) for worker in workers]
        servers = sum(map(server_seconds, urls)) - before
        for store, owed in ledgers:
            assert states_of(store).get("accepted") == owed, f"only {states_of(store)} of {owed}"
        return _Cost(
            messages=sum(owed for _, owed in ledgers),
            sent=sum(one["sent"] for one in told),
            seconds=max(one["seconds"] for one in told),
            workers=sum(one["cpu_seconds"] for one in told),
            servers=servers,
        )


def _worker(url: str, origin: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench.contention", "work", url, origin]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _wait_for(worker: subprocess.Popen[str]) -> None:
    """Until it has imported everything and is ready."""
    assert worker.stdout is not None
    worker.stdout.readline()


def _begin(worker: subprocess.Popen[str]) -> None:
    assert worker.stdin is not None
    worker.stdin.write("\n")
    worker.stdin.flush()


def work(url: str, origin: str) -> dict[str, object]:
    """One worker of several: sends until nothing is due, from when it is told to."""
    store = Store(url)
    print("ready", flush=True)
    sys.stdin.readline()
    return uvloop.run(_work(store, AcceleratedClock(LUNCH, 1.0, datetime.fromisoformat(origin))))


async def _work(store: Store, clock: Clock) -> dict[str, object]:
    channel = Counted(NullChannel(), sys.maxsize)
    worker = Worker(store, clock, QuietHours.load(None), {"fcm": unbraked("fcm", channel, CONNECTIONS["postgresql"])})
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
