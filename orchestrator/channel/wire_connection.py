"""One HTTP/1.1 connection of :mod:`.wire`: a request on it at a time, and its answer as llhttp reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser
from typing_extensions import override

from orchestrator.channel.transport import ANSWER_LIMIT, IDLE_TIMEOUT, Answer, Failure, NoAnswer

_FIRST_FINAL = 200
_FRAMED = frozenset({b"content-length", b"transfer-encoding"})
"""Headers that say where a body ends."""


class Owner(Protocol):
    """Who is told how a connection fares."""

    def began(self, connection: Connection) -> None:
        """It is connected."""

    def freed(self, connection: Connection) -> None:
        """It may be used again."""

    def ended(self, connection: Connection) -> None:
        """It is closed."""


class Connection(asyncio.Protocol):
    """One connection; one request on it at a time. Also what llhttp tells of the answer."""

    __slots__ = (
        "_answer", "_body", "_fields", "_headed", "_limit", "_loop", "_parser", "_pool", "_size", "_stray",
        "_transport", "_used_at", "deadline",
    )  # fmt: skip

    def __init__(self, pool: Owner) -> None:
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
