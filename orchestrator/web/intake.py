"""What the web process writes with: one database thread, and a group commit for each kind of thing that comes in.

The event loop is shared with the dispatcher, so nothing here ever touches the database on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from sqlalchemy import Connection

from orchestrator import metrics
from orchestrator.audience.events import IncomingEvent
from orchestrator.clock import Clock
from orchestrator.store import Store
from orchestrator.tracking.callbacks import Callback, CallbackBook, Verdict
from orchestrator.tracking.ingest import Taken, take_in
from orchestrator.web.commit import GroupCommit

EVENTS_A_COMMIT = 1_000
EVENTS_WAITING = 20_000
CALLBACKS_A_COMMIT = 50
CALLBACKS_WAITING = 5_000


class Intake:
    """Open it with ``async with`` in the loop that serves; leaving writes what waits and ends the thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "web-database")
        self.events = GroupCommit[list[IncomingEvent], Taken](
            store, self._thread, self._take_events, group=EVENTS_A_COMMIT, room=EVENTS_WAITING
        )
        self.callbacks = GroupCommit[Callback, Verdict](
            store, self._thread, CallbackBook(clock).take, group=CALLBACKS_A_COMMIT, room=CALLBACKS_WAITING
        )
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self.events.run()), asyncio.create_task(self.callbacks.run())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.events.close()
        self.callbacks.close()
        await asyncio.gather(*self._tasks)
        self._thread.shutdown()

    def _take_events(self, connection: Connection, requests: Sequence[list[IncomingEvent]]) -> list[Taken]:
        metrics.event_commit_size.observe(sum(map(len, requests)))
        return take_in(connection, requests, self._clock.now())
