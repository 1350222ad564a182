"""The connections of :mod:`.wire` to one server."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque

from orchestrator.channel.transport import Failure, NoAnswer
from orchestrator.channel.wire_connection import Connection

_LOOK_EVERY = 0.25
"""Seconds between looks for requests that have waited too long: a timer for each would cost more than its request."""


class Pool:
    """Connections to one server, the one used last first, so that the others can go."""

    def __init__(  # one value each
        self, host: str, port: int, context: ssl.SSLContext | None, most: int, connect_seconds: float, seconds: float
    ) -> None:
        self._host, self._port, self._context = host, port, context
        self._most, self._connect_seconds, self._seconds = most, connect_seconds, seconds
        self._live: set[Connection] = set()
        self._connecting = 0
        self._idle: deque[Connection] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._look: asyncio.TimerHandle | None = None

    def idle_one(self) -> Connection | None:
        """A connection that is free and was used a moment ago: what was idle for longer is about to be closed."""
        while self._idle:
            found = self._idle.pop()
            if found.fresh():
                return found
            found.abort()
        return None

    async def take(self) -> Connection | NoAnswer:
        """A connection to use: a free one, a new one, or the next that is free."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        while True:
            if (found := self.idle_one()) is not None:
                return found
            if len(self._live) + self._connecting < self._most:
                return await self._connect()
            if not await self._turn(deadline):
                return NoAnswer(Failure.POOL, left=False)

    def began(self, connection: Connection) -> None:
        """It is connected."""
        self._live.add(connection)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._end_late)

    def freed(self, connection: Connection) -> None:
        """It may be used again."""
        self._idle.append(connection)
        self._next()

    def ended(self, connection: Connection) -> None:
        """It is closed; it may be among the idle ones until it is met there."""
        self._live.discard(connection)
        self._next()

    def close(self) -> None:
        """Hang up everywhere."""
        if self._look is not None:
            self._look.cancel()
        for connection in tuple(self._live):
            connection.abort()

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _turn(self, deadline: float) -> bool:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                await turn
        except TimeoutError:
            return False
        return True

    async def _connect(self) -> Connection | NoAnswer:
        """A new connection. What was connected when something came between is closed."""
        made: list[Connection] = []

        def fresh() -> Connection:
            made.append(Connection(self))
            return made[-1]

        self._connecting += 1
        name = self._host if self._context is not None else None
        try:
            async with asyncio.timeout(self._connect_seconds):
                await asyncio.get_running_loop().create_connection(
                    fresh, self._host, self._port, ssl=self._context, server_hostname=name
                )
        except (OSError, UnicodeError):  # TimeoutError, ssl.SSLError and socket.gaierror are OSErrors
            return self._unconnected(made)
        except asyncio.CancelledError:
            self._unconnected(made)
            raise
        finally:
            self._connecting -= 1
        return made[-1]

    def _unconnected(self, made: list[Connection]) -> NoAnswer:
        for connection in made:
            connection.abort()
        self._next()
        return NoAnswer(Failure.CONNECT, left=False)

    def _end_late(self) -> None:
        """Give up what has waited for too long; look again while there are connections."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in tuple(self._live):
            if connection.deadline <= now:
                connection.end(NoAnswer(Failure.TIMEOUT, left=True))
        self._look = loop.call_later(_LOOK_EVERY, self._end_late) if self._live else None
