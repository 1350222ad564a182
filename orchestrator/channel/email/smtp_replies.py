"""The replies of a mail server, in order, however many commands are on their way (RFC 2920).

aiosmtplib opens a connection (greeting, TLS, AUTH) and understands one command at a time. From then on this protocol
takes the connection over: commands go out together where the server offers PIPELINING, and each gets its own reply.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import cast

from typing_extensions import override

_MOST = 64 * 1024
"""Bytes of replies that wait to be read: a server that says more is not talking SMTP."""
_REPLY = re.compile(rb"(?:([2-5][0-9][0-9])-[^\n]*\n)*([2-5][0-9][0-9])(?:[ \r][^\n]*)?\n")

Said = tuple[int, str]
"""A reply: its code, and its words, lines joined by line feeds."""


class LostError(Exception):
    """The connection is gone; no more replies come."""


class GarbledError(Exception):
    """What came is no reply of SMTP's."""


class Replies(asyncio.Protocol):
    """Reads replies from a connection that is already open; at most one task waits at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._buffer = bytearray()
        self._said: deque[Said] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._garbled = False
        self._lost = False
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether the server has not hung up, so far as we know."""
        return not (self._lost or self._garbled or self._transport.is_closing())

    def write(self, data: bytes) -> None:
        """Send; nothing has left when this raises.

        Raises:
            LostError: the connection was known to be gone before.
        """
        if not self.open:
            raise LostError
        self._transport.write(data)

    async def next(self, seconds: float) -> Said:
        """The next reply.

        Raises:
            LostError: the connection broke before it came.
            GarbledError: something else came.
            TimeoutError: nothing came in time.
        """
        async with asyncio.timeout(seconds):
            while not self._said:
                if self._garbled:
                    raise GarbledError
                if self._lost:
                    raise LostError
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        return self._said.popleft()

    def close(self) -> None:
        """Let go at once."""
        self._transport.abort()

    def close_gently(self) -> None:
        """Let go once what was written has left."""
        self._transport.close()

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (found := _REPLY.match(self._buffer)) is not None:
            self._said.append((int(found[2]), _words(found[0])))
            del self._buffer[: found.end()]
        if (b"\n" in self._buffer and not _REPLY_BEGUN.match(self._buffer)) or len(self._buffer) > _MOST:
            self._garbled = True
        self._wake()

    @override
    def eof_received(self) -> bool:
        return False  # the transport closes itself

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


_REPLY_BEGUN = re.compile(rb"(?:[2-5][0-9][0-9]-[^\n]*\n)+[^\n]*\Z")


def _words(reply: bytes) -> str:
    lines = [line[4:].strip() for line in reply.splitlines()]
    return b"\n".join(lines).decode("utf-8", "surrogateescape")


def taken_over(protocol: asyncio.BaseProtocol | None, transport: asyncio.BaseTransport | None) -> Replies:
    """The replies of a connection that aiosmtplib has opened.

    Raises:
        LostError: it is gone already.
    """
    if protocol is None or transport is None or transport.is_closing():
        raise LostError
    return Replies(cast("asyncio.Transport", transport))
