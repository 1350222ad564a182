"""The dispatcher: one worker's loop over lanes.

One round asks every due lane in turn for no more than what can leave at once (connections, rates), so a slow account
never stands before another. Database work runs on threads: on one where one writer is all there can be, on two where a
server would be waited for, so that batches overlap. Only sending is concurrent otherwise. Answers are written with the
next claim, in its transaction; where there is none, by themselves.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import ParamSpec, TypeVar

from sqlalchemy import Connection

from orchestrator import metrics, traces
from orchestrator.campaign.version import read_bundle
from orchestrator.channel.base import Outcome, OutcomeClass
from orchestrator.clock import Clock
from orchestrator.content.links import Links
from orchestrator.dispatch.account import Account, Seats
from orchestrator.dispatch.answers import GATHER, Answers
from orchestrator.dispatch.batch import Batch, take_batch
from orchestrator.dispatch.compose import Composed
from orchestrator.dispatch.door import Door, First, Marked, Probe
from orchestrator.dispatch.flights import Flights
from orchestrator.dispatch.outcome import NOT_BEGUN, Answer
from orchestrator.dispatch.restraint import CapsNow
from orchestrator.dispatch.settling import Settler
from orchestrator.errors import LeaseLostError, OrchestratorError
from orchestrator.ledger import lease, place
from orchestrator.ledger.claim import Lane, due_lanes, next_due, release_all
from orchestrator.ledger.ids import WorkerId
from orchestrator.policy.allowed import OnlyTo
from orchestrator.policy.caps import UNCAPPED
from orchestrator.policy.carriers import UNKNOWN, Routing
from orchestrator.store import AWAY, Store, unavailable
from orchestrator.timing.quiet import QuietHours

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 300
"""Messages of one claim, at most: some 20 ms of a transaction on SQLite, where nobody else may write meanwhile."""
TAKERS = {"sqlite": 1, "postgresql": 2}
"""How many batches are on their way to the threshold at once, each on a thread of its own."""
IDLE_AT_LEAST, IDLE_AT_MOST = 0.01, 0.5
"""Seconds between looks at the queue. Polling is the way to correctness; :meth:`Worker.wake` only makes it quick."""
LANES_HOLD = 0.1
"""Seconds for which a busy worker goes on with the lanes that it knows of. The gate looks at every message anyhow."""
DRAIN_SECONDS = 25.0
AWAY_SECONDS = 0.5
"""How long a database that is away is left alone by a worker that ends and has answers for it."""


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
    steady: Callable[[], bool] = lambda: True
    """Whether this machine's clock can be relied on: else nothing is claimed."""
    id: WorkerId = field(init=False)
    _door: Door = field(init=False)
    _threads: ThreadPoolExecutor = field(init=False)
    _answers: Answers = field(init=False)
    _flights: Flights = field(init=False)
    _lanes: tuple[float, list[Lane]] = field(default=(0.0, []), init=False)
    """Lanes with something due, and until when that holds."""
    _stopping: asyncio.Event = field(init=False)
    _woken: asyncio.Event = field(init=False)
    _busy: asyncio.Event = field(init=False)
    """Set while there is work for more than one taker."""
    _full: bool = field(default=False, init=False)
    """Whether something was due in the last round for which there was no room."""
    _takers: int = field(init=False)
    _held_until: datetime = field(init=False)
    _unreadable: set[str] = field(default_factory=set, init=False)

    def start(self) -> None:
        """Register this incarnation and get ready; call inside the event loop."""
        self._takers = TAKERS[self.store.dialect]
        self._threads = ThreadPoolExecutor(self._takers, thread_name_prefix="dispatch-db")
        self._stopping, self._woken, self._busy = asyncio.Event(), asyncio.Event(), asyncio.Event()
        began = time.monotonic()
        with self.store.write() as connection:
            host, pid, machine = place.here(), os.getpid(), self.clock.machine()
            self.id = lease.register(connection, host=host, pid=pid, machine=machine, lease=self.lease)
        self._held_until = machine + self.lease
        self._flights = Flights(self.store, self.clock, self.links, self.probe, self.alive, self._heard)
        self._flights.begin_by = began + self.lease.total_seconds()
        self._door = Door(
            self.store, self.clock, self.quiet, self.id, self.probe, self.only_to, self.marked, self.links
        )
        warm_ups = {name: account.warm_up for name, account in self.accounts.items() if account.warm_up is not None}
        self._door = replace(self._door, routing=self.routing, caps=self.caps, warm_ups=warm_ups)
        settler = Settler(self.clock, self.accounts, self.routing)
        self._answers = Answers(self.store, settler, self._door.holder, self.probe, self.wake, self._forget_lanes)

    def stop(self) -> None:
        """Claim nothing more, finish what is on its way, and return from ``run()``."""
        self._stopping.set()
        self._woken.set()
        self._busy.set()

    def wake(self) -> None:
        """Look at the queue at once instead of within half a second: a hint, for the event loop's own thread."""
        self._woken.set()

    async def run(self) -> None:
        """Send what is due until stopped.

        Raises:
            LeaseLostError: this worker was frozen for longer than its lease.
        """
        tasks = [asyncio.create_task(work()) for work in (self._work_loop, self._flights.watch, self._beat_loop)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._end_in_order(tasks[0], [error for task in done if (error := task.exception()) is not None])
        except LeaseLostError:
            metrics.fence_rejects.inc()
            raise
        finally:
            await _cancel([*tasks, *self._flights.tasks])
            await asyncio.to_thread(self._threads.shutdown)  # a statement may hang: the loop is others', too
            self._answers.close()
            for account in self.accounts.values():
                account.tell()

    async def _end_in_order(self, working: asyncio.Task[None], failed: Sequence[BaseException]) -> None:
        """Whatever failed, what is on its way is waited for and written, unless the lease is lost."""
        for error in failed:
            if isinstance(error, LeaseLostError):
                raise error
        self.stop()  # nothing more is claimed; what is marked by now leaves, or nobody would know that it did not
        await asyncio.wait([working])
        if not failed:
            await self._drain()
            return
        with suppress(*AWAY, LeaseLostError):  # away: the lease runs out by itself
            await self._drain(blameless=unavailable(failed[0]))
        raise failed[0]

    async def _drain(self, *, blameless: bool = False) -> None:
        """Wait for requests on their way and write what comes of them, while beats go on; then give up the lease.

        ``blameless``: no message that is in hand can be why this worker ends.
        """
        time = asyncio.get_running_loop().time
        until = time() + DRAIN_SECONDS
        while time() < until and not await self._drained():
            pass
        await self._settle_now()
        while True:
            try:
                await self._db(self._end, blameless)
            except AWAY:
                if time() >= until:
                    raise
                await asyncio.sleep(AWAY_SECONDS)
            else:
                return

    async def _drained(self) -> bool:
        """Whether all is answered and written; a database that is away is asked again by and by."""
        if self._flights.tasks:
            await asyncio.wait(self._flights.tasks, timeout=GATHER)
        try:
            await self._settle_now()
        except AWAY:
            await asyncio.sleep(AWAY_SECONDS)
        return not (self._flights.tasks or self._answers)

    def _end(self, blameless: bool) -> None:  # noqa: FBT001  # run on a thread, which takes no keywords
        with self.store.write() as connection:
            if blameless:  # else it counts as a crash of theirs, and the third sets them aside
                release_all(connection, self._door.holder(), self.clock.now())
            lease.end(connection, self.id, self.clock.machine())
            self.probe("ending")

    async def _work_loop(self) -> None:
        loops = [self._take_loop(), *(self._help_loop() for _ in range(1, self._takers))]
        takers = [asyncio.create_task(loop) for loop in loops]
        try:
            await asyncio.wait(takers, return_when=asyncio.FIRST_EXCEPTION)
            self.stop()  # where one has failed, the others finish what they have in hand
            await asyncio.wait(takers)
            for taker in takers:
                taker.result()
        finally:
            await _cancel(takers)

    async def _take_loop(self) -> None:
        while not self._stopping.is_set():
            if await self._round():
                self._busy.set()
            elif not self._stopping.is_set():
                self._busy.clear()
                await self._idle()

    async def _help_loop(self) -> None:
        """Take batches as well, while the first taker finds any; with nothing to take, wait a moment for it."""
        while not self._stopping.is_set():
            await self._busy.wait()
            if not await self._round():
                await asyncio.sleep(self._until_rested())  # a round may be over at once: let others have the loop

    async def _round(self) -> bool:
        """One turn over the lanes with something due; whether anything was claimed."""
        busy, full, lanes = False, False, await self._lanes_due() if self.steady() else []
        ours = [(lane, self.accounts[lane.account]) for lane in lanes if lane.account in self.accounts]
        for lane, account in ours:
            if account.rests.holds(lane, account.free(), time.monotonic()):
                full = True
            elif not self._stopping.is_set():
                batch = await self._through_the_door(lane, account)
                busy, full = busy or batch.claimed > 0, full or batch.full
        if not ours:
            await self._settle_now()
        if not (busy or full):
            self._forget_lanes()
        self._full = full
        return busy

    async def _lanes_due(self) -> list[Lane]:
        until, lanes = self._lanes
        now = asyncio.get_running_loop().time()
        if now >= until:
            lanes = await self._db(self._due_lanes)
            self._lanes = (now + LANES_HOLD, lanes)
        return lanes

    def _forget_lanes(self) -> None:
        self._lanes = (0.0, [])

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

    async def _through_the_door(self, lane: Lane, account: Account) -> Batch:
        """Settle what was answered meanwhile, claim, compose, admit, mark, send: one batch of one lane."""
        with traces.span("batch", campaign=lane.campaign, run=lane.run_id, lane=lane.id, account=account.name):
            seats, began = Seats(account), time.monotonic()
            try:
                with self._answers.kept(self._answers.take()) as answers:
                    batch = await self._db(self._take, lane, seats, answers)
                account.count_in_flight(len(batch.leaving))
                if batch.claimed and batch.full:
                    account.took(lane, batch.room, seats.kept, began)
            finally:
                seats.let_go()
            for item in batch.leaving:
                self._flights.begin(account, item, batch.taken_at)  # from before the mark: it may freeze after it
        return batch

    def _take(self, lane: Lane, seats: Seats, answers: list[Answer]) -> Batch:
        """As much as there is room for. The limiter may be asked over the network: never on the event loop."""
        account = seats.account
        share = math.ceil(account.connections / self._takers)
        room = account.room(lane, seats.keep(min(BATCH, share)))
        if room > 0:
            heard = self._answers
            first = First(partial(heard.settle, answers), partial(heard.written, answers)) if answers else None
            with heard.in_turn(answers):
                return take_batch(self._door, lane, account, room, first, partial(self._not_begun, account, answers))
        if answers:
            self._answers.write(answers)
        return Batch([], 0)

    def _not_begun(self, account: Account, answers: list[Answer], items: Sequence[Composed]) -> None:
        """What was to be marked when the database went away does not leave, whether it took the mark or not."""
        now, outcome = self.clock.now(), Outcome(OutcomeClass.RETRY, NOT_BEGUN, may_have_left=False)
        answers += [Answer(item.message, account.name, outcome, now, now) for item in items]

    def _heard(self, answer: Answer) -> None:
        account = self.accounts[answer.account]
        self._answers.hear(answer, urgent=account.rests.ends(account.free() + 1))  # its own is about to be

    async def _settle_now(self) -> None:
        while answers := self._answers.take():
            with self._answers.kept(answers):
                await self._db(self._answers.write, answers)

    async def _beat_loop(self) -> None:
        """Hold on to the lease; a beat that the database did not take comes again soon: two thirds of it are left."""
        pause = self.lease / 3
        while True:
            await asyncio.sleep(pause.total_seconds())
            try:
                await self._db(self._beat)
                pause = self.lease / 3
            except AWAY as error:
                pause = self.lease / 12
                log.warning("beat_failed", extra={"worker": self.id, "error": type(error).__name__})

    def _beat(self) -> None:
        began = time.monotonic()
        with self.store.write() as connection:
            holder = self._door.holder()
            lease.renew(connection, holder, self.lease)
            self.probe("beating")
        self._held_until = holder.machine + self.lease
        self._flights.begin_by = began + self.lease.total_seconds()

    def alive(self) -> bool:
        """Whether its lease, as it stands in the database, is not over."""
        return self.clock.machine() < self._held_until

    async def _idle(self) -> None:
        seconds = self._until_rested() if self._full else await self._until_due()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        if not self._stopping.is_set():
            self._woken.clear()

    def _until_rested(self) -> float:
        """Seconds until an account has rested, or there may be room."""
        now = time.monotonic()
        return min([IDLE_AT_LEAST, *(account.rests.left(now) for account in self.accounts.values())])

    async def _until_due(self) -> float:
        """Seconds until there may be something to do."""
        due = await self._db(self._next_due)
        wait = IDLE_AT_MOST if due is None else self.clock.machine_span(due - self.clock.now()).total_seconds()
        return min(max(wait, IDLE_AT_LEAST), IDLE_AT_MOST)

    def _next_due(self) -> datetime | None:
        with self.store.read() as connection:
            return next_due(connection, self.clock.machine())

    async def _db(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run database work on one of this worker's threads."""
        assert not kwargs
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, traces.carried(lambda: work(*args, **kwargs))
        )


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
