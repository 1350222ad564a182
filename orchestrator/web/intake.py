"""What the web process writes with: one database thread, and a group commit for each kind of thing that comes in.

The event loop is shared with the dispatcher, so nothing here ever touches the database on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.audience.events import IncomingEvent
from orchestrator.audience.opt_in import Asks, Confirmation, Request, never_asks, take_confirmations
from orchestrator.clock import Clock
from orchestrator.store import Store
from orchestrator.tracking.acks import Ack, take_acks
from orchestrator.tracking.acks import Verdict as Acked
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from orchestrator.tracking.feed import FeedBook, Mark, Marked
from orchestrator.tracking.hits import Hit, HitBook
from orchestrator.tracking.ingest import Taken, take_in
from orchestrator.tracking.profiles import Kept, Statements, keep
from orchestrator.tracking.wishes import Wish, take_wishes
from orchestrator.web.commit import GroupCommit

EVENTS_A_COMMIT = 1_000
EVENTS_WAITING = 20_000
CALLBACKS_A_COMMIT = 50
CALLBACKS_WAITING = 5_000
PROFILES_A_COMMIT = 500
PROFILES_WAITING = 10_000
HITS_A_COMMIT = 200
HITS_WAITING = 10_000
WISHES_A_COMMIT = 50
WISHES_WAITING = 5_000
ACKS_A_COMMIT = 100
ACKS_WAITING = 10_000


class Intake:
    """Open it with ``async with`` in the loop that serves; leaving writes what waits and ends the thread."""

    def __init__(self, store: Store, clock: Clock, asks: Asks = never_asks) -> None:
        self._clock = clock
        self._asks = asks
        self._thread = ThreadPoolExecutor(1, "web-database")
        hits = HitBook()  # one memory of traps, whoever counts
        self.events = GroupCommit[list[IncomingEvent], Taken](
            store, self._thread, self._take_events, group=EVENTS_A_COMMIT, room=EVENTS_WAITING
        )
        self.callbacks = GroupCommit[Callback, Verdict](
            store, self._thread, CallbackBook(clock, hits=hits).take, group=CALLBACKS_A_COMMIT, room=CALLBACKS_WAITING
        )
        self.profiles = GroupCommit[Statements, Kept](
            store, self._thread, self._take_profiles, group=PROFILES_A_COMMIT, room=PROFILES_WAITING
        )
        self.hits = GroupCommit[Hit, bool](store, self._thread, hits.take, group=HITS_A_COMMIT, room=HITS_WAITING)
        self.wishes = GroupCommit[Wish, bool](
            store, self._thread, self._take_wishes, group=WISHES_A_COMMIT, room=WISHES_WAITING
        )
        self.confirmations = GroupCommit[Confirmation, Request | None](
            store, self._thread, take_confirmations, group=WISHES_A_COMMIT, room=WISHES_WAITING
        )
        self.acks = GroupCommit[list[Ack], list[Acked]](
            store, self._thread, self._take_acks, group=ACKS_A_COMMIT, room=ACKS_WAITING
        )
        self.marks = GroupCommit[Mark, Marked](
            store, self._thread, FeedBook().take, group=ACKS_A_COMMIT, room=ACKS_WAITING
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(queue.run()) for queue in self._queues]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for queue in self._queues:
            queue.close()
        await asyncio.gather(*self._tasks)
        self._thread.shutdown()

    @property
    def _queues(self) -> tuple[GroupCommit[Any, Any], ...]:
        taken = self.events, self.callbacks, self.profiles, self.hits
        return *taken, self.wishes, self.confirmations, self.acks, self.marks

    def _take_acks(self, connection: Connection, requests: Sequence[list[Ack]]) -> list[list[Acked]]:
        return take_acks(connection, requests, self._clock.now())

    def _take_profiles(self, connection: Connection, requests: Sequence[Statements]) -> list[Kept]:
        return keep(connection, requests, self._clock.now(), self._asks)

    def _take_wishes(self, connection: Connection, wishes: Sequence[Wish]) -> list[bool]:
        return take_wishes(connection, wishes, self._asks)

    def _take_events(self, connection: Connection, requests: Sequence[list[IncomingEvent]]) -> list[Taken]:
        metrics.event_commit_size.observe(sum(map(len, requests)))
        return take_in(connection, requests, self._clock.now())
