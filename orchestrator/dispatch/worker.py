"""The dispatcher: one worker's loop over lanes.

One round asks every due lane in turn for no more than what can leave at once (connections, rates), so a slow account
never stands before another. Database work runs on one thread; only sending is concurrent.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.audience.refused import just_refused
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Envelope, Outcome, OutcomeClass
from orchestrator.clock import Clock
from orchestrator.content.links import ACKNOWLEDGED, Links
from orchestrator.dispatch.account import Account
from orchestrator.dispatch.batch import take_batch
from orchestrator.dispatch.door import Door, Marked, Probe, Ready
from orchestrator.dispatch.outcome import Answer
from orchestrator.dispatch.restraint import CapsNow
from orchestrator.dispatch.settling import Settler
from orchestrator.errors import LeaseLostError, OrchestratorError
from orchestrator.ledger import lease
from orchestrator.ledger.claim import Lane, due_lanes, next_due
from orchestrator.ledger.ids import WorkerId, parts
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import UNCAPPED
from orchestrator.policy.carriers import UNKNOWN, Routing
from orchestrator.store import Store
from orchestrator.timing.quiet import QuietHours

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 200
SETTLE_BATCH = 500
IDLE_AT_LEAST, IDLE_AT_MOST = 0.01, 0.5
"""Seconds between looks at the queue. Polling is the way to correctness; nothing else wakes a worker."""
DRAIN_SECONDS = 25.0
STALE_SECONDS = 5.0
"""A marked message that has not begun to leave by then does not leave under this mark: the worker was frozen."""


@dataclass(slots=True)
class Worker:
    """One incarnation: ``start()``, then ``run()`` until ``stop()``."""

    store: Store
    clock: Clock
    quiet: QuietHours
    accounts: Mapping[str, Account]
    lease: timedelta = timedelta(seconds=60)
    probe: Probe = lambda _step: None
    only_to: OnlyTo = None
    marked: Marked = lambda _campaign, _day, _at: None
    links: Links | None = None
    routing: Routing = UNKNOWN
    caps: CapsNow = lambda: UNCAPPED
    id: WorkerId = field(init=False)
    _door: Door = field(init=False)
    _settler: Settler = field(init=False)
    _thread: ThreadPoolExecutor = field(init=False)
    _answers: asyncio.Queue[Answer] = field(init=False)
    _sending: set[asyncio.Task[None]] = field(default_factory=set, init=False)
    _stopping: asyncio.Event = field(init=False)
    _held_until: datetime = field(init=False)
    _unreadable: set[str] = field(default_factory=set, init=False)

    def start(self) -> None:
        """Register this incarnation and get ready; call inside the event loop."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dispatch-db")
        self._answers, self._stopping = asyncio.Queue(), asyncio.Event()
        with self.store.write() as connection:
            host, pid, machine = socket.gethostname(), os.getpid(), self.clock.machine()
            self.id = lease.register(connection, host=host, pid=pid, machine=machine, lease=self.lease)
        self._held_until = machine + self.lease
        self._door = Door(
            self.store, self.clock, self.quiet, self.id, self.probe, self.only_to, self.marked, self.links
        )
        warm_ups = {name: account.warm_up for name, account in self.accounts.items() if account.warm_up is not None}
        self._door = replace(self._door, routing=self.routing, caps=self.caps, warm_ups=warm_ups)
        self._settler = Settler(self.clock, self.accounts, self.routing)

    def stop(self) -> None:
        """Claim nothing more, finish what is on its way, and return from ``run()``."""
        self._stopping.set()

    async def run(self) -> None:
        """Send what is due until stopped.

        Raises:
            LeaseLostError: this worker was frozen for longer than its lease.
        """
        tasks = [asyncio.create_task(work()) for work in (self._claim_loop, self._settle_loop, self._beat_loop)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await self._drain()
        except LeaseLostError:
            metrics.fence_rejects.inc()
            raise
        finally:
            for task in [*tasks, *self._sending]:
                task.cancel()
            await asyncio.gather(*tasks, *self._sending, return_exceptions=True)
            self._thread.shutdown(wait=True)

    async def _drain(self) -> None:
        """Wait for requests on their way and write what came of them; then give up the lease."""
        if self._sending:
            await asyncio.wait(self._sending, timeout=DRAIN_SECONDS)
        await self._settle_now()
        await self._db(self._end)

    def _end(self) -> None:
        with self.store.write() as connection:
            lease.end(connection, self.id, self.clock.machine())
            self.probe("ending")

    async def _claim_loop(self) -> None:
        while not self._stopping.is_set():
            if not await self._round():
                await self._idle()

    async def _round(self) -> bool:
        """One turn over the lanes with something due; whether anything was claimed."""
        lanes = await self._db(self._due_lanes)
        busy = False
        for lane in lanes:
            account = self.accounts.get(lane.account)
            if account is None or self._stopping.is_set():
                continue
            room = account.room(lane, BATCH)
            if room > 0:
                busy |= await self._through_the_door(lane, account, room)
        return busy

    def _due_lanes(self) -> list[Lane]:
        with self.store.read() as connection:
            lanes = due_lanes(connection, self.clock.now(), self.clock.machine())
            return [lane for lane in lanes if self._readable(connection, lane)]

    def _readable(self, connection: Connection, lane: Lane) -> bool:
        """Whether this release takes the lane's version: nothing is claimed that could only bring the worker down."""
        if lane.version in self._unreadable:
            return False
        try:
            read_bundle(connection, lane.version)
        except OrchestratorError as error:
            self._unreadable.add(lane.version)
            what = {"campaign": lane.campaign, "run": lane.run_id, "error": error.message}
            log.error("version_unreadable", extra=what)  # noqa: TRY400
            return False
        return True

    async def _through_the_door(self, lane: Lane, account: Account, room: int) -> bool:
        """Claim, compose, admit, mark, send: one batch of one lane."""
        batch = await self._db(take_batch, self._door, lane, account, room)
        for item in batch.leaving:
            self._begin(account, item, batch.taken_at)  # from before the mark: it may freeze right after its commit
        return batch.claimed > 0

    def _begin(self, account: Account, item: Ready, marked: float) -> None:
        """Start one request; the connection is free again when its task is over, even if that never got to run."""

        def over(done: asyncio.Task[None]) -> None:
            self._sending.discard(done)
            account.count_in_flight(-1)

        account.count_in_flight(1)
        task = asyncio.create_task(self._send(account, item, marked))
        self._sending.add(task)
        task.add_done_callback(over)

    async def _send(self, account: Account, item: Ready, marked: float) -> None:
        outcome = await self._request(account, item, marked)
        self.probe("sent")
        message = item.composed.message
        done = Answer(message, account.name, outcome, item.marked_at, self.clock.now(), item.composed.payload)
        await self._answers.put(done)

    def _too_late(self, account: Account, item: Ready, marked: float, now: datetime) -> bool:
        """Whether since the mark the window has closed, the worker was frozen, or the person has refused."""
        if now >= item.until or self.clock.monotonic() - marked > STALE_SECONDS or not self.alive():
            return True
        made, channel = item.composed, account.channel.channel
        return just_refused(self.store.writer_engine, channel, made.message.user_id, made.address)

    async def _request(self, account: Account, item: Ready, marked: float) -> Outcome:
        """The one request of this attempt; none at all when something has changed since the mark."""
        self.probe("leaving")
        now = self.clock.now()
        if self._too_late(account, item, marked, now):
            return Outcome(OutcomeClass.RETRY, "not_begun", may_have_left=False)
        if not item.composed.message.attempts:
            age = (now - item.composed.message.due_at).total_seconds()
            metrics.queue_age_seconds.labels(account.channel.channel).observe(age)
        began = self.clock.monotonic()
        ack = self._ack(item) if account.channel.channel in ACKNOWLEDGED else ""
        envelope = envelope_of(item, self.clock.machine_span(item.until - now), ack)
        outcome = await self._exchange(account, envelope)
        account.heard(outcome, self.clock.monotonic() - began)
        return outcome

    def _ack(self, item: Ready) -> str:
        """What the app acknowledges the message with."""
        return self.links.ack(item.composed.message.id, self.clock.machine()) if self.links else ""

    async def _exchange(self, account: Account, envelope: Envelope) -> Outcome:
        limit = account.channel.timeout.total_seconds() + 1
        try:
            async with asyncio.timeout(limit):  # wait_for would make a task of every request
                return await account.channel.send(envelope)
        except TimeoutError:
            return Outcome(OutcomeClass.AMBIGUOUS, "timeout")
        except Exception as error:  # noqa: BLE001  # a plugin's bug is one message's doubt, not the worker's end
            log.error("channel_raised", extra={"account": account.name, "error": type(error).__name__})  # noqa: TRY400
            return Outcome(OutcomeClass.AMBIGUOUS, type(error).__name__)

    async def _settle_loop(self) -> None:
        while True:
            first = await self._answers.get()
            await self._settle([first])

    async def _settle_now(self) -> None:
        while not self._answers.empty():
            await self._settle([])

    async def _settle(self, batch: list[Answer]) -> None:
        while not self._answers.empty() and len(batch) < SETTLE_BATCH:
            batch.append(self._answers.get_nowait())
        await self._db(self._write_answers, batch)

    def _write_answers(self, batch: list[Answer]) -> None:
        self.probe("settling")
        with self.store.write() as connection:
            self._settler.settle(connection, self._door.holder(), batch)
            self.probe("written")
        self.probe("settled")

    async def _beat_loop(self) -> None:
        while True:
            await asyncio.sleep(self.lease.total_seconds() / 3)
            await self._db(self._beat)

    def _beat(self) -> None:
        with self.store.write() as connection:
            holder = self._door.holder()
            lease.renew(connection, holder, self.lease)
            self.probe("beating")
        self._held_until = holder.machine + self.lease

    def alive(self) -> bool:
        """Whether its lease, as it stands in the database, is not over."""
        return self.clock.machine() < self._held_until

    async def _idle(self) -> None:
        due = await self._db(self._next_due)
        wait = IDLE_AT_MOST if due is None else self.clock.machine_span(due - self.clock.now()).total_seconds()
        seconds = min(max(wait, IDLE_AT_LEAST), IDLE_AT_MOST)
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return

    def _next_due(self) -> datetime | None:
        with self.store.read() as connection:
            return next_due(connection, self.clock.machine())

    async def _db(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run database work on this worker's one thread."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))


def envelope_of(item: Ready, ttl: timedelta, ack: str = "") -> Envelope:
    """What goes to the channel. The collapse key names the member's run, so a resend replaces what it repeats."""
    message = item.composed.message
    run, user, step = parts(message.id)
    return Envelope(
        message_id=str(message.id),
        attempt=message.attempts + 1,
        address=item.composed.address,
        address_kind=item.composed.address_kind,
        payload=item.composed.payload,
        ttl=ttl,
        collapse_key=f"r{run}-{user}-{step}",
        details=item.composed.details,
        ack=ack,
    )
