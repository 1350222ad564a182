"""Connections kept for the next mail: few, not for long, and each asked first whether it is still there."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.channel.email.smtp_connection import Broke, Connection, Ended, Gone, Server
from orchestrator.channel.email.smtp_errors import Stage

MOST_MAILS = 100
MOST_IDLE = timedelta(seconds=60)


@dataclass(slots=True)
class _Resting:
    """A connection nobody uses, and when it is given up."""

    connection: Connection
    until: asyncio.TimerHandle


class Pool:
    """At most ``size`` connections to one server. Belongs to the event loop it is first used in."""

    def __init__(self, server: Server, size: int, *, idle: timedelta = MOST_IDLE) -> None:
        self._server = server
        self._free = asyncio.Semaphore(size)
        self._idle = idle.total_seconds()
        self._resting: list[_Resting] = []
        self._closed = False

    async def carry(
        self, sender: str, recipient: str, content: bytes, *, utf8: bool = False, begin_by: float = math.inf
    ) -> Ended:
        """One mail through a connection of the pool."""
        try:
            await asyncio.wait_for(self._free.acquire(), self._server.timeout.total_seconds())
        except TimeoutError:
            return Broke(Stage.CONNECT, "pool")
        try:
            return await self._through(sender, recipient, content, utf8=utf8, begin_by=begin_by)
        finally:
            self._free.release()

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
            kept.until.cancel()
            if kept.connection.open:
                return kept.connection
            kept.connection.drop()
        return None

    def _rest(self, connection: Connection) -> None:
        if self._closed or not connection.open or connection.carried >= MOST_MAILS:
            connection.hang_up()
            return
        until = asyncio.get_running_loop().call_later(self._idle, self._give_up, connection)
        self._resting.append(_Resting(connection, until))

    def _give_up(self, connection: Connection) -> None:
        self._resting = [kept for kept in self._resting if kept.connection is not connection]
        connection.hang_up()

    def close(self) -> None:
        """Hang up; what is under way ends first and hangs up itself."""
        self._closed = True
        while self._resting:
            kept = self._resting.pop()
            kept.until.cancel()
            kept.connection.hang_up()
