"""HTTP/1.1 by hand: for FCM, which gets a request for every message, and for SMS and mail, which must not be late.

It costs a quarter of the general client's price, and knows the instant at which a request begins to be written.

The same promises as :class:`~orchestrator.channel.transport.Transport`, held to them by the same tests: one request,
one answer, no redirects, no proxies, no retries; and what failed before a byte of it was written has not left. Answers
are read by llhttp, the parser of Node.js; TLS is Python's, with the system's authorities.
"""

from __future__ import annotations

import asyncio
import math
import re
import ssl
import time
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from typing_extensions import override

from orchestrator.channel.transport import (
    ANSWER_LIMIT,
    CONNECT_TIMEOUT,
    IDLE_TIMEOUT,
    POOL_TIMEOUT,
    USER_AGENT,
    Answer,
    Failure,
    NoAnswer,
)

_LOOK_EVERY = 0.25
"""Seconds between looks for requests that have waited too long: a timer for each would cost more than its request."""
_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t -~\x80-\xff]*")
_TARGET = re.compile(r"[!-~]*")
_HEADS = 256
_FIRST_FINAL = 200
_FRAMED = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that say where a body ends."""
_Origin = tuple[str, str, int]


class _Head(NamedTuple):
    """All of a request that stands before the length of its body, and where it goes."""

    origin: _Origin
    text: bytes


class Wire:
    """Connections of one account. Safe for many tasks of one loop; ``request`` raises nothing but cancellation."""

    def __init__(
        self,
        timeout: timedelta,
        *,
        connections: int = 1000,
        pool_timeout: timedelta = POOL_TIMEOUT,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        root_pem: bytes | None = None,
    ) -> None:
        """``connections``: to each server, at most."""
        self.timeout = timeout
        self._seconds = timeout.total_seconds()
        self._connections = connections
        self._pool_seconds = pool_timeout.total_seconds()
        self._connect_seconds = min(connect_timeout, timeout / 2).total_seconds()
        self._root = None if root_pem is None else root_pem.decode()
        self._heads: dict[tuple[object, ...], _Head] = {}
        self._pools: dict[_Origin, _Pool] = {}

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        limit: int = ANSWER_LIMIT,
        begin_by: float = math.inf,
    ) -> Answer | NoAnswer:
        """Exactly one request; never a second one, whatever happens. At most ``limit`` bytes of the answer are read.

        None is begun after ``begin_by`` (``time.monotonic()``): the process may have stood still in a wait.
        """
        head = self._head(method, url, headers)
        if head is None:
            return NoAnswer(Failure.REQUEST, left=False)
        pool = self._pools.get(head.origin) or self._pool(head.origin)
        connection = pool.idle_one() or await pool.take()
        if isinstance(connection, NoAnswer):
            return connection
        if time.monotonic() >= begin_by:
            pool.freed(connection)
            return NoAnswer(Failure.POOL, left=False)
        content = body or b""
        asked = connection.ask(b"%b%d\r\n\r\n%b" % (head.text, len(content), content), limit, self._seconds)
        try:
            return await asked
        except asyncio.CancelledError:
            connection.abort()
            raise

    async def close(self) -> None:
        """Let go of all connections."""
        pools, self._pools = tuple(self._pools.values()), {}
        for pool in pools:
            pool.close()
        await asyncio.sleep(0)  # transports close on the loop's next turn

    def _head(self, method: str, url: str, headers: Mapping[str, str]) -> _Head | None:
        key = (method, url, *headers.items())
        head = self._heads.get(key)
        if head is None:
            head = _head(method, url, headers)
            if head is not None:
                if len(self._heads) >= _HEADS:  # tokens change
                    self._heads.clear()
                self._heads[key] = head
        return head

    def _pool(self, origin: _Origin) -> _Pool:
        scheme, host, port = origin
        context = ssl.create_default_context(cadata=self._root) if scheme == "https" else None
        made = _Pool(host, port, context, self._connections, self._connect_seconds, self._pool_seconds)
        return self._pools.setdefault(origin, made)


def _head(method: str, url: str, headers: Mapping[str, str]) -> _Head | None:
    """None for what cannot be a request: nothing of it may become a line of its own."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    named = {"host": parts.netloc, "user-agent": USER_AGENT, "accept": "*/*", **headers}
    fit = all(_NAME.fullmatch(name) and _VALUE.fullmatch(value) for name, value in named.items())
    if not (fit and _whole(parts) and _NAME.fullmatch(method) and _TARGET.fullmatch(target)):
        return None
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "content-length: "]
    return _Head((parts.scheme, parts.hostname or "", port), "\r\n".join(lines).encode("latin-1"))


def _whole(parts: SplitResult) -> bool:
    return bool(parts.hostname) and parts.netloc.isascii() and "@" not in parts.netloc


class _Pool:
    """Connections to one server, the one used last first, so that the others can go."""

    def __init__(  # one value each
        self, host: str, port: int, context: ssl.SSLContext | None, most: int, connect_seconds: float, seconds: float
    ) -> None:
        self._host, self._port, self._context = host, port, context
        self._most, self._connect_seconds, self._seconds = most, connect_seconds, seconds
        self._live: set[_Connection] = set()
        self._connecting = 0
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._look: asyncio.TimerHandle | None = None

    def idle_one(self) -> _Connection | None:
        """A connection that is free and was used a moment ago: what was idle for longer is about to be closed."""
        while self._idle:
            found = self._idle.pop()
            if found.fresh():
                return found
            found.abort()
        return None

    async def take(self) -> _Connection | NoAnswer:
        """A connection to use: a free one, a new one, or the next that is free."""
        deadline = asyncio.get_running_loop().time() + self._seconds
        while True:
            if (found := self.idle_one()) is not None:
                return found
            if len(self._live) + self._connecting < self._most:
                return await self._connect()
            if not await self._turn(deadline):
                return NoAnswer(Failure.POOL, left=False)

    def began(self, connection: _Connection) -> None:
        """It is connected."""
        self._live.add(connection)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._end_late)

    def freed(self, connection: _Connection) -> None:
        """It may be used again."""
        self._idle.append(connection)
        self._next()

    def ended(self, connection: _Connection) -> None:
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

    async def _connect(self) -> _Connection | NoAnswer:
        """A new connection. What was connected when something came between is closed."""
        made: list[_Connection] = []

        def fresh() -> _Connection:
            made.append(_Connection(self))
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

    def _unconnected(self, made: list[_Connection]) -> NoAnswer:
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


class _Connection(asyncio.Protocol):
    """One connection; one request on it at a time. Also what llhttp tells of the answer."""

    __slots__ = (
        "_answer", "_body", "_fields", "_headed", "_limit", "_loop", "_parser", "_pool", "_size", "_stray",
        "_transport", "_used_at", "deadline",
    )  # fmt: skip

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer | NoAnswer] | None = None
        self._used_at = self._loop.time()
        self.deadline = float("inf")
        self._limit = 0
        self.on_message_begin()

    def ask(self, request: bytes, limit: int, seconds: float) -> asyncio.Future[Answer | NoAnswer]:
        """Write a request; from here on it may have left."""
        assert self._transport is not None
        assert self._answer is None
        answer = self._answer = self._loop.create_future()
        self._parser = HttpResponseParser(self)
        self._limit, self.deadline, self._stray = limit, self._loop.time() + seconds, False
        self._transport.write(request)
        return answer

    def fresh(self) -> bool:
        """Whether it may still be used."""
        closing = self._transport is None or self._transport.is_closing()
        return not closing and self._loop.time() - self._used_at < IDLE_TIMEOUT.total_seconds()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def end(self, said: Answer | NoAnswer, *, keep: bool = False) -> None:
        """Answer the request under way; hang up unless the connection may be kept."""
        answer, self._answer = self._answer, None
        self._used_at, self.deadline = self._loop.time(), float("inf")
        wanted = answer is not None and not answer.done()
        if wanted and answer is not None:
            answer.set_result(said)
        if keep and wanted:
            self._pool.freed(self)
        else:
            self.abort()

    # --- what the loop tells

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class is no subclass
        self._pool.began(self)

    @override
    def data_received(self, data: bytes) -> None:
        if self._answer is None:  # nobody has asked: a farewell (408), or nonsense
            self.abort()
            return
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            self.end(NoAnswer(Failure.BROKEN, left=True))
        if self._stray:
            self.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.ended(self)
        if self._answer is None:
            return
        # HTTP/1.0's way: the body ends with the connection
        unbounded = self._headed and exc is None and not any(name.lower() in _FRAMED for name, _ in self._fields)
        self.end(self._read(whole=True) if unbounded else NoAnswer(Failure.BROKEN, left=True))

    # --- what the parser tells

    def on_message_begin(self) -> None:
        """An answer begins; there may be provisional ones (1xx) before."""
        self._stray = self._answer is None
        """An answer too many: whoever asks next would take the rest of it for theirs."""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._headed = False
        """Whether the headers are complete, of the answer itself and not of a provisional one."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._fields.append((name, value))
        self._size += len(name) + len(value)
        if self._size > ANSWER_LIMIT:
            self.end(NoAnswer(Failure.BROKEN, left=True))

    def on_headers_complete(self) -> None:
        """What comes now is the body."""
        self._size, self._headed = 0, self._parser.get_status_code() >= _FIRST_FINAL

    def on_body(self, chunk: bytes) -> None:
        """Some of it; what is too long is cut."""
        self._body.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit and self._answer is not None:
            self.end(self._read(whole=False))

    def on_message_complete(self) -> None:
        """The whole answer is here."""
        if self._answer is not None and self._parser.get_status_code() >= _FIRST_FINAL:
            self.end(self._read(whole=True), keep=self._parser.should_keep_alive())

    def _read(self, *, whole: bool) -> Answer:
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        return Answer(self._parser.get_status_code(), _Headers(self._fields), body[: self._limit], whole=whole)


class _Headers(Mapping[str, str]):
    """Headers of an answer, made readable when somebody reads them: most answers are good."""

    __slots__ = ("_fields", "_read")

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        self._fields = fields
        self._read: dict[str, str] | None = None

    def _all(self) -> dict[str, str]:
        if self._read is None:
            self._read = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in self._fields}
        return self._read

    @override
    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    @override
    def __len__(self) -> int:
        return len(self._all())
