"""Several HTTP/2 connections to one server, kept for as long as it keeps them; one request on one of them at a time.

A request waits for a stream, never longer than its timeout. Whatever becomes of it, it is not sent again here.
"""

from __future__ import annotations

import asyncio
import math
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

from orchestrator.channel.http2 import IDLE_PING, Connection
from orchestrator.channel.http2_connect import NotSpokenError, connect
from orchestrator.channel.http2_fields import Fields
from orchestrator.channel.transport import Answer, Failure, NoAnswer

Compose = Callable[[Connection], Fields]
"""The fields of a request, once it is known which connection carries it."""
Judge = Callable[["Pool", Connection, Answer], None]
"""What an answer means for its connection: proven, to be retired, to be left alone for a while."""

_CONNECT_TIMEOUT = timedelta(seconds=10)
_GOODBYE = 1.0  # seconds that the other side is given to hang up as well
_HTTPS = 443
_USUAL_STREAMS = 100
"""What servers allow on a connection, at least, where RFC 9113 (§6.5.2) has its way."""
_TURN = 16
"""Requests that one connection gets in one turn of the loop before another one is looked for: one write for all."""
_TROUBLES: tuple[tuple[type[Exception], str], ...] = (
    (NotSpokenError, "it speaks no HTTP/2"),
    (ssl.SSLCertVerificationError, "its certificate is not one we trust"),
    (ssl.SSLError, "the TLS handshake failed"),
    (socket.gaierror, "its name is not found"),
    (TimeoutError, "it does not answer"),
    (OSError, "the connection failed"),
    (UnicodeError, "its name cannot be one"),
)


