"""Connections kept for the next mail: few, not for long, and each asked first whether it is still there."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.channel.email.smtp_connection import Connection, Ended, Server
from orchestrator.channel.email.smtp_errors import Stage
from orchestrator.channel.email.smtp_transaction import Broke, Gone

MOST_MAILS = 100
MOST_IDLE = timedelta(seconds=60)


@dataclass(slots=True)
class _Resting:
    """A connection nobody uses, and until when (the event loop's time) it is kept."""

    connection: Connection
    until: float


class Pool:
    """At most ``size`` connections to one server. Belongs to the event loop it is first used in."""

    def __init__(self, server: Server, size: int, *, idle: timedelta = MOST_IDLE) -> None:
        self._server = server
        self._free = asyncio.Semaphore(size)
        self._idle = idle.total_seconds()
        self._resting: list[_Resting] = []  # whose time is up first, first
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def carry(
        self, sender: str, recipient: str, content: bytes, *, utf8: bool = False, begin_by: float = math.inf
    ) -> Ended:
        """One mail through a connection of the pool."""
        if not await self._admitted():
            return Broke(Stage.CONNECT, "pool")
        try:
            return await self._through(sender, recipient, content, utf8=utf8, begin_by=begin_by)
        finally:
            self._free.release()

    async def _admitted(self) -> bool:
        """Wait for one of the connections; at once where one is free."""
        if not self._free.locked():
            return await self._free.acquire()
        try:
            return await asyncio.wait_for(self._free.acquire(), self._server.timeout.total_seconds())
        except TimeoutError:
            return False

    async def _through(self, sender: str, recipient: str, content: bytes, *, utf8: bool, begin_by: float) -> Ended:
        while (kept := self._rested()) is not None:
            ended = await self._with(kept, sender, recipient, content, utf8=utf8, begin_by=begin_by)
            if not isinstance(ended, Gone):
                return ended
        fresh = Connection(self._server)
        done = False
        try:
            refused = await fresh.connect()
            done = True
        finally:
            if not done:
                fresh.drop()
        if refused is not None:
            return refused
        ended = await self._with(fresh, sender, recipient, content, utf8=utf8, begin_by=begin_by)
        return Broke(Stage.MAIL, "lost") if isinstance(ended, Gone) else ended

    async def _with(
        self, connection: Connection, sender: str, recipient: str, content: bytes, *, utf8: bool, begin_by: float
    ) -> Ended | Gone:
        done = False
        try:
            ended = await connection.carry(sender, recipient, content, utf8=utf8, begin_by=begin_by)
            done = True
            return ended
        finally:
            if done:
                self._rest(connection)
            else:
                connection.drop()

    def _rested(self) -> Connection | None:
        """A kept connection, the one used last first. Whether it is still there, its next mail will tell."""
        while self._resting:
            kept = self._resting.pop()
            if kept.connection.open:
                return kept.connection
            kept.connection.drop()
        return None

    def _rest(self, connection: Connection) -> None:
        if self._closed or not connection.open or connection.carried >= MOST_MAILS:
            connection.hang_up()
            return
        until = asyncio.get_running_loop().time() + self._idle
        self._resting.append(_Resting(connection, until))
        self._sweep_at(until)

    def _sweep_at(self, until: float) -> None:
        """One timer for all: one a mail would cost as much as writing to the socket."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_at(until, self._give_up)

    def _give_up(self) -> None:
        self._sweep, now = None, asyncio.get_running_loop().time()
        while self._resting and self._resting[0].until <= now:
            self._resting.pop(0).connection.hang_up()
        if self._resting:
            self._sweep_at(self._resting[0].until)

    def close(self) -> None:
        """Hang up; what is under way ends first and hangs up itself."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._resting:
            self._resting.pop().connection.hang_up()
