"""Everything that is due, through the door as the daemon does it: one worker, one account; and what that cost."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
from pydantic import SecretStr

from bench.channels import Counted
from bench.population import NOW
from orchestrator.campaign.document import Document
from orchestrator.campaign.parse import parse_campaign
from orchestrator.campaign.version import Bundle, save_version
from orchestrator.channel.base import Channel
from orchestrator.clock import AcceleratedClock, ManualClock, SystemClock
from orchestrator.content.links import Links
from orchestrator.daemon.restoring import guard_of
from orchestrator.daemon.wiring import limits_of
from orchestrator.dispatch import interpreter
from orchestrator.dispatch.account import Account, open_account
from orchestrator.dispatch.worker import Worker
from orchestrator.ledger import runs
from orchestrator.limits.rate import Limiter, MemoryLimiter
from orchestrator.plan.due import due_runs
from orchestrator.plan.planner import Planner
from orchestrator.policy.carriers import Routing
from orchestrator.settings import Settings
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours

Definition = dict[str, Any]
LUNCH = datetime(2026, 12, 7, 10, 10, tzinfo=UTC)
"""Ten past eleven for everybody: all are due, and the window is open for another half hour."""
PHASES = {
    "claiming": "claim", "claimed": "commit", "composed": "compose", "marking": "judge", "marked": "mark",
    "written": "settle", "settled": "commit",
}  # fmt: skip
"""By the step of the door that has just been reached: what the database's thread was doing until then."""

_LOOP = threading.get_ident()
"""The thread of the event loop."""


@dataclass(slots=True)
class Watch:
    """Processor time of the database's thread by phase, told by the worker's probe."""

    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    batches: Counter[str] = field(default_factory=Counter)
    _last: threading.local = field(default_factory=threading.local)

    def probe(self, step: str) -> None:
        """A step was reached."""
        if threading.get_ident() == _LOOP:
            return
        now = time.thread_time()
        spent = now - getattr(self._last, "seconds", 0.0)
        self.seconds[PHASES.get(step, "other")] += spent
        self.batches[PHASES.get(step, "other")] += 1
        self._last.seconds = now


@dataclass(frozen=True, slots=True)
class Through:
    """What sending all of it came to."""

    messages: int
    seconds: float
    cpu_seconds: float
    duplicates: int
    batches: int
    """Marks: transactions that let something leave."""
    split: dict[str, float]
    """Microseconds of processor time a message, by phase."""

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    def figures(self) -> dict[str, Any]:
        """As the table shows them."""
        return {
            "messages": self.messages,
            "per_second": round(self.per_second),
            "cpu_us_per_message": round(self.cpu_seconds / self.messages * 1e6, 1),
            "cpu_us_split": self.split,
            "duplicates": self.duplicates,
        }


def plan(
    store: Store,
    definition: Definition,
    segment: Mapping[str, Any],
    templates: Mapping[str, str],
    carriers: Mapping[str, str],
) -> float:
    """Launch a campaign and plan its run, which is then due at ``LUNCH``; seconds that planning took."""
    campaign = parse_campaign(Document("bench.yaml", definition))
    what = Bundle(campaign, definition, {str(segment["name"]): dict(segment)}, dict(templates))
    with store.write() as connection:
        runs.launch(connection, campaign.name, save_version(connection, what, NOW), NOW, "bench")
        due = due_runs(connection, NOW)
    began = time.perf_counter()
    for item, found in due:
        Planner(ManualClock(NOW), QuietHours.load(None), Routing.plain(dict(carriers))).plan(store, item, found)
    return time.perf_counter() - began


def owed(store: Store) -> int:
    """How many messages are planned and to be sent."""
    with store.read() as connection:
        sql = "SELECT count(*) FROM message WHERE state = 'planned' AND NOT held_out"
        return int(connection.exec_driver_sql(sql).scalar_one())


def send_all(
    store: Store,
    account: str,
    opened: Callable[[], Channel],
    connections: int,
    *,
    links: Links | None = None,
    redis: str = "",
) -> Through:
    """Send all that is due, in an event loop of its own, in which the channel is ``opened`` and closed.

    ``redis``: the address of the server that keeps the rates, and with PostgreSQL the restore guard.
    """
    return uvloop.run(_send(store, account, opened, connections, links, redis))


async def _send(
    store: Store,
    name: str,
    opened: Callable[[], Channel],
    connections: int,
    links: Links | None,
    redis: str,
) -> Through:
    count, accepted = owed(store), states_of(store).get("accepted", 0)
    channel, system, watch = Counted(opened(), count), SystemClock(), Watch()
    clock = AcceleratedClock(LUNCH, 1.0, system.machine())
    settings = Settings(database=store.url, redis=SecretStr(redis) if redis else None, redis_name="bench")
    limiter, _ = limits_of(settings, clock)
    account, guard = unbraked(name, channel, connections, limiter), guard_of(settings, clock, store)
    worker = Worker(store, clock, QuietHours.load(None), {name: account}, timedelta(seconds=60), watch.probe)
    worker.links = links
    if guard is not None:
        worker.marked = guard.marked
    worker.start()
    interpreter.set_up()  # as the daemon does
    began, used = time.perf_counter(), time.process_time()
    running = asyncio.create_task(worker.run())
    everything = asyncio.create_task(channel.done.wait())
    await asyncio.wait({everything, running}, timeout=1200, return_when=asyncio.FIRST_COMPLETED)
    everything.cancel()
    worker.stop()
    await running
    seconds, used = time.perf_counter() - began, time.process_time() - used
    await channel.close()
    if guard is not None:
        guard.close()
    states = states_of(store)
    assert states.get("accepted", 0) - accepted == count, f"only {states} of {count}"
    split = {phase: round(spent / count * 1e6, 1) for phase, spent in watch.seconds.items()}
    split["event_loop"] = round(used / count * 1e6 - sum(split.values()), 1)
    return Through(count, seconds, used, len(channel.sent) - len(set(channel.sent)), watch.batches["mark"], split)


def unbraked(name: str, channel: Channel, connections: int, limiter: Limiter | None = None) -> Account:
    """An account whose rate is never the bottleneck; ``limiter``: who keeps it, if not this process."""
    monotonic = SystemClock().monotonic
    return open_account(
        name,
        channel,
        rate=1e6,
        burst=100_000,
        ramp=timedelta(0),
        connections=connections,
        limiter=limiter or MemoryLimiter(monotonic),
        monotonic=monotonic,
    )


def states_of(store: Store) -> dict[str, int]:
    """Messages by state."""
    with store.read() as connection:
        rows = connection.exec_driver_sql("SELECT state, count(*) FROM message GROUP BY state").all()
    return {str(state): int(n) for state, n in rows}