class Pool:
    """Connections to one server. Safe for many tasks of one loop; ``request`` raises nothing but cancellation."""

    def __init__(
        self,
        url: str,
        context: ssl.SSLContext,
        judge: Judge | None,
        *,
        connections: int,
        timeout: timedelta,
        idle_ping: timedelta = IDLE_PING,
        idle_end: timedelta | None = None,
        wait: timedelta | None = None,
    ) -> None:
        """``judge``: without one a connection needs no proof, and another one is opened only when half are taken.

        ``wait``: how long a request waits for a stream; its answer has all of ``timeout`` then, else what is left.
        """
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or _HTTPS
        self.authority = parts.netloc
        self.trouble = ""
        """Why the last request without an answer got none, as far as the server or its connection said so."""
        self._context = context
        self._judge = judge
        self._most = connections
        self._timeout = timeout.total_seconds()
        self._wait_for = None if wait is None else wait.total_seconds()
        self._connect_for = min(_CONNECT_TIMEOUT, timeout / 2, wait or _CONNECT_TIMEOUT).total_seconds()
        self.unspoken = False
        """Whether the last connection that was tried reached a server that speaks no HTTP/2."""
        self._idle_ping, self._idle_end = idle_ping, idle_end
        self._connections: list[Connection] = []
        self._last: Connection | None = None
        self._turns = 0
        """How many more requests ``_last`` gets in this turn of the loop."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[Connection | NoAnswer]] = deque()

    async def request(self, compose: Compose, body: bytes, *, begin_by: float = math.inf) -> Answer | NoAnswer:
        """Exactly one request; ``NoAnswer.left`` is False when it certainly was not processed.

        None is begun after ``begin_by`` (``time.monotonic()``): the process may have stood still in a wait.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._timeout if self._wait_for is None else self._wait_for)
        connection = self._free() or await self._handed(until)
        if isinstance(connection, NoAnswer):
            return connection
        if time.monotonic() >= begin_by or loop.time() >= until:
            self._changed()  # what was kept for this one is for the next
            return NoAnswer(Failure.POOL, left=False)
        deadline = until if self._wait_for is None else loop.time() + self._timeout
        answer = await connection.request(compose(connection), body, deadline)
        if isinstance(answer, Answer):
            if self._judge is not None:
                self._judge(self, connection, answer)
            if self._waiting:
                self._changed()
        else:
            self.trouble = f"it went away {connection.farewell.reason}".rstrip() if connection.farewell else ""
        return answer

    @property
    def resting(self) -> timedelta:
        """How long every connection is to be left alone; zero when one may be used, or another one opened."""
        live = self._live()
        if len(live) < self._most:
            return timedelta()
        return timedelta(seconds=min(connection.resting for connection in live))

    def renew(self) -> None:
        """Every connection is replaced; what is under way on the old ones ends as it would."""
        for connection in self._live():
            connection.retire()

    async def close(self) -> None:
        """Hang up everywhere."""
        for task in self._connecting:
            task.cancel()
        if self._connecting:
            await asyncio.wait(tuple(self._connecting))
        self._fail_waiting(Failure.CONNECT)
        for connection in self._connections:
            connection.close()
        if lost := [connection.lost for connection in self._connections]:
            await asyncio.wait(lost, timeout=_GOODBYE)
        for connection in self._connections:
            connection.abort()
        self._connections.clear()

    def _free(self) -> Connection | None:
        """A connection that takes a stream now, if nobody has waited for one longer."""
        if self._waiting:
            return None
        if self._turns and self._last is not None and self._last.flushing and self._last.room > 0:
            self._turns -= 1
            return self._last
        if (connection := self._roomiest()) is None:
            return None
        if connection.busy and (self._judge is not None or connection.busy > connection.room):
            self._grow(1)  # spread out, without waiting for it
        self._last, self._turns = connection, _TURN - 1
        return connection

    async def _handed(self, deadline: float) -> Connection | NoAnswer:
        """A connection that takes a stream, after a wait for it."""
        while not isinstance(handed := await self._wait(deadline), NoAnswer):
            if _released(handed):
                return handed
            if (free := self._free()) is not None:
                return free
        return handed

    async def _wait(self, deadline: float) -> Connection | NoAnswer:
        """A connection with a stream reserved on it."""
        if self.resting:
            return NoAnswer(Failure.POOL, left=False)
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Connection | NoAnswer] = loop.create_future()
        self._waiting.append(waiter)
        self._grow(self._wanted())
        try:
            await asyncio.wait((waiter,), timeout=deadline - loop.time())
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise
        if not waiter.done():
            waiter.cancel()
            return NoAnswer(Failure.POOL if self._live() else Failure.CONNECT, left=False)
        return waiter.result()

    def _give_back(self, waiter: asyncio.Future[Connection | NoAnswer]) -> None:
        """Whoever waited was cancelled: the stream that was kept for it is for somebody else."""
        handed = waiter.result() if waiter.done() else None
        if handed is None:
            waiter.cancel()
        elif isinstance(handed, Connection) and _released(handed):
            self._changed()

    def _changed(self) -> None:
        """Connections came, went, or have room: hand it to those who wait, the longest first."""
        while self._waiting:
            if self._waiting[0].done():  # gave up
                _ = self._waiting.popleft()
            elif (connection := self._roomiest()) is not None:
                connection.reserved += 1
                self._waiting.popleft().set_result(connection)
            else:
                self._grow(self._wanted())
                return

    def _live(self) -> list[Connection]:
        return [connection for connection in self._connections if not connection.retired]

    def _roomiest(self) -> Connection | None:
        found, most = None, 0
        for connection in self._connections:
            if (room := connection.room) > most:
                found, most = connection, room
        return found

    def _wanted(self) -> int:
        """How many connections those who wait could do with: one each while each has to be proven."""
        waiting = len(self._waiting)
        return waiting if self._judge is not None else math.ceil(waiting / _USUAL_STREAMS)

    def _grow(self, wanted: int) -> None:
        """Open as many more connections as are wanted and allowed."""
        allowed = self._most - len(self._live())
        for _ in range(min(wanted, allowed) - len(self._connecting)):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._connect_for):
                connection = await connect(
                    self._host,
                    self._port,
                    self._context,
                    self._changed,
                    idle_ping=self._idle_ping,
                    idle_end=self._idle_end,
                )
        except (OSError, UnicodeError) as error:  # a timeout is an OSError, too
            self.unspoken = isinstance(error, NotSpokenError)
            self.trouble = next(words for kind, words in _TROUBLES if isinstance(error, kind))
            if not self._live() and len(self._connecting) == 1:  # no other is coming
                self._fail_waiting(Failure.CONNECT)
            return
        self.trouble, self.unspoken = "", False
        connection.proven = self._judge is None
        self._connections = [each for each in self._connections if not each.lost.done()] + [connection]
        self._changed()

    def _fail_waiting(self, failure: Failure) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            with suppress(asyncio.InvalidStateError):
                waiter.set_result(NoAnswer(failure, left=False))


def _released(handed: Connection) -> bool:
    """Keep the stream there no longer. Whether the connection still takes any: it may have been retired meanwhile."""
    handed.reserved -= 1
    if handed.retired:
        handed.retire()  # if nobody else has a stream there, it ends
    return not handed.retired
