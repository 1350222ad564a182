"""Group commit: what arrives while one transaction is being written goes into the next.

An answer is given after the commit, so what was answered 2xx survives a crash; and since one disk flush serves
everybody who waited for it, many small requests cost little more than one large one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from sqlalchemy import Connection

from orchestrator.errors import OrchestratorError
from orchestrator.store import Store

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Result]):
    """One item, its weight, and who waits for its result."""

    item: Item
    weight: int
    done: asyncio.Future[Result]


class GroupCommit(Generic[Item, Result]):
    """Writes items in grouped transactions, in the order they came, on one database thread.

    Used from one event loop. ``apply`` runs on the executor's thread inside a transaction and returns one result per
    item; when it raises for a group, every item of it is tried alone, so that one bad item harms nobody else.
    """

    def __init__(
        self,
        store: Store,
        executor: Executor,
        apply: Callable[[Connection, Sequence[Item]], Sequence[Result]],
        *,
        group: int,
        room: int,
    ) -> None:
        """``group``: the weight of one transaction, so that it stays short; ``room``: the weight that may wait."""
        self._store = store
        self._executor = executor
        self._apply = apply
        self._group = group
        self._room = room
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._waiting = 0
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def waiting(self) -> int:
        """The weight taken in and not committed yet."""
        return self._waiting

    def offer(self, item: Item, weight: int = 1) -> asyncio.Future[Result] | None:
        """The future result of ``item``; None when there is no room now, or the process is going down."""
        if self._closed or (self._waiting and self._waiting + weight > self._room):
            return None
        done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(item, weight, done))
        self._waiting += weight
        self._wake.set()
        return done

    async def run(self) -> None:
        """Write until :meth:`close`, then what is still waiting."""
        while not self._closed or self._queue:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._write(self._next())

    def close(self) -> None:
        """Take nothing more; :meth:`run` ends when what waits is written."""
        self._closed = True
        self._wake.set()

    def _next(self) -> list[_Waiting[Item, Result]]:
        group = [self._queue.popleft()]
        weight = group[0].weight
        while self._queue and weight + self._queue[0].weight <= self._group:
            weight += self._queue[0].weight
            group.append(self._queue.popleft())
        return group

    async def _write(self, group: list[_Waiting[Item, Result]]) -> None:
        loop = asyncio.get_running_loop()
        try:
            results = await loop.run_in_executor(self._executor, self._commit, [waiting.item for waiting in group])
        except Exception as error:  # noqa: BLE001  # whatever a database can raise belongs to who waits, not to this loop
            await self._write_alone(group, error)
            return
        for waiting, result in zip(group, results, strict=True):
            self._settle(waiting, result)

    async def _write_alone(self, group: list[_Waiting[Item, Result]], error: Exception) -> None:
        """After a group failed: each by itself; one that fails by itself gets its error."""
        if len(group) > 1:
            for waiting in group:
                await self._write([waiting])
            return
        known = {"why": str(error)} if isinstance(error, OrchestratorError) else {}  # others' words hold parameters
        log.error("commit_failed", extra={"error": type(error).__name__, **known})
        self._waiting -= group[0].weight
        if not group[0].done.done():
            group[0].done.set_exception(error)

    def _settle(self, waiting: _Waiting[Item, Result], result: Result) -> None:
        self._waiting -= waiting.weight
        if not waiting.done.done():  # the client may have gone away
            waiting.done.set_result(result)

    def _commit(self, items: list[Item]) -> Sequence[Result]:
        with self._store.write() as connection:
            return self._apply(connection, items)
